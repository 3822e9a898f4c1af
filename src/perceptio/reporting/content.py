"""Everything a report shows, as plain values. The run fills it; nothing here knows how a run is made.

Every part that may be None or empty is left out of the page when it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from perceptio.reporting.curves import History
from perceptio.tasks.metrics import PerClass


@dataclass(frozen=True, kw_only=True)
class Headline:
    """The result. Shares are in [0, 1].

    Args:
        metric: in words, such as "accuracy" or "mean average precision".
        value: of the best epoch's weights.
        split: the files it was measured on: "test" or "validation".
        num_samples: on how many of them.
        num_unread: how many others of that split could not be read.
        interval: the 95 % interval, such as of `wilson_interval`.
        chance: the value that needs no model.
        chance_class: the class that gives `chance` when it is always answered; None if chance is no such thing.
    """

    metric: str
    value: float
    split: str
    num_samples: int
    num_unread: int = 0
    interval: tuple[float, float] | None = None
    chance: float | None = None
    chance_class: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class JudgedFile:
    """A sample, and what the model says about it.

    Args:
        file: name of the sample.
        split: where it stands, such as "test".
        image: uint8 (height, width, 1 or 3), None if there is none to show.
        labelled: what its label says.
        answers: (what the model says, its probability in [0, 1]), the first one first.
    """

    file: str
    split: str
    image: np.ndarray | None
    labelled: str
    answers: tuple[tuple[str, float], ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class SeenSample:
    """A training sample as the model sees it: uint8 (height, width, 1 or 3), and its labels."""

    image: np.ndarray
    labels: str


@dataclass(frozen=True, kw_only=True)
class Range:
    """A quantity over all files, such as their height in pixels: smallest, median and largest."""

    name: str
    smallest: float | int
    median: float | int
    largest: float | int


@dataclass(frozen=True, kw_only=True)
class Picture:
    """An image file to embed. The caption is its text for those who cannot see it, too."""

    path: Path
    caption: str


@dataclass(frozen=True, kw_only=True)
class SkippedFile:
    """A file that could not be used, and why, in one line."""

    file: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class DataSummary:
    """What the model was trained and measured on.

    Args:
        source: the folder or name that was given.
        counts: samples of each class in each split, `counts["train"]["cat"]`.
        num_samples: of each split; fewer or more than the labels where a sample may have several, or none.
        how_split: one sentence, such as "The split was drawn by class with seed 0.".
        sizes: of the files that were used.
        skipped: files that could not be used.
        duplicates: groups of files with equal content within a split.
        leaks: groups of files with equal content in different splits.
        parted: groups of samples that belong together and stand in different splits.
        mislabelled: groups of files with equal content and different labels, which stand behind the names.
        notes: other sentences for the reader, such as conversions that were made.
    """

    source: str
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    num_samples: Mapping[str, int] = field(default_factory=dict)
    how_split: str = ""
    sizes: tuple[Range, ...] = ()
    skipped: tuple[SkippedFile, ...] = ()
    duplicates: tuple[tuple[str, ...], ...] = ()
    leaks: tuple[tuple[str, ...], ...] = ()
    parted: tuple[tuple[str, ...], ...] = ()
    mislabelled: tuple[tuple[str, ...], ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What training took. None where it was not measured.

    Args:
        seconds: wall time of training.
        samples_per_second: of training.
        peak_memory_bytes: of the process, or of the device if there is one.
        num_parameters: that are trained.
        flops_per_sample: of one forward pass, multiply and add counted separately.
        waiting_share: of training, the share in [0, 1] that was spent waiting for data.
    """

    seconds: float | int | None = None
    samples_per_second: float | int | None = None
    peak_memory_bytes: int | None = None
    num_parameters: int | None = None
    flops_per_sample: float | int | None = None
    waiting_share: float | None = None


@dataclass(frozen=True, kw_only=True)
class Origin:
    """How to repeat the run.

    Args:
        command: as it was typed; empty for a run that was started from Python.
        folder: path of the run folder, for the commands that use the model; empty means the run's name.
        config: the resolved config, nested.
        seed: of the run.
        machine: in words, such as "2 CPU cores, 23 GB memory".
        versions: by package.
        created: date and time, as text.
    """

    command: str
    folder: str = ""
    config: Mapping[str, object] = field(default_factory=dict)
    seed: int | None = None
    machine: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    created: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class ReportContent:
    """All of a report.

    Args:
        run: name of the run, such as "photos-001".
        recipe: name of the recipe.
        headline: the result; None while nothing was measured, such as after an early Ctrl-C.
        history: the rows of metrics.jsonl.
        best_epoch: the epoch whose weights are kept.
        has_model: whether the run has left a model; one that ended before its first evaluation has not.
        classes: names, in the order of the model's outputs.
        confusion: (K, K) counts on the headline's split, rows true; None for multi-label runs.
        per_class: one row a class, measured on the headline's split.
        mistakes: the surest first.
        unsure: the least sure first.
        suspects: whose label looks wrong, the surest first.
        num_suspects: how many there are, those that are not shown among them.
        input_size: what the model sees of a sample, in words.
        samples: what the model sees, augmented as in training.
        attention: maps of some files.
        data: what it was trained on.
        cost: what it took.
        origin: how to repeat it.
        notes: sentences that stand right below the result, such as why training stopped.
        problem: what ended a run that failed; empty for others.
    """

    run: str
    recipe: str
    headline: Headline | None = None
    history: History = ()
    best_epoch: float | None = None
    has_model: bool = False
    classes: tuple[str, ...] = ()
    confusion: np.ndarray | None = None
    per_class: tuple[PerClass, ...] = ()
    mistakes: tuple[JudgedFile, ...] = ()
    unsure: tuple[JudgedFile, ...] = ()
    suspects: tuple[JudgedFile, ...] = ()
    num_suspects: int | None = None
    input_size: str = ""
    samples: tuple[SeenSample, ...] = ()
    attention: tuple[Picture, ...] = ()
    data: DataSummary | None = None
    cost: Cost | None = None
    origin: Origin | None = None
    notes: tuple[str, ...] = ()
    problem: str = ""

    def __post_init__(self) -> None:
        num_classes = len(self.classes)
        if self.confusion is not None and self.confusion.shape != (num_classes, num_classes):
            raise ValueError(
                f"confusion must have a row and a column for each of the {num_classes} classes: "
                f"got {self.confusion.shape}. Name every class of the model."
            )
