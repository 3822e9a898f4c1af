"""What the metrics refuse, with messages that say the rule, the value and the way out."""

from collections.abc import Sequence

import numpy as np


def check_scores(probabilities: np.ndarray, targets: np.ndarray) -> None:
    """Refuses probabilities that are not (n, K), targets that are not n class indices, an empty set and NaN."""
    if probabilities.ndim != 2 or targets.ndim != 1:
        raise ValueError(
            "probabilities must be (samples, classes) and targets (samples,): "
            f"got {probabilities.shape} and {targets.shape}. Give one row and one class index a sample."
        )
    num_samples, num_classes = probabilities.shape
    if num_samples != len(targets):
        raise ValueError(
            f"probabilities must have one row a target: got {probabilities.shape} and {len(targets)} targets. "
            + transposed_hint(num_classes == len(targets))
        )
    if num_samples == 0:
        raise ValueError("a metric needs at least one sample: got none. Give a split that is not empty.")
    check_indices(targets, "targets", num_classes)
    _check_no_nan(probabilities, "probabilities")


def check_present(scores: np.ndarray, present: np.ndarray) -> None:
    """Refuses scores and labels of different shapes, an empty set, labels that are not bool, and NaN."""
    if scores.shape != present.shape:
        raise ValueError(
            f"scores and present must have one shape: got {scores.shape} and {present.shape}. "
            + transposed_hint(scores.shape == present.shape[::-1])
        )
    if len(scores) == 0:
        raise ValueError("a metric needs at least one sample: got none. Give a split that is not empty.")
    if present.dtype != np.bool_:
        raise ValueError(f"present must be bool: got {present.dtype}. Compare the labels with a threshold first.")
    _check_no_nan(scores, "scores")


def check_indices(indices: np.ndarray, name: str, num_classes: int) -> None:
    """Refuses anything but integers in [0, num_classes)."""
    if not np.issubdtype(indices.dtype, np.integer):
        raise ValueError(f"{name} must be integers: got {indices.dtype}. Give class indices, not scores.")
    outside = indices[(indices < 0) | (indices >= num_classes)]
    if outside.size:
        raise ValueError(
            f"{name} must lie between 0 and {num_classes - 1}: got {outside[0]}. "
            "Match the classes by name before counting."
        )


def check_confusion(confusion: np.ndarray, classes: Sequence[str]) -> None:
    """Refuses a matrix that is not (K, K) for K class names."""
    if confusion.shape != (len(classes), len(classes)):
        raise ValueError(
            f"a confusion matrix needs a row and a column for each of the {len(classes)} classes: "
            f"got {confusion.shape}. Give the names of all its classes."
        )


def check_names(classes: Sequence[str], num_classes: int) -> None:
    """Refuses a number of names that is not the number of classes."""
    if len(classes) != num_classes:
        raise ValueError(
            f"each of the {num_classes} classes needs a name: got {len(classes)}. Give the names of all columns."
        )


def transposed_hint(fits: bool) -> str:
    """Returns the way out of two shapes that differ: whether the transposed matrix would fit."""
    if fits:
        return "The matrix is transposed: samples are rows, classes are columns."
    return "Use the scores of exactly these samples."


def _check_no_nan(values: np.ndarray, name: str) -> None:
    if np.isnan(values).any():
        row = int(np.argwhere(np.isnan(values))[0][0])
        raise ValueError(f"{name} must be numbers: row {row} holds NaN. Look for a loss that diverged.")
