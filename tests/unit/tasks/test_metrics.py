"""scikit-learn and scipy are the oracles; small tables are worked by hand."""

import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn import metrics as oracle

from perceptio.tasks.metrics import (
    ConfusedPair,
    PerClass,
    accuracy,
    average_precision,
    balanced_accuracy,
    confusion_matrix,
    majority_share,
    mean_average_precision,
    most_confused,
    multi_label_table,
    per_class_table,
    wilson_interval,
)

PROBABILITIES = np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7], [0.4, 0.4, 0.2], [0.2, 0.3, 0.5], [0.6, 0.3, 0.1]])
TARGETS = np.array([0, 2, 1, 1, 1])
CONFUSION = np.array([[5, 0, 2, 0], [1, 3, 0, 0], [4, 0, 6, 0], [0, 0, 0, 0]])
CLASSES = ["cat", "dog", "horse", "unseen"]
NO_SAMPLE = "a metric needs at least one sample: got none. Give a split that is not empty."


@st.composite
def classified(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Scores with many ties (few distinct values) and targets that may leave out classes."""
    num_samples, num_classes = draw(st.integers(1, 23)), draw(st.integers(2, 7))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    levels = draw(st.sampled_from([2, 5, 1_000_000]))
    return (
        random.integers(0, levels, (num_samples, num_classes)) / levels,
        random.integers(0, draw(st.integers(1, num_classes)), num_samples),
    )


def test_accuracy_by_hand() -> None:
    # Sample 2 ties classes 0 and 1: argmax says 0, so it is wrong at top 1 and right at top 2.
    assert accuracy(PROBABILITIES, TARGETS) == 2 / 5
    assert accuracy(PROBABILITIES, TARGETS, top=2) == 5 / 5
    assert accuracy(PROBABILITIES, np.array([2, 2, 2, 2, 2]), top=2) == 2 / 5


@given(case=classified())
@settings(max_examples=60, deadline=None)
def test_accuracies_and_confusion_equal_scikit_learn(case: tuple[np.ndarray, np.ndarray]) -> None:
    probabilities, targets = case
    predicted, labels = probabilities.argmax(1), np.arange(probabilities.shape[1])
    assert accuracy(probabilities, targets) == pytest.approx(oracle.accuracy_score(targets, predicted), abs=1e-15)
    expected = oracle.confusion_matrix(targets, predicted, labels=labels)
    np.testing.assert_array_equal(confusion_matrix(predicted, targets, len(labels)), expected)
    recalls = oracle.recall_score(targets, predicted, labels=np.unique(targets), average=None, zero_division=0)
    assert balanced_accuracy(probabilities, targets) == pytest.approx(recalls.mean(), abs=1e-14)


@given(case=classified(), top=st.integers(1, 7))
@settings(max_examples=60, deadline=None)
def test_top_k_equals_a_loop(case: tuple[np.ndarray, np.ndarray], top: int) -> None:
    probabilities, targets = case
    top = min(top, probabilities.shape[1])
    hits = 0
    for row, target in zip(probabilities, targets, strict=True):
        better = sum(value > row[target] for value in row) + sum(value == row[target] for value in row[:target])
        hits += better < top
    assert accuracy(probabilities, targets, top) == pytest.approx(hits / len(targets), abs=1e-15)


@given(case=classified(), threshold=st.integers(0, 3))
@settings(max_examples=100, deadline=None)
def test_average_precision_equals_scikit_learn(case: tuple[np.ndarray, np.ndarray], threshold: int) -> None:
    scores, present = case[0][:, 0], case[1] <= threshold
    if present.any():
        expected = oracle.average_precision_score(present, scores)
        assert average_precision(scores, present) == pytest.approx(expected, abs=1e-14)
    else:
        assert math.isnan(average_precision(scores, present))


@given(case=classified())
@settings(max_examples=60, deadline=None)
def test_mean_average_precision_is_the_mean_over_classes_with_a_positive(
    case: tuple[np.ndarray, np.ndarray],
) -> None:
    scores, targets = case
    present = targets[:, None] == np.arange(scores.shape[1])
    kept = present.any(0)
    expected = oracle.average_precision_score(present[:, kept], scores[:, kept], average="macro")
    assert mean_average_precision(scores, present) == pytest.approx(expected, abs=1e-14)


def test_average_precision_by_hand() -> None:
    scores, present = np.array([0.9, 0.8, 0.7, 0.6]), np.array([True, False, True, False])
    assert average_precision(scores, present) == pytest.approx(1 / 2 * 1 + 1 / 2 * 2 / 3)
    # All tie: one threshold, where precision is the prevalence.
    assert average_precision(np.zeros(4), np.array([True, False, False, False])) == 0.25
    assert average_precision(np.array([np.inf, np.inf, -np.inf]), np.array([True, False, False])) == 0.5


def test_mean_average_precision_leaves_out_classes_without_a_positive() -> None:
    scores = np.array([[0.9, 0.1], [0.2, 0.3]])
    assert mean_average_precision(scores, np.array([[False, False], [True, False]])) == 0.5
    assert math.isnan(mean_average_precision(scores, np.zeros((2, 2), bool)))


def test_multi_label_table() -> None:
    rows = multi_label_table(np.array([[0.9, 0.1], [0.2, 0.3]]), np.array([[True, False], [True, False]]), ["a", "b"])
    assert rows[0].average_precision == 1.0
    assert (rows[0].name, rows[0].count, rows[1].name, rows[1].count) == ("a", 2, "b", 0)
    assert math.isnan(rows[1].average_precision)
    assert math.isnan(rows[0].recall)


@pytest.mark.parametrize(("correct", "total"), [(0, 1), (0, 17), (147, 179), (179, 179), (1, 3), (9_001, 10_000)])
def test_wilson_interval_equals_scipy(correct: int, total: int) -> None:
    expected = binomtest(correct, total).proportion_ci(0.95, method="wilson")
    assert wilson_interval(correct, total) == pytest.approx((expected.low, expected.high), abs=1e-12)
    low, high = wilson_interval(correct, total)
    assert 0 <= low < high <= 1


def test_wilson_interval_of_the_example_in_the_docs() -> None:
    low, high = wilson_interval(147, 179)
    assert (round(100 * low, 1), round(100 * high, 1)) == (75.9, 87.0)


def test_majority_share() -> None:
    assert majority_share(np.array([2, 1, 2, 0, 2]), 4) == (2, 0.6)
    assert majority_share(np.array([1, 1, 0, 0]), 3) == (0, 0.5)


def test_per_class_table_by_hand() -> None:
    cat, dog, horse, unseen = per_class_table(CONFUSION, CLASSES)
    assert cat == PerClass(name="cat", count=7, precision=5 / 10, recall=5 / 7, average_precision=cat.average_precision)
    assert (dog.precision, dog.recall) == (1.0, 3 / 4)
    assert (horse.precision, horse.recall) == (6 / 8, 6 / 10)
    assert unseen.count == 0
    assert math.isnan(unseen.precision)
    assert math.isnan(unseen.recall)


def test_most_confused() -> None:
    expected = [("horse", "cat", 4), ("cat", "horse", 2), ("dog", "cat", 1)]
    pairs = tuple(ConfusedPair(true=true, predicted=predicted, count=n) for true, predicted, n in expected)
    assert most_confused(CONFUSION, CLASSES, 10) == pairs
    assert most_confused(CONFUSION, CLASSES, 2) == pairs[:2]
    assert most_confused(np.diag([3, 4]), ["a", "b"], 5) == ()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: accuracy(PROBABILITIES.T, TARGETS),
            "probabilities must have one row a target: got (3, 5) and 5 targets. The matrix is transposed: samples are "
            "rows, classes are columns.",
        ),
        (
            lambda: accuracy(PROBABILITIES[:4], TARGETS),
            "probabilities must have one row a target: got (4, 3) and 5 targets. Use the scores of exactly these "
            "samples.",
        ),
        (
            lambda: accuracy(PROBABILITIES[0], TARGETS),
            "probabilities must be (samples, classes) and targets (samples,): got (3,) and (5,). Give one row and one "
            "class index a sample.",
        ),
        (
            lambda: accuracy(PROBABILITIES, TARGETS, top=4),
            "top must be between 1 and the 3 classes: got 4. Use 1 for the first answer alone.",
        ),
        (
            lambda: accuracy(PROBABILITIES, TARGETS, top=0),
            "top must be between 1 and the 3 classes: got 0. Use 1 for the first answer alone.",
        ),
        (lambda: accuracy(np.zeros((0, 3)), TARGETS[:0]), NO_SAMPLE),
        (
            lambda: accuracy(PROBABILITIES * np.nan, TARGETS),
            "probabilities must be numbers: row 0 holds NaN. Look for a loss that diverged.",
        ),
        (
            lambda: balanced_accuracy(PROBABILITIES.T, TARGETS),
            "probabilities must have one row a target: got (3, 5) and 5 targets. The matrix is transposed: samples are "
            "rows, classes are columns.",
        ),
        (
            lambda: confusion_matrix(TARGETS, TARGETS, 2),
            "predicted must lie between 0 and 1: got 2. Match the classes by name before counting.",
        ),
        (
            lambda: confusion_matrix(TARGETS, TARGETS - 1, 3),
            "targets must lie between 0 and 2: got -1. Match the classes by name before counting.",
        ),
        (
            lambda: confusion_matrix(TARGETS / 1, TARGETS, 3),
            "predicted must be integers: got float64. Give class indices, not scores.",
        ),
        (
            lambda: confusion_matrix(TARGETS[:2], TARGETS, 3),
            "predicted and targets must be two vectors of one length: got (2,) and (5,). Give one predicted class a "
            "sample.",
        ),
        (
            lambda: average_precision(np.ones(2), np.ones(2)),
            "present must be bool: got float64. Compare the labels with a threshold first.",
        ),
        (lambda: average_precision(np.ones(0), np.ones(0, bool)), NO_SAMPLE),
        (
            lambda: average_precision(np.array([1, np.nan]), np.ones(2, bool)),
            "scores must be numbers: row 1 holds NaN. Look for a loss that diverged.",
        ),
        (
            lambda: mean_average_precision(np.ones((3, 2)), np.ones((2, 3), bool)),
            "scores and present must have one shape: got (3, 2) and (2, 3). The matrix is transposed: samples are "
            "rows, classes are columns.",
        ),
        (
            lambda: mean_average_precision(np.ones(3), np.ones(3, bool)),
            "scores must be a matrix (samples, classes): got (3,). Give a row a sample and a column a class.",
        ),
        (
            lambda: multi_label_table(np.ones((3, 2)), np.ones((3, 2), bool), ["a"]),
            "each of the 2 classes needs a name: got 1. Give the names of all columns.",
        ),
        (
            lambda: wilson_interval(4, 3),
            "an interval needs 0 <= correct <= total and a sample: got 4 of 3. Count both on the same samples.",
        ),
        (
            lambda: wilson_interval(0, 0),
            "an interval needs 0 <= correct <= total and a sample: got 0 of 0. Count both on the same samples.",
        ),
        (
            lambda: majority_share(TARGETS[:0], 3),
            "the majority class needs at least one sample: got none. Give the targets of a split.",
        ),
        (
            lambda: per_class_table(CONFUSION, CLASSES[:3]),
            "a confusion matrix needs a row and a column for each of the 3 classes: got (4, 4). Give the names of all "
            "its classes.",
        ),
        (
            lambda: most_confused(CONFUSION[:3], CLASSES, 3),
            "a confusion matrix needs a row and a column for each of the 4 classes: got (3, 4). Give the names of all "
            "its classes.",
        ),
    ],
)
def test_messages(call: object, message: str) -> None:
    assert callable(call)
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()
