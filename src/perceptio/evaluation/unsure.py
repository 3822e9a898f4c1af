"""From which first probability on a model's answers can be relied upon, learned on files it was not trained on."""

import numpy as np

RIGHT_SHARE = 0.75
LEAST_SAMPLES = 10


def unsure_at(first_probabilities: np.ndarray, right: np.ndarray) -> float | None:
    """Returns the highest first probability whose like were right less than 3 times in 4.

    What is alike the samples say themselves: sorted by probability they are put together into stretches until each is
    right more often than the one before it (isotonic regression), as a surer answer should be. A share over all answers
    up to a probability would not do: of a model that is right half the time it would call its surest answers unsure.

    None where fewer than ten answers are that unsure: then nothing can be said.

    Args:
        first_probabilities: (n,), of the class that was answered.
        right: (n,), bool.
    """
    stretches: list[tuple[int, int, float]] = []  # samples, those that are right, highest probability
    # Equal probabilities count together.
    values, places = np.unique(first_probabilities, return_inverse=True)
    numbers = np.bincount(places, minlength=len(values)).tolist()
    all_hits = np.bincount(places[right], minlength=len(values)).tolist()
    for value, number, hits in zip(values.tolist(), numbers, all_hits, strict=True):
        while stretches and hits * stretches[-1][0] <= stretches[-1][1] * number:
            before, before_hits, _ = stretches.pop()
            number, hits = number + before, hits + before_hits
        stretches.append((number, hits, float(value)))
    unsure = [stretch for stretch in stretches if stretch[1] < RIGHT_SHARE * stretch[0]]
    return unsure[-1][2] if sum(number for number, _, _ in unsure) >= LEAST_SAMPLES else None
