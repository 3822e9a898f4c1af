"""Rows of the report's tables and lists, ready to be written out: numbers are text, nothing is escaped yet."""

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from perceptio.reporting.confusion import row_shares
from perceptio.reporting.content import Cost, DataSummary, ReportContent
from perceptio.reporting.curves import History
from perceptio.reporting.numbers import count, duration, percent, scaled, value
from perceptio.reporting.style import MATRIX_STEPS
from perceptio.tasks.metrics import most_confused

# A full matrix of 100 classes is 10,000 cells, about 300 kB; above that it is neither light nor readable.
MAX_CLASSES_IN_MATRIX = 100
MAX_TAKEN_FOR = 8


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of text. The first column names the row."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, kw_only=True)
class MatrixRow:
    """One true class: its cells as (count, colour step 0..10), the diagonal among them."""

    name: str
    total: str
    cells: tuple[tuple[str, int], ...]


def matrix_rows(confusion: np.ndarray, classes: Sequence[str]) -> tuple[MatrixRow, ...]:
    """Returns the whole (K, K) matrix, each cell with its colour by share of the row."""
    steps = np.rint(row_shares(confusion) * (len(MATRIX_STEPS) - 1)).astype(int)
    return tuple(
        MatrixRow(
            name=name,
            total=count(int(row.sum())),
            cells=tuple((count(int(cell)), int(step)) for cell, step in zip(row, row_steps, strict=True)),
        )
        for name, row, row_steps in zip(classes, confusion, steps, strict=True)
    )


def confused_table(content: ReportContent, top: int) -> Table:
    """Returns the most frequent confusions: true class, predicted class, count, share of the true class."""
    assert content.confusion is not None
    totals = dict(zip(content.classes, content.confusion.sum(axis=1), strict=True))
    rows = tuple(
        (pair.true, pair.predicted, count(pair.count), percent(pair.count / totals[pair.true]))
        for pair in most_confused(content.confusion, content.classes, top)
    )
    return Table(head=("true class", "taken for", "times", "of the class"), rows=rows)


def taken_for_table(confusion: np.ndarray, classes: Sequence[str]) -> Table:
    """Returns the matrix of many classes as a list: what each true class was taken for, the eight most frequent."""
    rows = []
    for index, (name, row) in enumerate(zip(classes, confusion, strict=True)):
        wrong = [k for k in np.argsort(-row, kind="stable") if k != index and row[k] > 0]
        others = [f"{classes[k]} ({int(row[k]):,})" for k in wrong[:MAX_TAKEN_FOR]]
        if len(wrong) > MAX_TAKEN_FOR:
            others.append(f"and {len(wrong) - MAX_TAKEN_FOR:,} other classes")
        rows.append((name, count(int(row.sum())), count(int(row[index])), ", ".join(others)))
    return Table(head=("true class", "samples", "right", "taken for"), rows=tuple(rows))


def per_class_rows(content: ReportContent) -> Table:
    """Returns count and those of precision, recall and average precision that are defined for any class."""
    columns = [
        ("precision", [row.precision for row in content.per_class]),
        ("recall", [row.recall for row in content.per_class]),
        ("average precision", [row.average_precision for row in content.per_class]),
    ]
    shown = [(name, shares) for name, shares in columns if not all(map(math.isnan, shares))]
    rows = tuple(
        (row.name, count(row.count), *(percent(shares[index]) for _, shares in shown))
        for index, row in enumerate(content.per_class)
    )
    return Table(head=("class", "samples", *(name for name, _ in shown)), rows=rows)


def counts_table(content: ReportContent) -> Table:
    """Returns samples of each class in each split, and all of them; classes in the model's order, then any others."""
    assert content.data is not None
    counts, num_samples = content.data.counts, content.data.num_samples
    names = list(dict.fromkeys([*content.classes, *(name for split in counts.values() for name in split)]))
    rows = [(name, *(count(split.get(name, 0)) for split in counts.values())) for name in names]
    if num_samples:
        rows.append(("all", *(count(num_samples[split]) for split in counts)))
    return Table(head=("class", *counts), rows=tuple(rows))


def sizes_table(data: DataSummary) -> Table:
    """Returns how large the files are: a row a quantity."""
    rows = tuple(
        (size.name, *(value(part) for part in (size.smallest, size.median, size.largest))) for size in data.sizes
    )
    return Table(head=("", "smallest", "median", "largest"), rows=rows)


def skipped_table(data: DataSummary) -> Table:
    """Returns how often each reason made a file unusable, the most frequent first."""
    reasons = Counter(entry.reason for entry in data.skipped)
    return Table(head=("reason", "files"), rows=tuple((reason, count(n)) for reason, n in reasons.most_common()))


def history_table(history: History) -> Table:
    """Returns every number of every epoch; columns in the order in which they first occur."""
    keys = list(dict.fromkeys(key for row in history for key in row))
    rows = tuple(tuple(value(row[key]) if key in row else "" for key in keys) for row in history)
    return Table(head=tuple(key.replace("_", " ") for key in keys), rows=rows)


def cost_rows(cost: Cost) -> tuple[tuple[str, str], ...]:
    """Returns (what, how much) of what was measured."""
    known = (
        ("training time", None if cost.seconds is None else duration(cost.seconds)),
        (
            "speed",
            None if cost.samples_per_second is None else f"{cost.samples_per_second:,.0f} samples a second",
        ),
        ("peak memory", None if cost.peak_memory_bytes is None else scaled(cost.peak_memory_bytes, "B")),
        ("parameters", None if cost.num_parameters is None else _in_full(cost.num_parameters)),
        (
            "one sample forward",
            None if cost.flops_per_sample is None else scaled(cost.flops_per_sample, "FLOPs"),
        ),
        ("waiting for data", None if cost.waiting_share is None else f"{percent(cost.waiting_share, 0)} of the time"),
    )
    return tuple((name, text) for name, text in known if text is not None)


def config_lines(config: object) -> tuple[str, ...]:
    """Returns a nested config as the lines of indented JSON; what JSON does not know is written as text."""
    return tuple(json.dumps(config, indent=2, ensure_ascii=False, default=str).split("\n"))


def _in_full(number: int) -> str:
    return f"{scaled(number)} ({number:,})" if number >= 1_000_000 else count(number)
