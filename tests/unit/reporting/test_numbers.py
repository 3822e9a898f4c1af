import math

import pytest

from perceptio.reporting import numbers


def test_shares() -> None:
    assert numbers.UNKNOWN == "\u2013"
    assert numbers.percent(0.82123) == "82.1 %"
    assert numbers.percent(1.0) == "100.0 %"
    assert numbers.percent(math.nan) == numbers.UNKNOWN
    assert numbers.interval(0.7584, 0.8702) == "75.8 to 87.0"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.42, "0.4 s"), (47.6, "48 s"), (59.6, "1 min 0 s"), (843.2, "14 min 3 s"), (7_499, "2 h 5 min")],
)
def test_duration(seconds: float, text: str) -> None:
    assert numbers.duration(seconds) == text


@pytest.mark.parametrize(
    ("number", "unit", "text"),
    [
        (44_912_254, "", "44.9 M"),
        (707.2e9, "FLOPs", "707 GFLOPs"),
        (1.9e9, "B", "1.9 GB"),
        (812, "", "812"),
        (3e12, "B", "3.0 TB"),
        (34_000, "B", "34,000 B"),
    ],
)
def test_scaled(number: float, unit: str, text: str) -> None:
    assert numbers.scaled(number, unit) == text


def test_counts_and_values() -> None:
    assert (numbers.count(1234567), numbers.things(1, "file"), numbers.things(2, "class", "classes")) == (
        "1,234,567",
        "1 file",
        "2 classes",
    )
    assert [numbers.value(v) for v in (3, 0.98213, 1e-4, math.nan, math.inf, 40.0, 0.0)] == [
        "3", "0.9821", "0.0001", numbers.UNKNOWN, numbers.UNKNOWN, "40", "0",
    ]  # fmt: skip
