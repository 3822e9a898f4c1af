from hypothesis import given
from hypothesis import strategies as st

from perceptio.randomness import derive, generator
from support.processes import python

parts = st.lists(st.one_of(st.integers(-(2**70), 2**70), st.text(max_size=7)), max_size=4)


@given(parts, parts)
def test_different_keys_have_different_seeds_equal_keys_equal_ones(first, second):
    """A collision of 63-bit values by chance has probability 1e-19 a pair."""
    same = [(type(part), part) for part in first] == [(type(part), part) for part in second]
    assert (derive(*first) == derive(*second)) == same
    assert 0 <= derive(*first) < 2**63


def test_where_one_part_ends_and_the_next_begins_matters():
    assert len({derive("ab", "c"), derive("a", "bc"), derive("abc"), derive("abc", "")}) == 4
    assert derive(1) != derive("1")


def test_a_seed_is_the_same_in_a_new_process(tmp_path):
    """Unlike `hash()`, whose text seeds differ between processes."""
    done = python("-c", "from perceptio.randomness import derive; print(derive(0, 'sample', 3, 17))", cwd=tmp_path)
    assert int(done.stdout) == derive(0, "sample", 3, 17)


def test_a_generator_is_fresh_each_time():
    assert generator(1, "x").random() == generator(1, "x").random() != generator(2, "x").random()
