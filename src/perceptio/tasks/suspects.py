"""Which labels may be wrong: those that a model contradicts where, as sure as this, it nearly always agrees."""

import numpy as np

LEAST_PROBABILITY = 0.9
LEAST_AGREEMENT = 0.9


def sure_contradictions(probabilities: np.ndarray, agrees: np.ndarray) -> np.ndarray:
    """Returns the places of answers that contradict their labels although answers so sure can be trusted, surest first.

    An answer is sure from that probability on, 0.9 or above, from which at least 9 of 10 answers agree with their
    labels: the lowest such. A model that is sure and often wrong has none, so that it accuses no label.

    Args:
        probabilities: (n,) of each answer.
        agrees: (n,) bool, whether the answer is what the label says.

    Raises:
        ValueError: the lengths differ, or `agrees` is not bool.
    """
    if probabilities.shape != agrees.shape or probabilities.ndim != 1 or agrees.dtype != np.bool_:
        raise ValueError(
            "probabilities and agrees must be two vectors of one length, the second of bool: got "
            f"{probabilities.shape} and {agrees.dtype} {agrees.shape}. Give one of each an answer."
        )
    order = np.argsort(-probabilities, kind="stable")
    ranked = probabilities[order]
    agreement = np.cumsum(agrees[order]) / np.arange(1, len(order) + 1)
    # A threshold lies behind the last of equal probabilities: it takes all of them or none.
    is_end = np.append(ranked[1:] != ranked[:-1], True)[: len(order)]
    trusted = np.flatnonzero(is_end & (ranked >= LEAST_PROBABILITY) & (agreement >= LEAST_AGREEMENT))
    if trusted.size == 0:
        return np.empty(0, dtype=np.int64)
    sure = order[: trusted[-1] + 1]
    contradictions: np.ndarray = sure[~agrees[sure]]
    return contradictions
