"""A sheet of pictures with captions: what the model sees, and what it got wrong."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from perceptio.reporting.figures import figure_png, hide_frame, new_figure
from perceptio.reporting.images import to_rgb
from perceptio.reporting.style import TEXT, shorten
from perceptio.reporting.visible import visible

_CELL_PIXELS = 192
_MAX_COLUMNS = 8
_CELL_INCHES = 1.75
_WIDE = 0.7  # pictures no higher than this share of their width are wide
_WIDE_CELL_INCHES = 2.8
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
    cell_height = (cell_width - 0.1) * tallest + 0.19 * caption_lines
    figure = new_figure(cell_width * num_columns, cell_height * num_rows)
    grid = figure.subplots(num_rows, num_columns, squeeze=False).ravel()
    for axes in grid:
        hide_frame(axes)
    for axes, picture, caption in zip(grid, pictures, captions, strict=False):
        axes.imshow(picture, interpolation="nearest" if max(picture.shape) <= _CELL_PIXELS else "auto")
        lines = [shorten(visible(line), _CAPTION_CHARACTERS) for line in caption.split("\n")]
        axes.set_xlabel("\n".join(lines), fontsize=8, color=TEXT, parse_math=False)
    path.write_bytes(figure_png(figure))
