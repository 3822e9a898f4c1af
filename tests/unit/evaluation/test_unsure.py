import numpy as np
import pytest

from perceptio.evaluation.unsure import LEAST_SAMPLES, unsure_at


def brute(probabilities: np.ndarray, right: np.ndarray) -> float | None:
    """The rule in words: of all thresholds, the highest up to which fewer than 3 in 4 were right."""
    found = [
        float(value)
        for value in np.unique(probabilities)
        if (below := probabilities <= value).sum() >= LEAST_SAMPLES and right[below].mean() < 0.75
    ]
    return max(found, default=None)


@pytest.mark.parametrize("seed", range(20))
def test_the_threshold_is_the_highest_that_the_rule_allows(seed: int):
    random = np.random.default_rng(seed)
    probabilities = random.integers(30, 100, 200) / 100  # with ties
    right = random.random(200) < probabilities
    assert unsure_at(probabilities, right) == brute(probabilities, right) is not None


def test_a_known_case():
    probabilities = np.array([0.4] * 10 + [0.6] * 10 + [0.99] * 80)
    right = np.array([False] * 5 + [True] * 5 + [True] * 90)
    assert unsure_at(probabilities, right) == 0.4, "15 of 20 up to 0.6 are not fewer than 3 in 4"
    right[10] = False
    assert unsure_at(probabilities, right) == 0.6


@pytest.mark.parametrize("number", [0, 1, LEAST_SAMPLES - 1])
def test_too_few_files_teach_nothing(number: int):
    assert unsure_at(np.linspace(0.3, 0.9, number), np.zeros(number, bool)) is None
    assert unsure_at(np.linspace(0.3, 0.9, LEAST_SAMPLES), np.zeros(LEAST_SAMPLES, bool)) == 0.9


def test_a_model_that_is_right_has_no_unsure_answers():
    assert unsure_at(np.linspace(0.3, 0.9, 50), np.ones(50, bool)) is None
