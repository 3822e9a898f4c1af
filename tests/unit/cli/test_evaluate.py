"""The text of `perceptio evaluate`: the confusion of classes whose names are long."""

import numpy as np
import pytest

from perceptio.cli.evaluate import matrix_lines, precision_lines
from perceptio.tasks.metrics import PerClass


@pytest.mark.parametrize("longest", ["birds", "parrots"])
def test_a_confusion_names_every_class_in_full(longest: str) -> None:
    lines = matrix_lines(("ape", longest), np.array([[12, 3], [0, 1234567]]))
    assert lines[0] == "confusion (rows: true class, columns: predicted)"
    assert [line.split()[-2:] for line in lines[2:]] == [["12", "3"], ["0", "1234567"]]
    assert longest in lines[3]
    assert len({len(line) for line in lines[1:]}) == 1


def test_names_too_long_for_a_column_go_by_number() -> None:
    assert matrix_lines(("ape", "parrots"), np.array([[12, 3], [0, 4]])) == [
        "confusion (rows: true class, columns: predicted)",
        "               1     2",
        " 1 ape        12     3",
        " 2 parrots     0     4",
    ]


def test_of_several_labels_a_sample_each_class_has_its_precision() -> None:
    table = [
        PerClass(name="bark", count=3, average_precision=0.5),
        PerClass(name="rain", count=1, average_precision=0.25),
    ]
    assert precision_lines(table) == [
        "average precision of each class",
        "  rain  0.2500  (1 sample)",
        "  bark  0.5000  (3 samples)",
    ]
    many = [PerClass(name=f"c{n:02}", count=n, average_precision=1 - n / 100) for n in range(15)]
    lines = precision_lines(many)
    assert lines[0] == "average precision of the 12 lowest of 14 classes with samples"
    assert [line.split()[0] for line in lines[1:3]] == ["c14", "c13"]
