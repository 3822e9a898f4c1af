"""A few mutants of every format, read as the product reads files: each is read or refused in one line, and no more.

The campaign of thousands is `benchmarks/fuzz.py`; what it found stands in docs/results/fuzzing.md.
"""

from collections.abc import Mapping

import pytest

from support.fuzz_inside import change_value
from support.fuzz_seeds import FORMATS, seed_of
from support.fuzzing import MOST_PEAK_BYTES, Tally, mutant, read_as_the_product_does, run

NUM_MUTANTS = 32
LEAST_PAST_SHARE = 0.2
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tallies() -> Mapping[str, Tally]:
    return run(list(FORMATS), range(NUM_MUTANTS), num_children=2)


@pytest.mark.parametrize("name", FORMATS)
def test_a_mutant_is_read_or_refused_and_harms_nobody(tallies: Mapping[str, Tally], name: str) -> None:
    tally = tallies[name]
    assert tally.num_mutants == NUM_MUTANTS
    assert tally.faults == {}
    assert tally.harm == {}
    assert tally.peak_bytes < MOST_PEAK_BYTES
    assert tally.num_past >= LEAST_PAST_SHARE * NUM_MUTANTS, "most mutants are refused before a decoder sees them"
    assert tally.reasons, "no mutant was refused"


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_that_nobody_changed_is_read(name: str) -> None:
    answer = read_as_the_product_does(name, seed_of(name))
    # Whether the paths of a table lead anywhere is not looked at here.
    assert answer == {"past": True, "reason": "", "fault": ""}


def test_a_mutant_is_the_same_each_time_and_differs_from_all_others() -> None:
    for name in ("png", "obj", "json", "npz"):
        seed = seed_of(name)
        made = [mutant(seed, name, number) for number in range(50)]
        assert made == [mutant(seed, name, number) for number in range(50)]
        assert len(set(made)) > 35
        assert seed == seed_of(name)


def test_a_fault_is_told_apart_from_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: a decoder that raises what none may is found."""

    def broken(path, past) -> None:
        raise KeyError("a bug")

    monkeypatch.setitem(vars(__import__("support.fuzzing", fromlist=["x"]))["_READ"], "image", broken)
    assert "KeyError: 'a bug'" in read_as_the_product_does("png", b"x")["fault"]
    tally = Tally()
    tally.add(3, read_as_the_product_does("png", b"x"))
    assert list(tally.faults) == [3]


def test_one_value_of_a_document_is_changed() -> None:
    import numpy as np

    content = bytearray(b'{"a": [1, "x"], "b": null}')
    seen = set()
    for number in range(200):
        changed = bytearray(content)
        change_value(changed, bytes(content), (), np.random.default_rng(number))
        assert changed.startswith(b'{"a": ')
        assert b'"b": ' in changed
        seen.add(bytes(changed))
    assert len(seen) > 20
