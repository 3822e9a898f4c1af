"""What is written of a measured split, on made-up answers."""

import csv
from pathlib import Path

import numpy as np

from perceptio.data.manifest_cells import split_labels
from perceptio.data.records import Record
from perceptio.evaluation.predictions import Predictions
from perceptio.runs.measured import Measured, write_predictions
from perceptio.tasks.classification import MultiLabel, TargetTable

CLASSES = ("a", "a|b", "b")


def test_labels_are_written_so_that_they_are_read_back(tmp_path: Path):
    labels: list[tuple[str, ...]] = [("a",), ("a|b",), ("a", "b"), ()]
    records = tuple(Record(name=f"{number}.png", labels=names) for number, names in enumerate(labels))
    answers = Predictions(indices=np.arange(4), probabilities=np.full((4, 3), 1 / 3), losses=np.zeros(4), failures=())
    measured = Measured(
        split="test",
        records=records,
        targets=TargetTable(labels, CLASSES),
        predictions=answers,
        values={},
        confusion=None,
        classes=CLASSES,
        task=MultiLabel(),
    )
    write_predictions(tmp_path / "predictions.csv", measured)
    with (tmp_path / "predictions.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["labels"] for row in rows] == ["a", '["a|b"]', '["a", "b"]', "[]"]
    assert [split_labels(row["labels"], where="here") for row in rows] == labels
