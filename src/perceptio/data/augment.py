"""RandAugment (arXiv 1909.13719) with the operations and strengths of the official Perceiver code.

At the paper's magnitude of 5 the four operations Color, Contrast, Brightness and Sharpness get the factor 1 and leave
the picture as it is: that is how the official table is, and not a mistake here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from perceptio.data import augment_ops as ops
from perceptio.errors import UsageError

if TYPE_CHECKING:
    import PIL.Image

MAX_LEVEL = 10
_MAX_DEGREES = 30.0
_MAX_SHEAR = 0.3
_MAX_SHIFT_PIXELS = 100.0
_MAX_CUTOUT_REACH_PIXELS = 40
_MAX_SOLARIZE_ADDITION = 110
_REFERENCE_SIDE_PIXELS = 224


@dataclass(frozen=True, kw_only=True)
class Strength:
    """How strongly one picture is changed, and the randomness that its operations may draw."""

    share: float
    """Magnitude divided by 10."""
    length_scale: float
    """Factor on shifts and holes."""
    random: np.random.Generator

    def signed(self, most: float) -> float:
        """Returns `share` of a largest value, negative in half of the cases."""
        value = self.share * most
        return -value if self.random.random() < 0.5 else value

    @property
    def factor(self) -> float:
        """The factor of the operations that mix with another picture: 0.1 to 1.9, and 1 at magnitude 5."""
        return self.share * 1.8 + 0.1


Operation: TypeAlias = "Callable[[PIL.Image.Image, Strength], PIL.Image.Image]"


def _cutout(image: "PIL.Image.Image", strength: Strength) -> "PIL.Image.Image":
    centre = (int(strength.random.integers(image.height)), int(strength.random.integers(image.width)))
    return ops.cutout(image, int(strength.share * _MAX_CUTOUT_REACH_PIXELS * strength.length_scale), centre)


OPERATIONS: "dict[str, Operation]" = {
    "auto_contrast": lambda image, s: ops.auto_contrast(image),
    "equalize": lambda image, s: ops.equalize(image),
    "invert": lambda image, s: ops.invert(image),
    "rotate": lambda image, s: ops.rotate(image, s.signed(_MAX_DEGREES)),
    "posterize": lambda image, s: ops.posterize(image, int(s.share * 4)),
    "solarize": lambda image, s: ops.solarize(image, int(s.share * 256)),
    "color": lambda image, s: ops.color(image, s.factor),
    "contrast": lambda image, s: ops.contrast(image, s.factor),
    "brightness": lambda image, s: ops.brightness(image, s.factor),
    "sharpness": lambda image, s: ops.sharpness(image, s.factor),
    "shear_x": lambda image, s: ops.shear_x(image, s.signed(_MAX_SHEAR)),
    "shear_y": lambda image, s: ops.shear_y(image, s.signed(_MAX_SHEAR)),
    "translate_x": lambda image, s: ops.translate_x(image, s.signed(_MAX_SHIFT_PIXELS * s.length_scale)),
    "translate_y": lambda image, s: ops.translate_y(image, s.signed(_MAX_SHIFT_PIXELS * s.length_scale)),
    "cutout": _cutout,
    "solarize_add": lambda image, s: ops.solarize_add(image, int(s.share * _MAX_SOLARIZE_ADDITION)),
}
"""The sixteen operations in the order of the official table, each with the strength that a magnitude means for it."""

_NAMES = tuple(OPERATIONS)


@dataclass(frozen=True, kw_only=True)
class RandAugment:
    """Changes a picture by operations chosen at random, one after the other.

    Raises:
        UsageError: num_layers is negative, or magnitude not within 0 to 10.
    """

    num_layers: int = 4
    magnitude: int = 5
    relative_lengths: bool = False
    """True: shifts and holes are scaled by the picture's shorter side over 224 pixels."""

    def __post_init__(self) -> None:
        if self.num_layers < 0:
            raise UsageError(f"num_layers must be at least 0: got {self.num_layers}")
        if not 0 <= self.magnitude <= MAX_LEVEL:
            raise UsageError(f"magnitude must lie in 0 to {MAX_LEVEL}: got {self.magnitude}")

    def __call__(self, image: "PIL.Image.Image", random: np.random.Generator) -> "PIL.Image.Image":
        """Returns the changed picture, of the same mode ("L" or "RGB") and size."""
        scale = min(image.size) / _REFERENCE_SIDE_PIXELS if self.relative_lengths else 1.0
        strength = Strength(share=self.magnitude / MAX_LEVEL, length_scale=scale, random=random)
        for number in random.integers(len(_NAMES), size=self.num_layers).tolist():
            image = OPERATIONS[_NAMES[number]](image, strength)
        return image
