"""What the latents attend to: the paper's Fig. 3, for the first and later cross-attends side by side."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from perceptio.reporting.figures import colour_map, figure_png, hide_frame, new_figure
from perceptio.reporting.images import scale_nearest, to_rgb
from perceptio.reporting.style import ABSENT, FAINT_TEXT, TEXT
from perceptio.reporting.visible import visible

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

_CELL_INCHES = 1.25
_WIDE = 2.2  # from this many times as wide as high an image stands above its maps
_WIDE_INCHES = 3.6
_OVERLAY = 0.6  # how much of an overlay is map; the rest is the image in grey


@dataclass(frozen=True, kw_only=True, eq=False)
class AttentionMaps:
    """Maps of chosen latents over one image.

    Args:
        scores: (steps, latents, rows, columns), pre-softmax scores or softmax weights; NaN where no byte is.
        steps: number of the cross-attend of each first-axis entry, counted from 1.
        latents: index of the latent of each second-axis entry, counted from 0.
        softmax: whether the scores are weights after the softmax.
    """

    scores: np.ndarray
    steps: tuple[int, ...]
    latents: tuple[int, ...]
    softmax: bool

    def __post_init__(self) -> None:
        expected = (len(self.steps), len(self.latents))
        if self.scores.ndim != 4 or self.scores.shape[:2] != expected or self.scores.size == 0:
            raise ValueError(
                f"attention maps must be (steps, latents, rows, columns) = ({expected[0]}, {expected[1]}, .., ..): "
                f"got {self.scores.shape}. Name every step and latent that the scores hold."
            )


def draw_attention(image: np.ndarray, maps: AttentionMaps, path: Path, *, overlay: bool, title: str) -> None:
    """Writes the image at the left and, for each cross-attend, a row with the map of each latent, as one PNG.

    Of a wide image, such as a spectrogram or a strip of frames, each cross-attend is a column below the image.

    Each map is scaled on its own from its lowest to its highest value, as the caption of the picture says: the scores
    of different latents have no common unit. Maps of fewer rows and columns than the image (patches) are enlarged by
    repeating values.

    Args:
        image: uint8 (height, width, 1 or 3), as the model saw it.
        maps: the maps to draw.
        path: the file to write.
        overlay: lay the maps over the image in grey instead of drawing them alone.
        title: written above, such as the file's name and the predicted class.

    Raises:
        ValueError: the image is no picture, or has fewer pixels along an axis than the maps.
        MissingExtraError: matplotlib is not installed.
    """
    picture = to_rgb(image)
    height, width = picture.shape[:2]
    rows, columns = maps.scores.shape[2:]
    if rows > height or columns > width:
        raise ValueError(
            f"maps must not be finer than the image: got {rows} x {columns} over {height} x {width} pixels. "
            "Give the image as the model saw it."
        )
    lay_out = _lay_out_wide if width > _WIDE * height else _lay_out
    figure, picture_axes, grid = lay_out(maps, height / width)
    for axes in picture_axes:
        axes.imshow(_sharp(picture), interpolation="auto")
    for row in range(len(maps.steps)):
        for column in range(len(maps.latents)):
            drawn = _paint(maps.scores[row, column], height, width)
            grid[row, column].imshow(_sharp(_blend(drawn, picture) if overlay else drawn), interpolation="auto")
    if title:
        figure.suptitle(visible(title), fontsize=11, fontweight="bold", color=TEXT, parse_math=False)
    figure.supxlabel(_caption(maps.softmax, overlay), fontsize=8, color=FAINT_TEXT)
    path.write_bytes(figure_png(figure))


def save_attention_npz(path: Path, maps: AttentionMaps, image: np.ndarray, scores: np.ndarray) -> None:
    """Writes scores, steps, latents, softmax and image as one compressed .npz file, which loads without pickle.

    Args:
        scores: (steps, latents, \\*token axes): one for each token, not laid out as the picture is.
    """
    with path.open("wb") as file:
        np.savez_compressed(
            file,
            scores=scores,
            steps=np.array(maps.steps),
            latents=np.array(maps.latents),
            softmax=np.array(maps.softmax),
            image=image,
        )


def scale_to_unit(scores: np.ndarray) -> np.ndarray:
    """Returns scores mapped linearly so that the lowest is 0 and the highest 1; NaN stays, a constant becomes 0."""
    finite = scores[np.isfinite(scores)].astype(np.float64)
    if finite.size == 0:
        return np.full(scores.shape, np.nan)
    low, high = finite.min(), finite.max()
    scaled: np.ndarray = np.clip((scores - low) / (high - low), 0, 1) if high > low else scores * 0.0
    return scaled


def _lay_out(
    maps: AttentionMaps, aspect: float
) -> "tuple[matplotlib.figure.Figure, list[matplotlib.axes.Axes], np.ndarray]":
    """Returns figure, axes of the image and (steps, latents) axes of the maps; the image is twice a map's size."""
    num_steps, num_latents = len(maps.steps), len(maps.latents)
    cell_height = _CELL_INCHES * min(max(aspect, 0.4), 2.5)
    picture_cells = 1.0 if num_steps == 1 else 2.0
    width = _CELL_INCHES * (num_latents + picture_cells) * 1.06 + 0.8
    figure = new_figure(max(width, 5.5), (cell_height + 0.05) * max(num_steps, picture_cells) + 0.85)
    layout = figure.add_gridspec(1, 2, width_ratios=(picture_cells, num_latents))
    picture_axes = figure.add_subplot(layout[0], anchor="N")
    grid = layout[1].subgridspec(num_steps, num_latents).subplots(squeeze=False)
    figure.set_layout_engine("constrained", w_pad=0.02, h_pad=0.02, wspace=0.0, hspace=0.0)
    for axes in (picture_axes, *grid.ravel()):
        hide_frame(axes)
    picture_axes.set_title("input", fontsize=8, color=FAINT_TEXT, pad=3)
    for axes, latent in zip(grid[0], maps.latents, strict=True):
        axes.set_title(f"latent {latent}", fontsize=8, color=FAINT_TEXT, pad=3)
    for axes, step in zip(grid[:, 0], maps.steps, strict=True):
        axes.set_ylabel(f"cross-attend {step}", fontsize=9, color=TEXT)
    return figure, [picture_axes], grid


