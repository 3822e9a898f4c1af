"""From which first probability on a model's answers can be relied upon, learned on files it was not trained on."""

import numpy as np

RIGHT_SHARE = 0.75
LEAST_SAMPLES = 10


def unsure_at(first_probabilities: np.ndarray, right: np.ndarray) -> float | None:
    """Returns the highest first probability such that the answers up to it were right less than 3 times in 4.

    None where fewer than ten answers are that unsure: then nothing can be said.

    Args:
        first_probabilities: (n,), of the class that was answered.
        right: (n,), bool.
    """
    order = np.argsort(first_probabilities, kind="stable")
    ranked, hits = first_probabilities[order], np.cumsum(right[order])
    # Equal probabilities count together: a threshold lies behind the last of them.
    is_end = np.append(ranked[1:] != ranked[:-1], True) if len(ranked) else np.zeros(0, bool)
    numbers = np.arange(1, len(ranked) + 1)
    unsure = is_end & (numbers >= LEAST_SAMPLES) & (hits < RIGHT_SHARE * numbers)
    return float(ranked[np.flatnonzero(unsure)[-1]]) if unsure.any() else None
