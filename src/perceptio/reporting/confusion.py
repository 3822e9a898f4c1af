"""The confusion matrix as a picture and as a CSV file."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from perceptio.reporting.figures import figure_png, new_figure, plot_name
from perceptio.reporting.style import FAINT_TEXT, MATRIX_COLORMAP, TEXT
from perceptio.tasks.metric_checks import check_confusion
from perceptio.tasks.metrics import most_confused

if TYPE_CHECKING:
    import matplotlib.axes

MAX_CLASSES_WITH_NUMBERS = 30
_MAX_CLASSES_WITH_NAMES = 60
_BRIGHT = 0.5  # above this share of a row cividis is light enough for dark text


def row_shares(confusion: np.ndarray) -> np.ndarray:
    """Returns each cell as a share of its row, (K, K) in [0, 1]; a class without samples is a row of zeros."""
    counts = confusion.sum(axis=1, keepdims=True)
    shares: np.ndarray = confusion / np.maximum(counts, 1)
    return shares


def draw_confusion(confusion: np.ndarray, classes: Sequence[str], path: Path) -> None:
    """Writes the (K, K) matrix, rows true and columns predicted, as a PNG coloured by share of the row.

    Up to 30 classes the counts stand in the cells; above that the ten most frequent confusions stand beside a plain
    heat map.

    Raises:
        ValueError: the matrix does not fit the names.
        MissingExtraError: matplotlib is not installed.
    """
    pairs = most_confused(confusion, classes, 10)
    num_classes = len(classes)
    if num_classes <= MAX_CLASSES_WITH_NUMBERS:
        side = max(0.42 * num_classes + 2.2, 4.0)
        figure = new_figure(side + 0.8, side)
        axes = figure.subplots()
        _write_counts(axes, confusion)
    else:
        figure = new_figure(13.0, 9.0)
        axes, beside = figure.subplots(1, 2, width_ratios=(9.0, 3.8))
        numbers = {name: index for index, name in enumerate(classes)}
        lines = [
            f"{pair.count:>5,}   {plot_name(pair.true, numbers[pair.true], 18)}"
            f" → {plot_name(pair.predicted, numbers[pair.predicted], 18)}"
            for pair in pairs
        ]
        beside.set_axis_off()
        heading = "Most frequent confusions\n(true → predicted)\n\n"
        beside.text(0, 1, heading + "\n".join(lines), va="top", fontsize=9, linespacing=1.6, parse_math=False)
    drawn = axes.imshow(row_shares(confusion), cmap=MATRIX_COLORMAP, vmin=0, vmax=1, interpolation="nearest")
    _name_axes(axes, classes)
    bar = figure.colorbar(drawn, ax=axes, fraction=0.045, pad=0.02, format=lambda value, _: f"{100 * value:.0f} %")
    bar.set_label("share of the true class", color=FAINT_TEXT)
    bar.outline.set_visible(False)
    path.write_bytes(figure_png(figure))


def write_confusion_csv(confusion: np.ndarray, classes: Sequence[str], path: Path) -> None:
    """Writes the (K, K) counts with a header row and a first column of class names; UTF-8.

    Raises:
        ValueError: the matrix does not fit the names.
    """
    check_confusion(confusion, classes)
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.writer(file)
        writer.writerow(["true \\ predicted", *classes])
        for name, row in zip(classes, confusion, strict=True):
            writer.writerow([name, *map(int, row)])


def _write_counts(axes: "matplotlib.axes.Axes", confusion: np.ndarray) -> None:
    shares = row_shares(confusion)
    size = 10 if len(confusion) <= 12 else 8
    for (row, column), count in np.ndenumerate(confusion):
        if count:
            colour = "black" if shares[row, column] > _BRIGHT else "white"
            axes.text(column, row, f"{count}", ha="center", va="center", fontsize=size, color=colour)


def _name_axes(axes: "matplotlib.axes.Axes", classes: Sequence[str]) -> None:
    axes.set_xlabel("predicted", color=FAINT_TEXT)
    axes.set_ylabel("true", color=FAINT_TEXT)
    axes.tick_params(length=0, colors=TEXT, labelsize=9 if len(classes) <= MAX_CLASSES_WITH_NUMBERS else 7)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if len(classes) > _MAX_CLASSES_WITH_NAMES:
        return
    names = [plot_name(name, index) for index, name in enumerate(classes)]
    places = range(len(classes))
    if len(classes) <= MAX_CLASSES_WITH_NUMBERS:
        axes.set_xticks(places, names, rotation=45, ha="right", rotation_mode="anchor", parse_math=False)
    else:
        axes.set_xticks(places, names, rotation=90, parse_math=False)
    axes.set_yticks(places, names, parse_math=False)
