"""Learning curves: loss, metrics and learning rate over the epochs, with the best epoch marked."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from perceptio.reporting.figures import figure_png, new_figure, use_whole_numbers
from perceptio.reporting.style import FAINT_TEXT, GRID, LINES, MARKERS, TEXT
from perceptio.tasks.metrics import in_words

if TYPE_CHECKING:
    import matplotlib.axes

# The rows of metrics.jsonl; None is how JSON writes a number that is not finite.
History = Sequence[Mapping[str, float | int | None]]

_PARTS = {"train": 0, "validation": 1}  # each part keeps its colour and marker in every panel
_MAX_MARKERS = 24


@dataclass(frozen=True, kw_only=True)
class Series:
    """One line: label, colour and marker number, and (epoch, value) points with gaps already left out."""

    label: str
    look: int
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One quantity over the epochs. `percent` says that its values are shares in [0, 1]."""

    title: str
    series: tuple[Series, ...]
    percent: bool = False
    logarithmic: bool = False


def curve_panels(history: History) -> tuple[Panel, ...]:
    """Sorts the columns of metrics.jsonl into panels: loss, one for each metric, learning rate.

    A column is `train_<quantity>`, `validation_<quantity>` or `learning_rate`; others, such as times, are not drawn.
    A quantity without a finite value gets no panel.
    """
    keys = list(dict.fromkeys(key for row in history for key in row))
    quantities: dict[str, list[Series]] = {"loss": []}
    for key in keys:
        part, _, quantity = key.partition("_")
        points = _points(history, key)
        if part in _PARTS and quantity and points:
            quantities.setdefault(quantity, []).append(
                Series(label="training" if part == "train" else part, look=_PARTS[part], points=points)
            )
    panels = [
        Panel(title=_title(quantity), series=tuple(series), percent=quantity != "loss" and _are_shares(series))
        for quantity, series in quantities.items()
        if series
    ]
    rates = _points(history, "learning_rate")
    if rates:
        panels.append(
            Panel(
                title="Learning rate",
                series=(Series(label="learning rate", look=2, points=rates),),
                logarithmic=_spans_decades(value for _, value in rates),
            )
        )
    return tuple(panels)


def draw_curves(history: History, best_epoch: float | None, path: Path) -> None:
    """Writes the panels of `curve_panels` side by side as one PNG.

    Args:
        history: the rows of metrics.jsonl, each with an "epoch"; a row may lack any other column.
        best_epoch: marked in every panel; None marks nothing.
        path: the file to write.

    Raises:
        ValueError: no row holds a number to draw.
        MissingExtraError: matplotlib is not installed.
    """
    path.write_bytes(panels_png(curve_panels(history), best_epoch))


def panels_png(panels: Sequence[Panel], best_epoch: float | None) -> bytes:
    """Returns panels side by side as PNG bytes. Raises as `draw_curves`."""
    if not panels:
        raise ValueError("curves need at least one finished epoch: the history holds no number. Draw them later.")
    figure = new_figure(3.8 * len(panels), 2.9)
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        _draw_panel(axes, panel, best_epoch)
    return figure_png(figure)


def _draw_panel(axes: "matplotlib.axes.Axes", panel: Panel, best_epoch: float | None) -> None:
    if best_epoch is not None:
        axes.axvline(best_epoch, color=FAINT_TEXT, linestyle=(0, (4, 3)), linewidth=1, label=f"best epoch {best_epoch}")
    for series in panel.series:
        epochs, values = zip(*series.points, strict=True)
        axes.plot(
            epochs,
            values,
            color=LINES[series.look],
            marker=MARKERS[series.look],
            markersize=4,
            markevery=math.ceil(len(epochs) / _MAX_MARKERS),
            linewidth=1.6,
            label=series.label,
        )
    axes.set_title(panel.title, loc="left", fontsize=11, fontweight="bold", color=TEXT, parse_math=False)
    axes.set_xlabel("epoch", color=FAINT_TEXT)
    use_whole_numbers(axes)
    if panel.logarithmic:
        axes.set_yscale("log")
    if panel.percent:
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.4g} %")
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=FAINT_TEXT, labelsize=9)
    if len(panel.series) > 1 or best_epoch is not None:
        axes.legend(frameon=False, fontsize=9)


def _points(history: History, key: str) -> tuple[tuple[float, float], ...]:
    pairs = [(row.get("epoch"), row.get(key)) for row in history]
    return tuple(
        (float(epoch), float(number))
        for epoch, number in pairs
        if epoch is not None and number is not None and math.isfinite(number)
    )


def _title(quantity: str) -> str:
    words = in_words(quantity)
    return words[:1].upper() + words[1:]


def _are_shares(series: Iterable[Series]) -> bool:
    return all(0 <= value <= 1 for line in series for _, value in line.points)


def _spans_decades(values: Iterable[float]) -> bool:
    known = list(values)
    return min(known) > 0 and max(known) / min(known) >= 10
