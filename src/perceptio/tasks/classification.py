"""What the model is asked: one class a sample (softmax), or any number of them (sigmoid)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from perceptio.choices import check_choices
from perceptio.errors import UsageError
from perceptio.shapes import Float
from perceptio.tasks import metrics

TaskKind = Literal["auto", "single_label", "multi_label"]

_MOST_CLASSES_WITHOUT_TOP5 = 10  # five guesses among so few are nearly always enough


@dataclass(frozen=True, kw_only=True)
class TaskConfig:
    """What the labels mean."""

    kind: TaskKind = "auto"
    """One class a sample, several, or whichever the data's labels show."""
    label_smoothing: float = 0.0
    """Share of the target spread evenly over all classes (single label only)."""
    class_balance: float = 0.0
    """How far training makes up for rare classes (single label only). 0: every sample counts alike; 1: every class
    does; 0.5 lies between. A class of n training samples has weight n^-balance, scaled to a mean of 1 a sample."""

    def __post_init__(self) -> None:
        check_choices(self)
        if not 0.0 <= self.label_smoothing < 1.0:
            raise ValueError(f"label_smoothing must lie in [0, 1), got {self.label_smoothing}")
        if not 0.0 <= self.class_balance <= 1.0:
            raise ValueError(f"class_balance must lie in [0, 1], got {self.class_balance}")
        if self.kind == "multi_label" and self.single_label_only:
            raise ValueError(f"{self.single_label_only[0]} has no effect with kind='multi_label'; remove it")

    @property
    def single_label_only(self) -> list[str]:
        """Names of the options in use that several labels a sample know nothing of."""
        return [name for name in ("label_smoothing", "class_balance") if getattr(self, name) > 0]


@runtime_checkable
class Task(Protocol):
    """Loss and metrics over logits (B, K) and targets (B, K) with one column per class."""

    kind: Literal["single_label", "multi_label"]
    main_metric: str

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Returns the mean loss of a batch, for training: with smoothing."""

    def evaluation_loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Returns the loss of each sample, (B,), without smoothing."""

    def probabilities(self, logits: Tensor) -> Tensor:
        """Returns class probabilities (B, K)."""

    def metrics(self, probabilities: np.ndarray, targets: np.ndarray) -> Mapping[str, float]:
        """Returns the task's metrics by name, the main one among them; greater is better."""


class SingleLabel:
    """One of K classes: softmax cross-entropy, accuracy."""

    kind: Literal["single_label", "multi_label"] = "single_label"
    main_metric = "accuracy"

    def __init__(self, label_smoothing: float = 0.0, class_weights: Sequence[float] | None = None) -> None:
        """Takes one weight for each class, by which its samples count in `loss`; None: all count alike."""
        self.label_smoothing = label_smoothing
        self.class_weights = class_weights

    def loss(self, logits: Float[Tensor, "B K"], targets: Float[Tensor, "B K"]) -> Tensor:
        """Returns cross-entropy with soft targets, smoothed after any mixing as in the official code.

        Divided by the number of samples and not by their weights, so that parts of a batch add up to the whole.
        """
        if self.class_weights is None:
            return functional.cross_entropy(logits, targets, label_smoothing=self.label_smoothing)
        losses = functional.cross_entropy(logits, targets, label_smoothing=self.label_smoothing, reduction="none")
        # A sample mixed from two classes counts as much as its share of each.
        return (losses * (targets @ targets.new_tensor(self.class_weights))).mean()

    def evaluation_loss(self, logits: Float[Tensor, "B K"], targets: Float[Tensor, "B K"]) -> Float[Tensor, " B"]:
        """Returns the cross-entropy of each sample."""
        return functional.cross_entropy(logits, targets, reduction="none")

    def probabilities(self, logits: Float[Tensor, "B K"]) -> Float[Tensor, "B K"]:
        """Returns the softmax."""
        return torch.softmax(logits, dim=-1)

    def metrics(self, probabilities: np.ndarray, targets: np.ndarray) -> Mapping[str, float]:
        """Returns accuracy, balanced accuracy and, for more than ten classes, top-5 accuracy."""
        true = targets.argmax(axis=1)
        found = {
            "accuracy": metrics.accuracy(probabilities, true),
            "balanced_accuracy": metrics.balanced_accuracy(probabilities, true),
        }
        if probabilities.shape[1] > _MOST_CLASSES_WITHOUT_TOP5:
            found["top5_accuracy"] = metrics.accuracy(probabilities, true, top=5)
        return found


