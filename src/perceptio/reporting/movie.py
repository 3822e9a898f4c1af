"""What the latents attend to in something that moves, as a film: the view, and beside it the maps, frame by frame."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from perceptio.data.video_writing import write_video
from perceptio.reporting.attention import scale_to_unit
from perceptio.reporting.figures import colour_map
from perceptio.reporting.images import scale_nearest, to_rgb

_LEAST_HEIGHT = 96
_GAP = 4
_WHITE = 255


def write_attention_movie(path: Path, pictures: np.ndarray, maps: np.ndarray, frames_per_second: float) -> None:
    """Writes an mp4 in which each frame shows the view at the left and a row of maps for each cross-attend.

    Each map is scaled once over all frames, from its lowest value to its highest, so that one can see it change.

    Args:
        pictures: uint8 (frames, height, width, 1 or 3).
        maps: (cross-attends, latents, frames, rows, columns), no finer than the pictures.
        frames_per_second: rate.

    Raises:
        MissingExtraError: PyAV or matplotlib is not installed.
        ValueError: there are more or fewer maps than pictures.
    """
    if maps.shape[2] != len(pictures):
        raise ValueError(f"a film needs a map for each frame: got {maps.shape[2]} maps for {len(pictures)} frames")
    painted = colour_map(np.array([[scale_to_unit(of_latent) for of_latent in of_step] for of_step in maps]))
    write_video(path, _frames(pictures, painted), frames_per_second)


def _frames(pictures: np.ndarray, painted: np.ndarray) -> Iterator[np.ndarray]:
    factor = -(-_LEAST_HEIGHT // pictures.shape[1])
    height, width = factor * pictures.shape[1], factor * pictures.shape[2]
    for number, picture in enumerate(pictures):
        view = scale_nearest(to_rgb(picture), height, width)
        rows = [[scale_nearest(drawn[number], height, width) for drawn in of_step] for of_step in painted]
        blank = np.full_like(view, _WHITE)
        yield np.concatenate([_beside([view if row == 0 else blank, *cells]) for row, cells in enumerate(rows)])


def _beside(cells: list[np.ndarray]) -> np.ndarray:
    """Returns pictures of one height side by side, with white between and below them."""
    spaced = [np.pad(cell, ((0, _GAP), (0, _GAP), (0, 0)), constant_values=_WHITE) for cell in cells]
    return np.concatenate(spaced, axis=1)
