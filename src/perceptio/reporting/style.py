"""Colours and markers of every plot: readable in print, in grey and with any kind of colour vision.

Lines use the Okabe-Ito palette and differ by marker as well; matrices use cividis.
"""

OKABE_ITO = {
    "blue": "#0072B2",
    "vermillion": "#D55E00",
    "green": "#009E73",
    "orange": "#E69F00",
    "purple": "#CC79A7",
    "sky": "#56B4E9",
    "black": "#000000",
}
# Yellow, the eighth Okabe-Ito colour, is left out: it cannot be seen as a line on white.
LINES = tuple(OKABE_ITO.values())
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

MATRIX_COLORMAP = "cividis"
# cividis at 0, 0.1 .. 1, for tables that are drawn without matplotlib.
MATRIX_STEPS = (
    "#00224d", "#083370", "#35456c", "#4e566c", "#666970", "#7c7b78",
    "#948e77", "#aea271", "#c8b765", "#e4ce51", "#fde737",
)  # fmt: skip
# From this step on black text has the better contrast (at least 4.5 : 1 on either side).
FIRST_STEP_WITH_BLACK_TEXT = 5

TEXT = "#222222"
FAINT_TEXT = "#666666"
GRID = "#E3E3E3"
ABSENT = "#DDDDDD"  # where a map has no value
DOTS_PER_INCH = 120


def shorten(text: str, limit: int) -> str:
    """Returns the text, cut to `limit` characters with an ellipsis if it is longer."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