class MultiLabel:
    """Any number of K classes: sigmoid cross-entropy, mean average precision (paper section 4.2)."""

    kind: Literal["single_label", "multi_label"] = "multi_label"
    main_metric = "map"

    def loss(self, logits: Float[Tensor, "B K"], targets: Float[Tensor, "B K"]) -> Tensor:
        """Returns binary cross-entropy, the mean over samples and classes."""
        return functional.binary_cross_entropy_with_logits(logits, targets)

    def evaluation_loss(self, logits: Float[Tensor, "B K"], targets: Float[Tensor, "B K"]) -> Float[Tensor, " B"]:
        """Returns the loss of each sample, the mean over classes."""
        return functional.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(dim=1)

    def probabilities(self, logits: Float[Tensor, "B K"]) -> Float[Tensor, "B K"]:
        """Returns the sigmoid."""
        return torch.sigmoid(logits)

    def metrics(self, probabilities: np.ndarray, targets: np.ndarray) -> Mapping[str, float]:
        """Returns the mean average precision over the classes that occur."""
        return {"map": metrics.mean_average_precision(probabilities, targets > 0.5)}


def build_task(config: TaskConfig, *, multi_label: bool, class_counts: Sequence[int] = ()) -> Task:
    """Returns the task of a config for data whose samples may have several labels.

    Args:
        class_counts: training samples of each class; only `class_balance` needs them.

    Raises:
        UsageError: the config asks for what such data cannot have.
    """
    if config.kind == "single_label" and multi_label:
        raise UsageError(
            "task.kind='single_label' needs one label a sample, but some have none or several; use multi_label"
        )
    if config.kind == "multi_label" or (config.kind == "auto" and multi_label):
        if config.single_label_only:
            raise UsageError(
                f"task.{config.single_label_only[0]} has no effect with several labels a sample; remove it"
            )
        return MultiLabel()
    weights = balanced_weights(class_counts, config.class_balance) if config.class_balance > 0 else None
    return SingleLabel(config.label_smoothing, weights)


def balanced_weights(counts: Sequence[int], balance: float) -> list[float]:
    """Returns count^-balance of each class, scaled so that their mean over all samples is 1.

    A class without samples counts as one that has a single one: it takes part in no loss.
    """
    weights = np.maximum(counts, 1) ** -balance
    scaled: list[float] = (weights * sum(counts) / (weights @ np.asarray(counts))).tolist()
    return scaled


class TargetTable:
    """Targets by sample, kept as class indices: a dense matrix of ImageNet's would take five gigabytes."""

    def __init__(self, labels: Sequence[Sequence[str]], classes: Sequence[str]) -> None:
        column = {name: index for index, name in enumerate(classes)}
        counts = np.array([len(names) for names in labels], dtype=np.int64)
        self._starts = np.concatenate([[0], np.cumsum(counts)])
        self._columns = np.array([column[name] for names in labels for name in names], dtype=np.int32)
        self.num_classes = len(classes)

    def __len__(self) -> int:
        return len(self._starts) - 1

    def __getitem__(self, indices: Tensor | np.ndarray) -> Float[Tensor, "B K"]:
        """Returns one row for each index, 1.0 in the columns of its labels."""
        chosen = np.asarray(indices)
        starts = self._starts[chosen]
        counts = self._starts[chosen + 1] - starts
        # Number of each label among those of its row, and so its place among all labels.
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        rows = np.zeros((len(chosen), self.num_classes), dtype=np.float32)
        rows[np.repeat(np.arange(len(chosen)), counts), self._columns[np.repeat(starts, counts) + within]] = 1.0
        return torch.from_numpy(rows)
