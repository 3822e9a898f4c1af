"""Pictures: files of every common kind, or arrays of bytes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from perceptio.data.batches import standardise
from perceptio.data.image_config import ImageConfig
from perceptio.data.image_files import decode_image, is_animated, probe_image
from perceptio.data.image_reader import ImageReader
from perceptio.data.items import File, Item
from perceptio.data.limits import Limits
from perceptio.data.names import suffix_of
from perceptio.inputs.grid import GridEncoding, GridInputConfig
from perceptio.modalities.contract import Candidate, Facts, Modality
from perceptio.shapes import Tensor

if TYPE_CHECKING:
    import PIL.Image

SIDES = (32, 48, 64, 96, 128, 160, 224)


@dataclass(frozen=True)
class _Picture:
    """One decoded picture."""

    reader: ImageReader
    image: "PIL.Image.Image"

    @property
    def seconds(self) -> None:
        """Nothing: a picture has no time."""
        return None

    def view(self, start: float, random: np.random.Generator | None) -> np.ndarray:
        """Returns a random view, or the plain one: bytes (height, width, channels)."""
        if random is not None:
            return self.reader.training_view(self.image, random)
        return self.reader.evaluation_view(self.image)

    def close(self) -> None:
        """Lets go of the pixels."""
        self.image.close()


@dataclass(frozen=True, kw_only=True)
class ImageModality(ImageConfig, Modality):
    """Pictures as grids of pixels: two axes, one or three channels. The defaults are the paper's ImageNet."""

    kind: ClassVar[str] = "image"
    suffixes: ClassVar[frozenset[str]] = frozenset(
        {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm", ".pbm"}
    )
    blends: ClassVar[bool] = True

    encoding: GridEncoding = field(default_factory=GridEncoding)
    """How pixels become tokens that know where they stand."""

    @property
    def sizes_differ(self) -> bool:
        """Whether views of different pictures may have different sizes."""
        return self.geometry == "fit"

    def input_config(self) -> GridInputConfig:
        """Returns size and position encoding of the model's input."""
        return GridInputConfig(axes=self.size, channels=self.channels, encoding=self.encoding)

    def shrunk(self) -> "ImageModality":
        """Returns the same with 16 x 16 pixels and four frequency bands."""
        encoding = replace(self.encoding, num_bands=4) if self.encoding.positions == "fourier" else self.encoding
        return replace(self, size=(16, 16), encoding=encoding)

    def describe(self) -> str:
        """Returns height, width and channels."""
        return " x ".join(map(str, (*self.size, self.channels)))

    def summary(self, facts: Sequence[Facts]) -> str:
        """Returns width and height of the middle file, and how many are films of which only the first frame is seen."""
        if not facts:
            return ""
        width, height = (median(fact[name] for fact in facts) for name in ("width", "height"))
        animated = sum("animated" in fact for fact in facts)
        films = f", {animated:,} animated: their first frames; --source.kinds video sees all" if animated else ""
        return f"{width:,.0f} x {height:,.0f} pixels (median){films}"

    def probe(self, file: File, limits: Limits) -> Facts:
        """Returns height and width in pixels, upright; of a GIF with several frames also animated, which is 1."""
        height, width = probe_image(file, limits)
        films = {"animated": 1} if suffix_of(file.name) == ".gif" and is_animated(file, limits) else {}
        return {"height": height, "width": width, **films}

    def sizes(self, facts: Facts) -> Mapping[str, float]:
        """Returns height and width."""
        return {"height (pixels)": facts["height"], "width (pixels)": facts["width"]}

    def check(self, file: File, limits: Limits) -> None:
        """Decodes the picture."""
        decode_image(file, self.channels, limits)

    def open(self, item: Item, limits: Limits) -> _Picture:
        """Decodes a picture to "L" or "RGB"."""
        reader = ImageReader(self, limits)
        return _Picture(reader, reader.decode(item))

    def variants(self, view: np.ndarray) -> tuple[np.ndarray, ...]:
        """Returns the view and, if evaluation is to see it, its mirror image."""
        return (view, np.ascontiguousarray(view[:, ::-1])) if self.evaluation_flip else (view,)

    def prepare(self, values: Tensor) -> Tensor:
        """Returns bytes standardised by mean and deviation of each channel."""
        return standardise(values, self.mean, self.std)

    def picture(self, values: np.ndarray) -> np.ndarray:
        """Returns the view as it is."""
        return values

    def spread(self, values: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """Returns the scores as they are: tokens stand as the pixels do."""
        return scores

    @classmethod
    def candidates(cls, facts: Sequence[Facts]) -> tuple[Candidate, ...]:
        """Returns square crops of several sides, none larger than what half of the pictures fill.

        Arrays, which have no facts, get the smallest side: it suits the 28 pixels of MNIST and its relatives.
        """
        filled = int(median(min(fact["height"], fact["width"]) for fact in facts)) if facts else SIDES[0]
        origin = f"the files' shorter side is {filled} (median)" if facts else "the smallest side, as for all arrays"
        sides = [side for side in SIDES if side <= max(filled, SIDES[0])]
        return tuple(
            Candidate(
                modality=cls(
                    size=(side, side),
                    crop_area=(0.35, 1.0),
                    randaugment_layers=2,
                    randaugment_relative_lengths=True,
                    evaluation_crop=1.0,
                    encoding=GridEncoding(num_bands=bands_of(side)),
                ),
                why=f"{side} x {side} pixels: {origin}; {bands_of(side)} frequency bands an axis: a quarter of the "
                "side, the paper has 64 at 224 pixels",
            )
            for side in sides
        )


def bands_of(side: int) -> int:
    """Returns the number of frequency bands: a quarter of the side, from 4 to 64; the paper has 64 at 224."""
    return max(4, min(64, side // 4))
