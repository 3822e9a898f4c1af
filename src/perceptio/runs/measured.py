"""A model's result on one labelled set, however it was come by."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from perceptio.data.records import Record
from perceptio.data.split_file import labels_cell
from perceptio.evaluation.loading import EvaluationBatches
from perceptio.evaluation.predictions import Predictions, predict_batches, score
from perceptio.models.perceiver import Perceiver
from perceptio.reporting.content import Headline
from perceptio.runs.config import RunConfig
from perceptio.runs.workbench import views_at_once
from perceptio.tasks import metrics
from perceptio.tasks.classification import TargetTable, Task


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A model's result on one split.

    Attributes:
        values: loss and metrics by name.
        confusion: (K, K) rows true, columns predicted; None for several labels a sample.
        num_trained_on: how many of the samples the model was trained on; they flatter it.
    """

    split: str
    records: tuple[Record, ...]
    targets: TargetTable
    predictions: Predictions
    values: Mapping[str, float]
    confusion: np.ndarray | None
    classes: tuple[str, ...]
    task: Task
    num_trained_on: int = 0

    @property
    def rows(self) -> np.ndarray:
        """Target rows of the samples that could be read."""
        rows: np.ndarray = self.targets[self.predictions.indices].numpy()
        return rows

    @property
    def per_class(self) -> tuple[metrics.PerClass, ...]:
        """What each class was like: precision and recall or, with several labels a sample, average precision."""
        if self.confusion is not None:
            return metrics.per_class_table(self.confusion, self.classes)
        return metrics.multi_label_table(self.predictions.probabilities, self.rows > 0.5, self.classes)


def measure(
    model: Perceiver,
    batches: EvaluationBatches,
    *,
    split: str,
    task: Task,
    classes: Sequence[str],
    device: torch.device,
    config: RunConfig,
) -> Measured:
    """Returns the model's result on a labelled set."""
    records = batches.samples.records
    predictions = predict_batches(
        model,
        batches,
        task=task,
        prepare=config.streams.prepare,
        device=device,
        views_at_once=views_at_once(config),
        targets=TargetTable([record.labels for record in records], classes),
    )
    return assess(predictions, records, split=split, task=task, classes=classes)


def assess(
    predictions: Predictions, records: Sequence[Record], *, split: str, task: Task, classes: Sequence[str]
) -> Measured:
    """Returns the result that a model's answers for records amount to."""
    targets = TargetTable([record.labels for record in records], classes)
    confusion = None
    if task.kind == "single_label":
        true = targets[predictions.indices].numpy().argmax(axis=1)
        confusion = metrics.confusion_matrix(predictions.probabilities.argmax(axis=1), true, len(classes))
    return Measured(
        split=split,
        records=tuple(records),
        targets=targets,
        predictions=predictions,
        values=score(predictions, targets, task),
        confusion=confusion,
        classes=tuple(classes),
        task=task,
    )


def headline(measured: Measured) -> Headline:
    """Returns the main result with its interval and what needs no model."""
    value, total = measured.values[measured.task.main_metric], len(measured.predictions.indices)
    name = metrics.in_words(measured.task.main_metric)
    unread = sum(entry.num_samples for entry in measured.predictions.failures)
    if measured.confusion is None:
        return Headline(metric=name, value=value, split=measured.split, num_samples=total, num_unread=unread)
    chance_class, chance = metrics.majority_share(measured.rows.argmax(axis=1), len(measured.classes))
    return Headline(
        metric=name,
        value=value,
        split=measured.split,
        num_samples=total,
        num_unread=unread,
        interval=metrics.wilson_interval(int(np.trace(measured.confusion)), total),
        chance=chance,
        chance_class=measured.classes[chance_class],
    )


def write_predictions(path: Path, measured: Measured) -> None:
    """Writes one row per sample: file, labels as split.csv has them, answer, probability of each class."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "labels", "predicted", *measured.classes])
        for index, row in zip(measured.predictions.indices, measured.predictions.probabilities, strict=True):
            record = measured.records[index]
            predicted = measured.classes[int(row.argmax())]
            writer.writerow([record.name, labels_cell(record.labels), predicted, *(f"{value:.6f}" for value in row)])
