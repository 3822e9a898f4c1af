"""From an image file to the array that a model sees, for training and for evaluation."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from perceptio.data.augment import RandAugment
from perceptio.data.crops import Box, centre_crop, fitted_size, inception_crop
from perceptio.data.image_config import ImageConfig
from perceptio.data.image_files import decode_image
from perceptio.data.items import Item
from perceptio.data.limits import Limits

if TYPE_CHECKING:
    import PIL.Image

_BICUBIC = 3  # PIL.Image.Resampling.BICUBIC, written out so that importing this module does not import Pillow.


@dataclass(frozen=True)
class ImageReader:
    """Reads pictures as a config says. Holds no state and draws nothing itself, so any process may do any sample."""

    config: ImageConfig
    limits: Limits

    def decode(self, item: Item) -> "PIL.Image.Image":
        """Returns the whole picture in mode "L" or "RGB"; raises as `image_files.decode_image`."""
        return decode_image(item, self.config.channels, self.limits)

    def training_view(self, image: "PIL.Image.Image", random: np.random.Generator) -> np.ndarray:
        """Returns a random view: bytes (height, width, channels), 0 to 255.

        With geometry "crop" in the order of the official code: Inception-style crop, flip, RandAugment on the crop in
        its own resolution, then bicubic scaling to `size`. If no crop fits, the evaluation crop stands in, as there.
        With "fit": scaling first (the whole picture may be huge), then flip and RandAugment.

        Differs from the official code in that scaling down is antialiased and the result stays within 0 to 255.
        """
        config = self.config
        if config.geometry == "fit":
            return _array(self._augmented(self._fitted(image), random))
        height, width = config.size
        low, high = config.crop_aspect
        size = (image.height, image.width)
        aspect = (low * width / height, high * width / height)
        box = inception_crop(size, config.crop_area, aspect, random)
        if box is None:
            box = centre_crop(size, config.evaluation_crop, config.size)
        return _array(_scaled(self._augmented(_cropped(image, box), random), config.size))

    def evaluation_view(self, image: "PIL.Image.Image") -> np.ndarray:
        """Returns the plain view for evaluation: bytes (height, width, channels), 0 to 255.

        The centre crop, scaled bicubically to `size`; with geometry "fit" the whole picture.
        """
        if self.config.geometry == "fit":
            return _array(self._fitted(image))
        box = centre_crop((image.height, image.width), self.config.evaluation_crop, self.config.size)
        return _array(_scaled(_cropped(image, box), self.config.size))

    def _fitted(self, image: "PIL.Image.Image") -> "PIL.Image.Image":
        return _scaled(image, fitted_size((image.height, image.width), self.config.size))

    def _augmented(self, image: "PIL.Image.Image", random: np.random.Generator) -> "PIL.Image.Image":
        if random.random() < self.config.flip_probability:
            image = image.transpose(_flip())
        if self.config.randaugment_layers == 0:
            return image
        return RandAugment(
            num_layers=self.config.randaugment_layers,
            magnitude=self.config.randaugment_magnitude,
            relative_lengths=self.config.randaugment_relative_lengths,
        )(image, random)


def _flip() -> "PIL.Image.Transpose":
    from PIL import Image

    return Image.Transpose.FLIP_LEFT_RIGHT


def _cropped(image: "PIL.Image.Image", box: Box) -> "PIL.Image.Image":
    if (box.width, box.height) == image.size:
        return image
    return image.crop((box.left, box.top, box.left + box.width, box.top + box.height))


def _scaled(image: "PIL.Image.Image", size: tuple[int, int]) -> "PIL.Image.Image":
    height, width = size
    return image if (width, height) == image.size else image.resize((width, height), _BICUBIC)


def _array(image: "PIL.Image.Image") -> np.ndarray:
    """Returns a writable copy of the pixels with the channel axis last."""
    array = np.array(image)
    return array[:, :, None] if array.ndim == 2 else array
