import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from perceptio.errors import UsageError
from perceptio.tasks.classification import (
    MultiLabel,
    SingleLabel,
    TargetTable,
    TaskConfig,
    balanced_weights,
    build_task,
)

LOGITS = torch.tensor([[1.0, -2.0, 0.5, 0.0, 3.0], [0.0, 0.0, 4.0, -1.0, 1.0]])
ONE_HOT = torch.eye(5)[[4, 1]]


def log_softmax(logits: torch.Tensor) -> list[list[float]]:
    rows = logits.tolist()
    return [[value - math.log(sum(math.exp(other) for other in row)) for value in row] for row in rows]


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_cross_entropy_with_smoothing_by_loops(smoothing: float):
    expected = 0.0
    for row, (logs, target) in enumerate(zip(log_softmax(LOGITS), ONE_HOT.tolist(), strict=True)):
        for column, log in enumerate(logs):
            expected -= ((1 - smoothing) * target[column] + smoothing / 5) * log / 2
        assert row < 2
    assert_close(SingleLabel(smoothing).loss(LOGITS, ONE_HOT), torch.tensor(expected))


def test_evaluation_has_no_smoothing_and_one_loss_a_sample():
    expected = [-log_softmax(LOGITS)[0][4], -log_softmax(LOGITS)[1][1]]
    assert_close(SingleLabel(0.3).evaluation_loss(LOGITS, ONE_HOT), torch.tensor(expected))


def test_soft_targets_are_taken_as_they_are():
    soft = torch.tensor([[0.25, 0.75, 0.0, 0.0, 0.0]])
    logs = log_softmax(LOGITS[:1])[0]
    assert_close(SingleLabel().loss(LOGITS[:1], soft), torch.tensor(-0.25 * logs[0] - 0.75 * logs[1]))


def test_single_label_probabilities_and_metrics():
    task = SingleLabel()
    assert_close(task.probabilities(LOGITS).sum(dim=1), torch.ones(2))
    found = task.metrics(task.probabilities(LOGITS).numpy(), ONE_HOT.numpy())
    assert found == {"accuracy": 0.5, "balanced_accuracy": 0.5}
    assert task.main_metric in found


@pytest.mark.parametrize("num_classes", [6, 10])
def test_few_classes_have_no_top_five(num_classes: int):
    assert "top5_accuracy" not in SingleLabel().metrics(np.eye(num_classes), np.eye(num_classes))


def test_more_than_ten_classes_have_a_top_five():
    probabilities = np.array([[0.3, 0.2, 0.15, 0.14, 0.11, 0.1, 0, 0, 0, 0, 0]] * 2)
    found = SingleLabel().metrics(probabilities, np.eye(11)[[4, 5]])
    assert (found["accuracy"], found["top5_accuracy"]) == (0.0, 0.5)


def test_binary_cross_entropy_by_loops():
    targets = torch.tensor([[1.0, 0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0]])
    losses = [
        [-math.log(1 / (1 + math.exp(-value if target else value))) for value, target in zip(row, wanted, strict=True)]
        for row, wanted in zip(LOGITS.tolist(), targets.tolist(), strict=True)
    ]
    task = MultiLabel()
    assert_close(task.evaluation_loss(LOGITS, targets), torch.tensor([sum(row) / 5 for row in losses]))
    assert_close(task.loss(LOGITS, targets), torch.tensor(sum(map(sum, losses)) / 10))
    assert_close(task.probabilities(LOGITS), 1 / (1 + torch.exp(-LOGITS)))


def test_multi_label_metric_is_map():
    probabilities = np.array([[0.9, 0.2], [0.1, 0.8], [0.5, 0.4]])
    targets = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    assert MultiLabel().metrics(probabilities, targets) == {"map": 1.0}
    assert MultiLabel.main_metric == "map"


