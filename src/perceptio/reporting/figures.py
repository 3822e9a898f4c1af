"""Matplotlib without its global state: figures with their own Agg canvas, turned into PNG bytes."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import numpy as np

from perceptio.data.names import printable
from perceptio.errors import MissingExtraError
from perceptio.reporting.style import DOTS_PER_INCH, MATRIX_COLORMAP, shorten

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure


def new_figure(
    width: float, height: float, *, layout: Literal["constrained"] | None = "constrained"
) -> "matplotlib.figure.Figure":
    """Returns an empty figure of a size in inches; unless `layout` is None, with one that keeps texts apart.

    Raises:
        MissingExtraError: matplotlib is not installed or cannot be loaded.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except (ImportError, OSError, RuntimeError) as error:
        raise MissingExtraError("drawing plots", "report") from error
    figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, layout=layout, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def figure_png(figure: "matplotlib.figure.Figure") -> bytes:
    """Returns the figure as a PNG file."""
    buffer = io.BytesIO()
    with rare_signs_as_boxes():
        figure.savefig(buffer, format="png", bbox_inches="tight", pad_inches=0.12)
    return buffer.getvalue()


@contextmanager
def rare_signs_as_boxes() -> Iterator[None]:
    """Draws a sign that the font lacks as a box, silently: `plot_name` replaces such class names before."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font", category=UserWarning)
        yield


def colour_map(values: np.ndarray) -> np.ndarray:
    """Returns the cividis colours of values in [0, 1] as uint8 RGB: any shape becomes (.., 3). NaN must be gone.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib import colormaps
    except (ImportError, OSError, RuntimeError) as error:
        raise MissingExtraError("drawing plots", "report") from error
    colours: np.ndarray = colormaps[MATRIX_COLORMAP](values, bytes=True)
    return colours[..., :3]


def plot_name(name: str, index: int, limit: int = 24) -> str:
    """Returns a class name as a plot can show it: short, visible, and by its number if the font lacks its script.

    The report shows every name in full, as text.
    """
    text = shorten(printable(name), limit)
    return text if _can_draw(text) else f"class {index}"


def use_whole_numbers(axes: "matplotlib.axes.Axes") -> None:
    """Places the ticks of the horizontal axis on integers: there is no epoch 2.5."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True))


def _can_draw(text: str) -> bool:
    from matplotlib.font_manager import FontProperties, findfont, get_font

    font = get_font(findfont(FontProperties()))
    return all(font.get_char_index(ord(character)) for character in text)
