"""How pictures become arrays: size, crops, augmentation, normalisation."""

from dataclasses import dataclass, fields
from typing import Literal

from perceptio.errors import UsageError

_CROP_ONLY = ("crop_area", "crop_aspect", "evaluation_crop")
_MAX_MAGNITUDE = 10


@dataclass(frozen=True, kw_only=True)
class ImageConfig:
    """How pictures are read. The defaults are the paper's ImageNet (section 4.1) with its official code's augmentation.

    Raises:
        UsageError: a value is out of range, does not fit another one, or has no effect.
    """

    size: tuple[int, int] = (224, 224)
    """Height and width of what the model sees, in pixels."""
    channels: Literal[1, 3] = 3
    """1: grey; 3: red, green, blue. Files of the other kind are converted."""
    geometry: Literal["crop", "fit"] = "crop"
    """crop: a part of the picture, scaled to `size`. fit: all of it, scaled down (never up) to fit into `size`."""
    crop_area: tuple[float, float] = (0.08, 1.0)
    """Range of the training crop's share of the picture's area."""
    crop_aspect: tuple[float, float] = (3 / 4, 4 / 3)
    """Range of the training crop's width to height, relative to that of `size`; 1 is undistorted."""
    flip_probability: float = 0.5
    """How often a training picture is mirrored left to right. Use 0 where left and right matter, as in writing."""
    randaugment_layers: int = 4
    """Number of RandAugment operations one after the other; 0 switches it off."""
    randaugment_magnitude: int = 5
    """Strength of the operations, 0 to 10."""
    randaugment_relative_lengths: bool = False
    """False: shifts and holes are so many pixels of the crop, as in the official code (at magnitude 5 a shift of 50 and
    a hole of 40), which wipes out small pictures. True: so many 224ths of the crop's shorter side."""
    evaluation_crop: float = 224 / 256
    """Share of the largest fitting box that the evaluation crop takes from the picture's centre; 1 is all of it."""
    evaluation_flip: bool = False
    """Whether evaluation also looks at the mirrored picture and takes the mean of both answers."""
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    """Mean of each channel, of values in [0, 1]."""
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    """Standard deviation of each channel, of values in [0, 1]."""

    def __post_init__(self) -> None:
        if len(self.size) != 2 or min(self.size) < 1:
            raise UsageError(f"size must be a height and a width of at least 1 pixel: got {self.size}")
        if self.channels not in (1, 3):
            raise UsageError(f"channels must be 1 (grey) or 3 (colour): got {self.channels}")
        if self.geometry not in ("crop", "fit"):
            raise UsageError(f"geometry must be crop or fit: got {self.geometry!r}")
        check_range("crop_area", self.crop_area, most=1.0)
        check_range("crop_aspect", self.crop_aspect, most=100.0)
        if not 0.0 <= self.flip_probability <= 1.0:
            raise UsageError(f"flip_probability must lie in 0 to 1: got {self.flip_probability}")
        if not 0.0 < self.evaluation_crop <= 1.0:
            raise UsageError(f"evaluation_crop must be above 0 and at most 1: got {self.evaluation_crop}")
        if self.randaugment_layers < 0:
            raise UsageError(f"randaugment_layers must be at least 0: got {self.randaugment_layers}")
        if not 0 <= self.randaugment_magnitude <= _MAX_MAGNITUDE:
            raise UsageError(
                f"randaugment_magnitude must lie in 0 to {_MAX_MAGNITUDE}: got {self.randaugment_magnitude}"
            )
        check_normalisation(self.channels, self.mean, self.std)
        self._check_effects()

    def _check_effects(self) -> None:
        """A setting that would change nothing is a mistake that nobody would notice."""
        defaults = {field.name: field.default for field in fields(self)}
        if self.geometry == "fit":
            for name in _CROP_ONLY:
                if getattr(self, name) != defaults[name]:
                    raise UsageError(
                        f"{name} has no effect with geometry fit, which crops nothing; leave it at its default, "
                        f"{defaults[name]}"
                    )
        if self.randaugment_layers == 0:
            for name in ("randaugment_magnitude", "randaugment_relative_lengths"):
                if getattr(self, name) != defaults[name]:
                    raise UsageError(
                        f"{name} has no effect with randaugment_layers 0; leave it at its default, {defaults[name]}, "
                        "or add layers"
                    )


def check_range(name: str, values: tuple[float, float], *, most: float) -> None:
    """Refuses anything but a lowest and a highest value above 0, at most `most`."""
    if len(values) != 2 or not 0.0 < values[0] <= values[1] <= most:
        raise UsageError(f"{name} must be a lowest and a highest value above 0, at most {most:g}: got {values}")


def check_normalisation(channels: int, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    """Raises UsageError unless mean and deviation have a value for each channel, and every deviation is above 0."""
    for name, values in (("mean", mean), ("std", std)):
        if len(values) != channels:
            raise UsageError(
                f"{name} must have a value for each of the {channels} channels: got {len(values)}. Set "
                f"{name}, for instance {'(0.5,)' if channels == 1 else '(0.5, 0.5, 0.5)'}"
            )
    if not all(value > 0.0 for value in std):
        raise UsageError(f"std must be above 0 in every channel: got {std}")
