"""Which part of a picture is looked at: arithmetic on sizes, without any picture."""

import math
from typing import NamedTuple

import numpy as np

_NUM_ATTEMPTS = 10


class Box(NamedTuple):
    """A part of a picture, in pixels from its upper left corner."""

    left: int
    top: int
    width: int
    height: int


def inception_crop(
    size: tuple[int, int],
    area: tuple[float, float],
    aspect: tuple[float, float],
    random: np.random.Generator,
) -> Box | None:
    """Draws an Inception-style crop: a random share of the area, a random aspect, a random place.

    The area is uniform, the aspect log-uniform, so that upright and lying crops are as likely. Returns None if ten
    draws in a row did not fit into the picture, as happens with very long ones.

    Differs from the official code, whose TensorFlow operation draws the aspect uniformly and the height (not the area)
    uniformly, and which draws again when a crop covers less than a tenth of the picture.

    Args:
        size: (height, width) of the picture in pixels.
        area: lowest and highest share of the picture's area.
        aspect: lowest and highest width to height.
    """
    height, width = size
    # Drawn in one go: three calls of the generator a picture cost more than the arithmetic.
    draws = random.random((_NUM_ATTEMPTS, 4)).tolist()
    log_low, log_high = math.log(aspect[0]), math.log(aspect[1])
    for area_draw, aspect_draw, left_draw, top_draw in draws:
        pixels = (area[0] + area_draw * (area[1] - area[0])) * height * width
        ratio = math.exp(log_low + aspect_draw * (log_high - log_low))
        crop_width = round(math.sqrt(pixels * ratio))
        crop_height = round(math.sqrt(pixels / ratio))
        if 0 < crop_width <= width and 0 < crop_height <= height:
            left = int(left_draw * (width - crop_width + 1))
            top = int(top_draw * (height - crop_height + 1))
            return Box(left, top, crop_width, crop_height)
    return None


def centre_crop(size: tuple[int, int], share: float, target: tuple[int, int]) -> Box:
    """Returns the box in the middle: `share` times the largest one with the aspect of the target.

    For a square target this is the official `share * shorter side`, cut down to whole pixels.

    Args:
        size, target: (height, width) in pixels.
        share: above 0, at most 1.
    """
    height, width = size
    scale = min(height / target[0], width / target[1]) * share
    crop_height = max(1, min(height, int(scale * target[0] + 1e-6)))
    crop_width = max(1, min(width, int(scale * target[1] + 1e-6)))
    return Box((width - crop_width + 1) // 2, (height - crop_height + 1) // 2, crop_width, crop_height)


def fitted_size(size: tuple[int, int], target: tuple[int, int]) -> tuple[int, int]:
    """Returns (height, width) of the whole picture scaled down, never up, until it fits into the target."""
    height, width = size
    scale = min(1.0, target[0] / height, target[1] / width)
    return max(1, min(target[0], round(height * scale))), max(1, min(target[1], round(width * scale)))
