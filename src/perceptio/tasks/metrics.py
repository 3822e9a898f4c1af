"""Metrics on numpy arrays: what a report says about a model, each with its formula.

Shapes use n for samples and K for classes. Everything is counted in float64, whatever the model computed in.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from perceptio.tasks.metric_checks import (
    check_confusion,
    check_indices,
    check_names,
    check_present,
    check_scores,
)

_Z_95 = 1.959963984540054  # the 97.5 % quantile of the standard normal distribution


_WORDS = {"map": "mean average precision", "top5_accuracy": "top-5 accuracy"}


@dataclass(frozen=True, kw_only=True)
class PerClass:
    """One class of a result: `count` samples truly belong to it. Shares in [0, 1], NaN if undefined or not measured."""

    name: str
    count: int
    precision: float = math.nan
    recall: float = math.nan
    average_precision: float = math.nan


@dataclass(frozen=True, kw_only=True)
class ConfusedPair:
    """How many samples of class `true` were taken for class `predicted`."""

    true: str
    predicted: str
    count: int


def in_words(metric: str) -> str:
    """Returns a metric's name for people, such as "balanced accuracy"."""
    return _WORDS.get(metric, metric.replace("_", " "))


def accuracy(probabilities: np.ndarray, targets: np.ndarray, top: int = 1) -> float:
    """Returns the share of samples whose true class is among the `top` most probable ones.

    Equal probabilities rank by class index, so that `top=1` is `argmax`.

    Args:
        probabilities: (n, K), any monotone score.
        targets: (n,), class indices in [0, K).

    Raises:
        ValueError: shapes that do not fit (a transposed matrix is named), no sample, NaN, or `top` outside [1, K].
    """
    check_scores(probabilities, targets)
    num_classes = probabilities.shape[1]
    if not 1 <= top <= num_classes:
        raise ValueError(
            f"top must be between 1 and the {num_classes} classes: got {top}. Use 1 for the first answer alone."
        )
    ranked = np.argsort(-probabilities.astype(np.float64), axis=1, kind="stable")[:, :top]
    return float(np.mean((ranked == targets[:, None]).any(axis=1)))


def balanced_accuracy(probabilities: np.ndarray, targets: np.ndarray) -> float:
    """Returns the mean over the classes that occur in `targets` of the recall, TP / (TP + FN).

    Takes and refuses the same as `accuracy`.
    """
    check_scores(probabilities, targets)
    predicted = probabilities.argmax(axis=1)
    confusion = confusion_matrix(predicted, targets, probabilities.shape[1])
    counts = confusion.sum(axis=1)
    return float(np.mean(confusion.diagonal()[counts > 0] / counts[counts > 0]))


def confusion_matrix(predicted: np.ndarray, targets: np.ndarray, num_classes: int) -> np.ndarray:
    """Counts samples by true class (row) and predicted class (column): (K, K), int64. Both arguments are (n,).

    Raises:
        ValueError: the lengths differ, or an index lies outside [0, K).
    """
    if predicted.shape != targets.shape:
        raise ValueError(
            f"predicted and targets must be two vectors of one length: got {predicted.shape} and {targets.shape}. "
            "Give one predicted class a sample."
        )
    check_indices(predicted, "predicted", num_classes)
    check_indices(targets, "targets", num_classes)
    cells = targets.astype(np.int64) * num_classes + predicted
    return np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes).astype(np.int64)


def average_precision(scores: np.ndarray, present: np.ndarray) -> float:
    """Returns AP = sum over thresholds t of (R_t - R_(t-1)) P_t, without interpolation; NaN without a positive.

    The thresholds are the distinct scores from high to low, so samples of equal score count together, as in
    scikit-learn's `average_precision_score`.

    Args:
        scores: (n,), higher means more likely present.
        present: (n,), bool.

    Raises:
        ValueError: shapes that differ, `present` that is not bool, or a NaN score.
    """
    check_present(scores, present)
    order = np.argsort(-scores.astype(np.float64), kind="stable")
    ranked, hits = scores[order], np.cumsum(present[order])
    num_positives = int(present.sum())
    if num_positives == 0:
        return math.nan
    # A threshold lies behind the last sample of each group of ties.
    ends = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)
    precision = hits[ends] / (ends + 1)
    recall_steps = np.diff(hits[ends], prepend=0) / num_positives
    return float(np.sum(recall_steps * precision))


