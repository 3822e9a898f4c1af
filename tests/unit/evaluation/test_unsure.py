import numpy as np
import pytest

from perceptio.evaluation.unsure import LEAST_SAMPLES, unsure_at


def brute(probabilities: np.ndarray, right: np.ndarray) -> float | None:
    """The same by the min-max formula of isotonic regression: what is fitted at each probability."""
    values = np.unique(probabilities)

    def share(low: float, high: float) -> float:
        return float(right[(low <= probabilities) & (probabilities <= high)].mean())

    fitted = [max(min(share(low, high) for high in values[i:]) for low in values[: i + 1]) for i in range(len(values))]
    unsure = [float(value) for value, fit in zip(values, fitted, strict=True) if fit < 0.75]
    enough = unsure and (probabilities <= unsure[-1]).sum() >= LEAST_SAMPLES
    return unsure[-1] if enough else None


@pytest.mark.parametrize("seed", range(20))
def test_the_threshold_is_the_highest_that_the_rule_allows(seed: int):
    random = np.random.default_rng(seed)
    probabilities = random.integers(30, 100, 200) / 100  # with ties
    right = random.random(200) < probabilities
    assert unsure_at(probabilities, right) == brute(probabilities, right) is not None


def test_a_known_case():
    probabilities = np.array([0.4] * 10 + [0.6] * 12 + [0.99] * 80)
    right = np.array([False] * 5 + [True] * 5 + [False] * 3 + [True] * 89)
    assert unsure_at(probabilities, right) == 0.4, "9 of 12 are not fewer than 3 in 4"
    right[13] = False
    assert unsure_at(probabilities, right) == 0.6


def test_a_weak_model_may_be_relied_upon_where_it_is_sure():
    """Half of its answers are wrong, and none of the surest."""
    probabilities = np.linspace(0.2, 0.99, 60)
    right = np.arange(60) >= 40
    right[:40:4] = True
    assert unsure_at(probabilities, right) == probabilities[39]


@pytest.mark.parametrize("number", [0, 1, LEAST_SAMPLES - 1])
def test_too_few_files_teach_nothing(number: int):
    assert unsure_at(np.linspace(0.3, 0.9, number), np.zeros(number, bool)) is None
    assert unsure_at(np.linspace(0.3, 0.9, LEAST_SAMPLES), np.zeros(LEAST_SAMPLES, bool)) == 0.9


def test_a_model_that_is_right_has_no_unsure_answers():
    assert unsure_at(np.linspace(0.3, 0.9, 50), np.ones(50, bool)) is None
