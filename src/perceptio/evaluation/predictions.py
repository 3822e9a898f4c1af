"""A model's answers for a whole set of samples."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from perceptio.data.batches import Batch
from perceptio.data.records import Skipped
from perceptio.errors import DataError, PerceptioError
from perceptio.tasks.classification import TargetTable, Task

Prepare = Callable[[Tensor], Tensor]
"""Turns uint8 values into what the model takes, such as standardised float32."""


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """Answers for the samples that could be read, in the loader's order.

    Attributes:
        indices: (n,) index of each sample's record.
        probabilities: (n, K).
        losses: (n,) evaluation loss, or empty when targets are unknown.
        failures: samples that could not be read.
    """

    indices: np.ndarray
    probabilities: np.ndarray
    losses: np.ndarray
    failures: tuple[Skipped, ...]


def predict_batches(
    model: nn.Module,
    batches: Iterable[Batch],
    *,
    task: Task,
    prepare: Prepare,
    device: torch.device,
    targets: TargetTable | None = None,
) -> Predictions:
    """Runs the model in evaluation mode over batches; `targets` are those of the records by index.

    Raises:
        DataError: when no sample could be read.
        PerceptioError: when the model's output is not finite.
    """
    indices, probabilities, losses = [], [], []
    failures: list[Skipped] = []
    was_training = model.training
    model.eval()
    with torch.inference_mode():
        for batch in batches:
            failures.extend(batch.failures)
            if len(batch) == 0:
                continue
            extents = None if batch.extents is None else batch.extents.to(device)
            logits = model(prepare(batch.values.to(device)), extents).float()
            if not bool(torch.isfinite(logits).all()):
                raise PerceptioError(
                    "the model's output is not a number: its weights grew too large. Usual cause: a learning rate "
                    "that is too high; take an earlier checkpoint, or train anew with a lower --learning-rate"
                )
            indices.append(batch.indices)
            probabilities.append(task.probabilities(logits).cpu())
            if targets is not None:
                losses.append(task.evaluation_loss(logits, targets[batch.indices].to(device)).cpu())
    model.train(was_training)
    if not indices:
        reason = f"; {failures[0].name}: {failures[0].reason}" if failures else ""
        raise DataError(f"none of the {len(failures)} samples could be read{reason}")
    return Predictions(
        indices=torch.cat(indices).numpy(),
        probabilities=torch.cat(probabilities).double().numpy(),
        losses=torch.cat(losses).double().numpy() if losses else np.empty(0),
        failures=tuple(failures),
    )


def score(predictions: Predictions, targets: TargetTable, task: Task) -> Mapping[str, float]:
    """Returns loss and the task's metrics over the samples that could be read."""
    rows = targets[predictions.indices].numpy()
    return {"loss": float(predictions.losses.mean()), **task.metrics(predictions.probabilities, rows)}