def mean_average_precision(scores: np.ndarray, present: np.ndarray) -> float:
    """Returns the mean of `average_precision` over the classes with a positive (NaN if none has); both are (n, K).

    A transposed score matrix once inflated the paper's AudioSet numbers (App. F), so it is named when shapes tell.

    Raises:
        ValueError: as `average_precision`, or a matrix that is transposed.
    """
    _check_label_matrix(scores, present)
    values = [average_precision(*columns) for columns in zip(scores.T, present.T, strict=True)]
    defined = [value for value in values if not math.isnan(value)]
    return float(np.mean(defined)) if defined else math.nan


def multi_label_table(scores: np.ndarray, present: np.ndarray, classes: Sequence[str]) -> tuple[PerClass, ...]:
    """Returns count and average precision of each class. Scores and present are (n, K); raises as the mean does."""
    _check_label_matrix(scores, present)
    check_names(classes, scores.shape[1])
    return tuple(
        PerClass(name=name, count=int(labels.sum()), average_precision=average_precision(column, labels))
        for name, column, labels in zip(classes, scores.T, present.T, strict=True)
    )


def wilson_interval(correct: int, total: int) -> tuple[float, float]:
    """Returns the 95 % Wilson score interval of a share correct / total, both ends in [0, 1].

    With p = correct / total and z = 1.96: (p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n). Unlike the
    normal approximation it stays inside [0, 1] and has a width at p = 0 and p = 1.

    Raises:
        ValueError: the counts are none.
    """
    if not 0 <= correct <= total or total == 0:
        raise ValueError(
            f"an interval needs 0 <= correct <= total and a sample: got {correct} of {total}. Count both on the same "
            "samples."
        )
    share, spread = correct / total, _Z_95**2 / total
    centre = share + spread / 2
    half = math.sqrt(spread * (share * (1 - share) + spread / 4))
    return max(0.0, (centre - half) / (1 + spread)), min(1.0, (centre + half) / (1 + spread))


def majority_share(targets: np.ndarray, num_classes: int) -> tuple[int, float]:
    """Returns the most frequent class (the first of equals) and its share: the score of always answering it.

    Raises:
        ValueError: there is no target, or one is no class.
    """
    if targets.size == 0:
        raise ValueError("the majority class needs at least one sample: got none. Give the targets of a split.")
    check_indices(targets, "targets", num_classes)
    counts = np.bincount(targets, minlength=num_classes)
    return int(counts.argmax()), float(counts.max() / targets.size)


def per_class_table(confusion: np.ndarray, classes: Sequence[str]) -> tuple[PerClass, ...]:
    """Returns for each class count, precision TP / (TP + FP) and recall TP / (TP + FN) of a (K, K) matrix."""
    check_confusion(confusion, classes)
    right, true, predicted = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
    return tuple(
        PerClass(
            name=name,
            count=int(true[k]),
            precision=float(right[k] / predicted[k]) if predicted[k] else math.nan,
            recall=float(right[k] / true[k]) if true[k] else math.nan,
        )
        for k, name in enumerate(classes)
    )


def most_confused(confusion: np.ndarray, classes: Sequence[str], top: int) -> tuple[ConfusedPair, ...]:
    """Returns up to `top` off-diagonal cells with a count, most frequent first, equals by row and column."""
    check_confusion(confusion, classes)
    wrong = np.where(np.eye(len(classes), dtype=bool), 0, confusion)
    order = np.argsort(-wrong, axis=None, kind="stable")[:top]
    pairs = [(int(cell) // len(classes), int(cell) % len(classes)) for cell in order]
    return tuple(
        ConfusedPair(true=classes[row], predicted=classes[column], count=int(wrong[row, column]))
        for row, column in pairs
        if wrong[row, column] > 0
    )


def _check_label_matrix(scores: np.ndarray, present: np.ndarray) -> None:
    if scores.ndim != 2:
        raise ValueError(
            f"scores must be a matrix (samples, classes): got {scores.shape}. Give a row a sample and a column a class."
        )
    check_present(scores, present)
