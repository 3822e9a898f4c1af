"""Crops, scaling and colours of clips: whatever is drawn is drawn once and holds for all frames of a clip.

Augmenting frames one by one would make a still scene flicker and hide the motion that a clip is there to show.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from perceptio.data.crops import Box, centre_crop, inception_crop
from perceptio.errors import UsageError

MAX_BRIGHTNESS = 32 / 255
"""Largest shift at strength 1, as a share of the range of values."""
MAX_CONTRAST = 0.4
"""Contrast and saturation are multiplied by 1 - this to 1 + this at strength 1."""
MAX_SATURATION = 0.4
MAX_HUE = 0.2
"""Largest rotation of the hue at strength 1, in turns."""
MAX_STRENGTH = 2.0

_LUMA = (0.299, 0.587, 0.114)  # BT.601, as Pillow's grey
# Luma, and two axes of colour that have none: rotating those turns the hue, scaling them changes the saturation.
_RGB_TO_YIQ = np.array([_LUMA, (0.59590059, -0.27455667, -0.32134392), (0.21153661, -0.52273617, 0.31119955)])


@dataclass(frozen=True, kw_only=True)
class ColourShift:
    """How the colours of a clip are changed."""

    brightness: float
    """Added to all values, as a share of their range."""
    contrast: float
    """Factor on the distance from the clip's mean luma."""
    saturation: float
    """Factor on the distance of a colour from the grey of its luma."""
    hue: float
    """Rotation of the hue, in turns; luma stays."""


def draw_box(
    size: tuple[int, int],
    target: tuple[int, int],
    area: tuple[float, float],
    aspect: tuple[float, float],
    random: np.random.Generator,
) -> Box:
    """Draws the Inception-style crop of a clip; where none fits, the largest box in the middle.

    Args:
        size: height and width of the frames.
        target: height and width that the crop is scaled to.
        area: lowest and highest share of the frame's area.
        aspect: lowest and highest width to height, relative to that of the target; 1 is undistorted.
        random: drawn from the same number of times whatever comes of it.
    """
    undistorted = target[1] / target[0]
    box = inception_crop(size, area, (aspect[0] * undistorted, aspect[1] * undistorted), random)
    return centre_crop(size, 1.0, target) if box is None else box


def draw_colour(strength: float, random: np.random.Generator) -> ColourShift:
    """Draws one change of colour: uniform within the ranges above, which `strength` scales.

    The paper says "colour augmentation" (section 4.2) and no amounts. The ranges at strength 1 are those that are usual
    in DeepMind's reader of videos (dmvr, `color_default_augm`): brightness 32 / 255, contrast and saturation 0.6 to
    1.4, hue a fifth of a turn. Differs from it in changing every clip, not four of five.

    Raises:
        UsageError: strength is not within 0 to 2.
    """
    check_strength(strength)
    brightness, contrast, saturation, hue = (strength * random.uniform(-1.0, 1.0, size=4)).tolist()
    return ColourShift(
        brightness=MAX_BRIGHTNESS * brightness,
        contrast=1 + MAX_CONTRAST * contrast,
        saturation=1 + MAX_SATURATION * saturation,
        hue=MAX_HUE * hue,
    )


def check_strength(strength: float) -> None:
    """Checks a strength of colour augmentation.

    Raises:
        UsageError: it is not within 0 (off) to 2.
    """
    if not 0.0 <= strength <= MAX_STRENGTH:
        raise UsageError(f"colour_strength must lie in 0 (off) to {MAX_STRENGTH:g}: got {strength}")


def shift_colours(clip: np.ndarray, shift: ColourShift) -> np.ndarray:
    """Returns a clip with its colours changed: bytes (frames, height, width, 1 or 3).

    All four changes are one linear map of the values, so that nothing is cut off but the end result. Differs from
    TensorFlow and torchvision in this, in turning the hue at constant luma (they turn that of HSV), and in taking the
    mean that contrast keeps from the whole clip. A grey clip knows neither saturation nor hue.
    """
    channels = clip.shape[3]
    mean = clip.reshape(-1, channels).mean(axis=0, dtype=np.float64) @ np.array(_LUMA if channels == 3 else (1.0,))
    matrix = shift.contrast * (_colour_matrix(shift) if channels == 3 else np.eye(1))
    offset = (1 - shift.contrast) * float(mean) + 255 * shift.brightness + 0.5
    transposed = matrix.T.astype(np.float32)
    shifted = np.empty_like(clip)
    for old, new in zip(clip, shifted, strict=True):
        # Frame by frame: a whole clip as float32 falls out of the processor's cache and takes twice as long.
        values = old.reshape(-1, channels).astype(np.float32) @ transposed
        values += np.float32(offset)
        np.clip(values, 0.0, 255.0, out=values)
        new[...] = values.reshape(old.shape)
    return shifted


def resize_clip(clip: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Returns a clip scaled bicubically, antialiased where it becomes smaller: bytes (frames, height, width, channels).

    As Pillow's bicubic scaling, which takes five times as long, up to rounding. Only where one side becomes larger and
    the other smaller does the order of the two show, in noise.
    """
    if clip.shape[1:3] == size:
        return clip
    frames = torch.from_numpy(np.ascontiguousarray(clip)).permute(0, 3, 1, 2)
    scaled = functional.interpolate(frames, size=size, mode="bicubic", antialias=True)
    return scaled.permute(0, 2, 3, 1).contiguous().numpy()


def to_grey(clip: np.ndarray) -> np.ndarray:
    """Returns the luma of a clip: bytes (frames, height, width, 1)."""
    if clip.shape[3] == 1:
        return clip
    luma = clip.astype(np.float32) @ np.array(_LUMA, dtype=np.float32)
    return (luma + 0.5).astype(np.uint8)[..., None]


def reduced(size: tuple[int, int], box: Box, target: tuple[int, int]) -> tuple[tuple[int, int], Box]:
    """Returns a smaller size to decode frames at, and the box in it, when the box has far more pixels than are needed.

    The box keeps twice the target along its tighter side: enough for `resize_clip` to decide how the result looks, and
    a clip of a 4K file takes the memory of a small one.

    Args:
        size: height and width of the frames.
        box: the part that is wanted.
        target: height and width that it will be scaled to.
    """
    factor = min(box.height / (2 * target[0]), box.width / (2 * target[1]))
    if factor <= 1:
        return size, box
    height, width = (max(1, round(side / factor)) for side in size)
    down, across = height / size[0], width / size[1]
    box_height, box_width = max(1, round(box.height * down)), max(1, round(box.width * across))
    left = min(round(box.left * across), width - box_width)
    top = min(round(box.top * down), height - box_height)
    return (height, width), Box(left, top, box_width, box_height)


def _colour_matrix(shift: ColourShift) -> np.ndarray:
    """Returns the matrix that turns hue and scales saturation of an RGB column and leaves its luma."""
    angle = 2 * math.pi * shift.hue
    cos, sin = shift.saturation * math.cos(angle), shift.saturation * math.sin(angle)
    turned = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
    matrix: np.ndarray = np.linalg.inv(_RGB_TO_YIQ) @ turned @ _RGB_TO_YIQ
    return matrix
