"""The text of `perceptio evaluate`: the confusion of classes whose names are long."""

import numpy as np
import pytest

from perceptio.cli.evaluate import matrix_lines


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
