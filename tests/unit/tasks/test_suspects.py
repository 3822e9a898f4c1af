import numpy as np
import pytest

from perceptio.tasks.suspects import sure_contradictions


def answers(*groups: tuple[float, str]) -> tuple[np.ndarray, np.ndarray]:
    """Returns probabilities and agreement of groups: (probability, a sign an answer, "+" where it agrees)."""
    probabilities = [probability for probability, signs in groups for _ in signs]
    agrees = [sign == "+" for _, signs in groups for sign in signs]
    return np.array(probabilities), np.array(agrees, dtype=bool)


def test_contradictions_among_sure_answers_are_found_the_surest_first():
    found = sure_contradictions(*answers((0.92, "-" + "+" * 9), (0.99, "+" * 9 + "-"), (0.85, "-+++")))
    assert found.tolist() == [19, 0]


def test_a_model_that_is_sure_and_often_wrong_accuses_nobody():
    assert sure_contradictions(*answers((0.99, "+" * 8 + "--"))).tolist() == []


def test_sure_begins_where_nine_of_ten_still_agree():
    """At 0.99 nine of ten do, at 0.95 and above seventeen of twenty: only the first ten answers can be trusted."""
    found = sure_contradictions(*answers((0.99, "-" + "+" * 9), (0.95, "--" + "+" * 8)))
    assert found.tolist() == [0]


def test_it_may_begin_below_a_stretch_of_contradictions():
    """The two surest answers contradict their labels, and so many of the others agree that they can be trusted."""
    assert sure_contradictions(*answers((0.99, "--"), (0.95, "+" * 18))).tolist() == [0, 1]


def test_equal_probabilities_count_together():
    """Ten agreeing answers first would let some of the equal ones in; the order among equals means nothing."""
    assert sure_contradictions(*answers((0.95, "+" * 10 + "---"))).tolist() == []


def test_below_ninety_percent_nothing_is_sure():
    assert sure_contradictions(*answers((0.8999, "+" * 50 + "-"))).tolist() == []
    assert sure_contradictions(*answers((0.9, "+" * 50 + "-"))).tolist() == [50]


def test_no_answer_no_contradiction():
    assert sure_contradictions(*answers()).tolist() == []


def test_what_does_not_fit_is_refused():
    rule = r"^probabilities and agrees must be two vectors of one length, the second of bool: got \(2,\) and int64 "
    with pytest.raises(ValueError, match=rule + r"\(2,\)\. Give one of each an answer\.$"):
        sure_contradictions(np.ones(2), np.ones(2, dtype=np.int64))
    with pytest.raises(ValueError, match=r"got \(2,\) and bool \(3,\)"):
        sure_contradictions(np.ones(2), np.ones(3, dtype=bool))
