"""Files that once did what none may are read again in every test run.

They are mutants, made anew from their number: nothing hostile is stored. A number that `benchmarks/fuzz.py` prints as
harmful or as a fault belongs here once the cause is mended, beside a test of the cause itself: with another version of
an encoder the seed, and so the mutant, is another.
"""

from collections.abc import Sequence

import pytest

from support.fuzzing import run

ONCE_FAILED = {
    # Sound of eight and more channels ended its decoder: PyAV counted their planes wrongly.
    "m4a": (4348, 5024, 6650),
    # The first line holds a bare carriage return: csv.Error came through.
    "csv": (82, 166, 592),
    # pyarrow raised OSError without a number, ArrowInvalid and UnicodeDecodeError.
    "parquet": (2, 12, 3, 82, 140),
    # Half a character as a label: UnicodeEncodeError when classes were sorted.
    "jsonl": (87, 141, 193),
}


@pytest.mark.parametrize(("name", "numbers"), ONCE_FAILED.items())
def test_what_once_failed_is_read_or_refused(name: str, numbers: Sequence[int]) -> None:
    tally = run([name], numbers, num_children=1)[name]
    assert (tally.num_mutants, tally.harm, tally.faults) == (len(numbers), {}, {})