@pytest.mark.parametrize(
    ("kind", "multi_label", "expected"),
    [
        ("auto", False, SingleLabel),
        ("auto", True, MultiLabel),
        ("single_label", False, SingleLabel),
        ("multi_label", False, MultiLabel),
        ("multi_label", True, MultiLabel),
    ],
)
def test_the_labels_choose_the_task(kind, multi_label: bool, expected: type):
    assert type(build_task(TaskConfig(kind=kind), multi_label=multi_label)) is expected


def test_smoothing_reaches_the_task():
    task = build_task(TaskConfig(label_smoothing=0.2), multi_label=False)
    assert isinstance(task, SingleLabel)
    assert task.label_smoothing == 0.2


def test_class_weights_follow_the_formula():
    """Eight samples of one class and two of another: n^-0.5, scaled so that all ten samples have a mean of 1."""
    rare, common = 2**-0.5, 8**-0.5
    scale = 10 / (2 * rare + 8 * common)
    assert balanced_weights([8, 2], 0.5) == pytest.approx([common * scale, rare * scale])
    # At 1 every class weighs the same in all: half of the ten samples.
    assert balanced_weights([8, 2], 1.0) == pytest.approx([5 / 8, 5 / 2])
    assert balanced_weights([3, 0], 1.0) == pytest.approx([1.0, 3.0])


def test_class_balance_weighs_the_loss_of_training_alone():
    """A sample mixed from two classes weighs what its shares do; the loss is divided by the samples."""
    targets = torch.tensor([[1.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.25, 0.75, 0.0, 0.0]])
    weights = [2.0, 0.5, 3.0, 1.0, 1.0]
    plain, task = SingleLabel(0.1), SingleLabel(0.1, weights)
    one, two = plain.loss(LOGITS[:1], targets[:1]), plain.loss(LOGITS[1:], targets[1:])
    assert_close(task.loss(LOGITS, targets), (2.0 * one + (0.25 * 0.5 + 0.75 * 3.0) * two) / 2)
    assert_close(task.evaluation_loss(LOGITS, targets), plain.evaluation_loss(LOGITS, targets))


def test_class_balance_reaches_the_task():
    task = build_task(TaskConfig(class_balance=1.0), multi_label=False, class_counts=[8, 2])
    assert isinstance(task, SingleLabel)
    assert task.class_weights == pytest.approx([5 / 8, 5 / 2])
    assert build_task(TaskConfig(), multi_label=False, class_counts=[8, 2]).class_weights is None


def test_what_does_not_fit_together_is_refused():
    with pytest.raises(
        UsageError,
        match=r"^task\.kind='single_label' needs one label a sample, but some have none or several; use multi_label$",
    ):
        build_task(TaskConfig(kind="single_label"), multi_label=True)
    message = r"^task\.label_smoothing has no effect with several labels a sample; remove it$"
    with pytest.raises(UsageError, match=message):
        build_task(TaskConfig(label_smoothing=0.1), multi_label=True)
    with pytest.raises(ValueError, match=r"label_smoothing has no effect with kind='multi_label'; remove it"):
        TaskConfig(kind="multi_label", label_smoothing=0.1)
    with pytest.raises(
        UsageError, match=r"^task\.class_balance has no effect with several labels a sample; remove it$"
    ):
        build_task(TaskConfig(class_balance=0.5), multi_label=True)
    with pytest.raises(ValueError, match=r"class_balance has no effect with kind='multi_label'; remove it"):
        TaskConfig(kind="multi_label", class_balance=0.5)
    with pytest.raises(ValueError, match=r"class_balance must lie in \[0, 1\], got 1.5"):
        TaskConfig(class_balance=1.5)
    with pytest.raises(ValueError, match=r"label_smoothing must lie in \[0, 1\), got 1.0"):
        TaskConfig(label_smoothing=1.0)


def test_a_target_row_has_a_one_for_each_label():
    table = TargetTable([("b",), (), ("c", "a")], ("a", "b", "c"))
    assert len(table) == 3
    found = table[torch.tensor([0, 1, 2])]
    assert torch.equal(table[np.array([2, 0])], found[[2, 0]])
    assert found.tolist() == [[0.0, 1.0, 0.0], [0.0, 0.0, 0.0], [1.0, 0.0, 1.0]]
