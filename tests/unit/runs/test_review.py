"""Which files a report asks people to look at, on made-up answers."""

import numpy as np
import torch

from perceptio.data.records import Record
from perceptio.evaluation.predictions import Predictions
from perceptio.runs.measured import Measured
from perceptio.runs.review import judged, least_sure, surest_mistakes, suspects
from perceptio.tasks.classification import MultiLabel, SingleLabel, TargetTable
from perceptio.tasks.metrics import confusion_matrix

CLASSES = ("cat", "dog", "owl")


def measured(
    labels: list[tuple[str, ...]], rows: list[list[float]], *, split: str = "test", single: bool = True
) -> Measured:
    """The answers `rows` for samples named 0, 1, .., predicted in reverse order, as a loader may."""
    probabilities = np.array(rows)[::-1]
    targets = TargetTable(labels, CLASSES)
    indices = np.arange(len(labels))[::-1]
    true = targets[torch.from_numpy(indices.copy())].numpy().argmax(axis=1)
    return Measured(
        split=split,
        records=tuple(Record(name=f"{split}/{number}", labels=names) for number, names in enumerate(labels)),
        targets=targets,
        predictions=Predictions(
            indices=indices.copy(), probabilities=probabilities, losses=np.zeros(len(labels)), failures=()
        ),
        values={},
        confusion=confusion_matrix(probabilities.argmax(axis=1), true, 3) if single else None,
        classes=CLASSES,
        task=SingleLabel() if single else MultiLabel(),
    )


def test_the_surest_mistake_comes_first():
    found = surest_mistakes(
        measured(
            [("cat",), ("dog",), ("owl",), ("owl",)],
            [[0.6, 0.3, 0.1], [0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]],
        ),
        5,
    )
    assert [(pick.record.name, pick.answers) for pick in found] == [
        ("test/2", (("dog", 0.8), ("cat", 0.1))),
        ("test/1", (("cat", 0.7), ("dog", 0.2))),
    ]


def test_the_least_sure_has_its_first_two_classes_nearly_equal():
    found = least_sure(measured([("cat",)] * 3, [[0.5, 0.3, 0.2], [0.45, 0.44, 0.11], [0.9, 0.05, 0.05]]), 2)
    assert [pick.record.name for pick in found] == ["test/1", "test/0"]


def test_labels_look_wrong_across_the_splits():
    right = measured([("cat",)] * 19, [[0.95, 0.03, 0.02]] * 19, split="validation")
    wrong = measured([("dog",)], [[0.97, 0.02, 0.01]])
    (pick,) = suspects([right, wrong])
    assert (pick.record.name, pick.measured.split) == ("test/0", "test")
    picture = np.zeros((2, 2, 3), np.uint8)
    shown = judged(pick, lambda record: picture)
    assert (shown.file, shown.split, shown.labelled, shown.answers[0]) == ("test/0", "test", "dog", ("cat", 0.97))
    assert shown.image is picture
    assert suspects([wrong]) == []


def test_of_several_labels_each_one_is_an_answer():
    found = measured([("cat", "dog"), ("owl",), ()], [[0.9, 0.1, 0.2], [0.3, 0.2, 0.6], [0.1, 0.1, 0.8]], single=False)
    assert [(pick.record.name, pick.answers) for pick in surest_mistakes(found, 5)] == [
        ("test/0", (("no dog", 0.9),)),
        ("test/2", (("owl", 0.8),)),
    ]
    assert [(pick.record.name, pick.answers) for pick in least_sure(found, 1)] == [("test/1", (("owl", 0.6),))]
    assert judged(surest_mistakes(found, 5)[1], lambda record: None).labelled == "nothing"


def test_a_label_that_seems_to_be_missing_is_a_suspect():
    sure = [[0.99, 0.01, 0.01]] * 9
    (pick,) = suspects([measured([("cat",)] * 9 + [("owl",)], [*sure, [0.95, 0.01, 0.4]], single=False)])
    assert (pick.record.name, pick.answers) == ("test/9", (("cat", 0.95),))