def _lay_out_wide(
    maps: AttentionMaps, aspect: float
) -> "tuple[matplotlib.figure.Figure, list[matplotlib.axes.Axes], np.ndarray]":
    """Returns figure, an axes with the image at the top of each cross-attend's column, and those of the maps."""
    num_steps, num_latents = len(maps.steps), len(maps.latents)
    cell_height = _WIDE_INCHES * max(aspect, 0.06)
    figure = new_figure(_WIDE_INCHES * num_steps + 0.8, (cell_height + 0.08) * (num_latents + 1) + 1.0)
    grid = figure.subplots(num_latents + 1, num_steps, squeeze=False)
    figure.set_layout_engine("constrained", w_pad=0.03, h_pad=0.02, wspace=0.0, hspace=0.0)
    for axes in grid.ravel():
        hide_frame(axes)
    for axes, step in zip(grid[0], maps.steps, strict=True):
        axes.set_title(f"cross-attend {step}", fontsize=9, color=TEXT, pad=3)
    for axes, name in zip(grid[:, 0], ("input", *(f"latent {latent}" for latent in maps.latents)), strict=True):
        axes.set_ylabel(name, fontsize=8, color=FAINT_TEXT, rotation=0, ha="right", va="center")
    return figure, list(grid[0]), grid[1:].T


def _paint(scores: np.ndarray, height: int, width: int) -> np.ndarray:
    """Returns one map as RGB of the image's size, in light grey where it has no value."""
    unit = scale_nearest(scale_to_unit(scores), height, width)
    absent = np.isnan(unit)
    painted = colour_map(np.where(absent, 0.0, unit))
    painted[absent] = tuple(bytes.fromhex(ABSENT[1:]))
    return painted


def _blend(painted: np.ndarray, picture: np.ndarray) -> np.ndarray:
    grey = picture.mean(axis=2, keepdims=True)
    blended: np.ndarray = np.rint(_OVERLAY * painted + (1 - _OVERLAY) * grey).astype(np.uint8)
    return blended


def _sharp(picture: np.ndarray) -> np.ndarray:
    """Enlarges a small picture by whole pixels, so that drawing it does not blur it."""
    factor = max(1, 336 // max(picture.shape[:2]))
    return scale_nearest(picture, factor * picture.shape[0], factor * picture.shape[1])


def _caption(softmax: bool, overlay: bool) -> str:
    what = "Attention weights after the softmax" if softmax else "Attention scores before the softmax"
    over = ", over the image in grey" if overlay else ""
    return f"{what}{over}.\nEach map is scaled on its own: darkest is its lowest value, brightest its highest."
