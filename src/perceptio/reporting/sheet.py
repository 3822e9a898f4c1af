"""Many pictures and texts on one drawing, at places in inches.

An axes for each picture would take most of the time that a run's plots take: a sheet has a single one.
"""

from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from perceptio.reporting.figures import new_figure, rare_signs_as_boxes
from perceptio.reporting.images import scale_nearest
from perceptio.reporting.style import FAINT_TEXT, TEXT

_LONGEST_PIXELS = 336  # up to which a small picture is enlarged by whole pixels, so that drawing it does not blur it
_MARGIN_INCHES = 0.12
_VERTICAL = {"below": "top", "above": "bottom", "left": "center", "upwards": "center"}

Place: TypeAlias = Literal["below", "above", "left", "upwards"]


class Sheet:
    """A white sheet of some inches; places count from its upper left corner, rightwards and downwards.

    Raises:
        MissingExtraError: matplotlib is not installed or cannot be loaded.
    """

    def __init__(self, width: float, height: float) -> None:
        self._figure = new_figure(width, height, layout=None)
        self._axes = self._figure.add_axes((0.0, 0.0, 1.0, 1.0), xlim=(0, width), ylim=(height, 0), autoscale_on=False)
        self._axes.set_axis_off()

    def picture(self, picture: np.ndarray, left: float, top: float, width: float, height: float) -> None:
        """Draws a uint8 (height, width, 3) picture as large as fits into a box, in its middle."""
        scale = min(width / picture.shape[1], height / picture.shape[0])
        own_width, own_height = picture.shape[1] * scale, picture.shape[0] * scale
        left, top = left + (width - own_width) / 2, top + (height - own_height) / 2
        factor = max(1, _LONGEST_PIXELS // max(picture.shape[:2]))
        self._axes.imshow(
            scale_nearest(picture, factor * picture.shape[0], factor * picture.shape[1]),
            extent=(left, left + own_width, top + own_height, top),
            aspect="auto",
            interpolation="auto",
        )

    def text(
        self,
        text: str,
        left: float,
        top: float,
        *,
        place: Place = "below",
        size: float = 8,
        faint: bool = False,
        bold: bool = False,
    ) -> None:
        """Writes a text of a size in points below, above or left of a place, centred on it.

        Args:
            place: "upwards" is left of it, turned so that it reads upwards.
        """
        self._axes.text(
            left,
            top,
            text,
            horizontalalignment="center" if place in ("below", "above") else "right",
            verticalalignment=_VERTICAL[place],
            rotation=90 if place == "upwards" else 0,
            fontsize=size,
            fontweight="bold" if bold else "normal",
            color=FAINT_TEXT if faint else TEXT,
            parse_math=False,
        )

    def save(self, path: Path) -> None:
        """Writes the sheet as PNG with a margin, larger where a text does not fit."""
        # savefig's "tight" draws twice to find this out; here places are inches, whatever the size.
        with rare_signs_as_boxes():
            box = self._figure.get_tightbbox().padded(_MARGIN_INCHES)
            height = self._figure.get_figheight()
            self._axes.set(xlim=(box.x0, box.x1), ylim=(height - box.y0, height - box.y1))
            self._figure.set_size_inches(box.width, box.height)
            self._figure.savefig(path, format="png")
