"""A sheet of pictures with captions: what the model sees, and what it got wrong."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from perceptio.data.names import printable
from perceptio.reporting.images import to_rgb
from perceptio.reporting.sheet import Sheet
from perceptio.reporting.style import shorten

_MAX_COLUMNS = 8
_CELL_INCHES = 1.75
_WIDE = 0.7  # pictures no higher than this share of their width are wide
_WIDE_CELL_INCHES = 2.8
_GAP_INCHES = 0.1
_LINE_INCHES = 0.15  # of a caption
_CAPTION_CHARACTERS = 24


def draw_sample_grid(images: Sequence[np.ndarray], captions: Sequence[str], path: Path) -> None:
    """Writes pictures and the caption below each as one PNG, in reading order.

    Small pictures are enlarged without smoothing, so that every pixel the model sees stays a square.

    Args:
        images: uint8 (height, width, 1 or 3); sizes may differ.
        captions: one a picture, cut to what fits; a line break is allowed.
        path: the file to write.

    Raises:
        ValueError: no picture, another number of captions, or an array that is no picture.
        MissingExtraError: matplotlib is not installed.
    """
    if not images or len(images) != len(captions):
        raise ValueError(
            f"a sheet of pictures needs at least one, each with a caption: got {len(images)} pictures and "
            f"{len(captions)} captions. Give one caption a picture."
        )
    pictures = [to_rgb(image) for image in images]
    # Wide pictures, such as spectrograms and strips of frames, get wide and low cells.
    tallest = min(1.0, max(0.2, *(picture.shape[0] / picture.shape[1] for picture in pictures)))
    cell_width = _CELL_INCHES if tallest > _WIDE else _WIDE_CELL_INCHES
    num_columns = min(
        math.floor(_MAX_COLUMNS * _CELL_INCHES / cell_width), math.ceil(math.sqrt(len(images) * 1.6 * tallest))
    )
    num_rows = math.ceil(len(images) / num_columns)
    caption_lines = max(caption.count("\n") + 1 for caption in captions)
    picture_width, picture_height = cell_width - _GAP_INCHES, (cell_width - _GAP_INCHES) * tallest
    cell_height = picture_height + _LINE_INCHES * caption_lines + _GAP_INCHES
    sheet = Sheet(cell_width * num_columns, cell_height * num_rows)
    for index, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        row, column = divmod(index, num_columns)
        left, top = cell_width * column, cell_height * row
        sheet.picture(picture, left + _GAP_INCHES / 2, top, picture_width, picture_height)
        lines = [shorten(printable(line), _CAPTION_CHARACTERS) for line in caption.split("\n")]
        sheet.text("\n".join(lines), left + cell_width / 2, top + picture_height + 0.04)
    sheet.save(path)
