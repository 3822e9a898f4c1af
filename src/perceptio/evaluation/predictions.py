"""A model's answers for a whole set of samples."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from perceptio.data.batches import Batch, Prepare, model_inputs
from perceptio.data.records import Skipped
from perceptio.errors import DataError, PerceptioError
from perceptio.tasks.classification import TargetTable, Task


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """Answers for the samples that could be read, by index.

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
    views_at_once: int,
    targets: TargetTable | None = None,
) -> Predictions:
    """Returns the answers for all batches; arguments and errors are those of `predict_share` and `join`."""
    share = predict_share(
        model, batches, task=task, prepare=prepare, device=device, views_at_once=views_at_once, targets=targets
    )
    return join([share])


def predict_share(
    model: nn.Module,
    batches: Iterable[Batch],
    *,
    task: Task,
    prepare: Prepare,
    device: torch.device,
    views_at_once: int,
    targets: TargetTable | None = None,
) -> Predictions:
    """Runs the model in evaluation mode over batches; probabilities and losses are means over a sample's views.

    Args:
        batches: those of this process; there may be none.
        views_at_once: how many views the model is given at once.
        targets: those of the records, by index.

    Raises:
        PerceptioError: when the model's output is not finite.
    """
    indices, probabilities, losses = [], [], []
    failures: list[Skipped] = []
    was_training = model.training
    model.eval()
    with torch.inference_mode():
        for batch in batches:
            failures.extend(batch.failures)
            for part, logits in _answers(model, batch, views_at_once, prepare, device):
                if not bool(torch.isfinite(logits).all()):
                    raise PerceptioError(
                        "the model's output is not a number: its weights grew too large. Usual cause: a learning rate "
                        "that is too high; take an earlier checkpoint, or train anew with a lower --learning-rate"
                    )
                indices.append(part.indices)
                probabilities.append(task.probabilities(logits).cpu())
                if targets is not None:
                    losses.append(task.evaluation_loss(logits, targets[part.indices].to(device)).cpu())
    model.train(was_training)
    if not indices:
        return Predictions(
            indices=np.empty(0, np.int64), probabilities=np.empty((0, 0)), losses=np.empty(0), failures=tuple(failures)
        )
    views = torch.cat(indices).numpy()
    return Predictions(
        indices=np.array(list(dict.fromkeys(views.tolist()))),
        probabilities=mean_over_views(views, torch.cat(probabilities).double().numpy()),
        losses=mean_over_views(views, torch.cat(losses).double().numpy()) if losses else np.empty(0),
        failures=tuple(failures),
    )


def _answers(
    model: nn.Module, batch: Batch, views_at_once: int, prepare: Prepare, device: torch.device
) -> Iterator[tuple[Batch, torch.Tensor]]:
    """Yields a batch in parts with the model's output for each; half as large ones once memory does not suffice."""
    rest = [*batch.parts(views_at_once)]
    while rest:
        part = rest.pop(0)
        logits = _output(model, part, prepare, device)
        if logits is not None:
            yield part, logits
            continue
        if len(part) == 1:
            raise PerceptioError(
                "memory does not suffice for the model's answer on one sample: use a larger device, or --device cpu"
            )
        if device.type == "cuda":
            torch.cuda.empty_cache()
        size = -(-len(part) // 2)
        rest = [smaller for larger in (part, *rest) for smaller in larger.parts(size)]


def _output(model: nn.Module, part: Batch, prepare: Prepare, device: torch.device) -> torch.Tensor | None:
    """Returns the model's output, or None when memory did not suffice: what was held for it is then let go."""
    try:
        output: torch.Tensor = model(*model_inputs(part.to(device), prepare)).float()
    except torch.OutOfMemoryError:
        return None
    return output


def join(shares: Sequence[Predictions]) -> Predictions:
    """Returns the answers of all processes as one, each sample once.

    Raises:
        DataError: when no sample could be read.
    """
    failures = tuple(failure for share in shares for failure in share.failures)
    filled = [share for share in shares if len(share.indices)]
    if not filled:
        reason = f"; {failures[0].name}: {failures[0].reason}" if failures else ""
        raise DataError(f"none of the {len(failures)} samples could be read{reason}")
    indices = np.concatenate([share.indices for share in filled])
    order = np.argsort(indices, kind="stable")
    assert len(np.unique(indices)) == len(indices), "a sample was evaluated by more than one process"
    losses = np.concatenate([share.losses for share in filled])
    return Predictions(
        indices=indices[order],
        probabilities=np.concatenate([share.probabilities for share in filled])[order],
        losses=losses[order] if len(losses) else losses,
        failures=failures,
    )


def mean_over_views(indices: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Returns the mean of the rows that belong to each sample, in the order in which samples first appear.

    Args:
        indices: (views,) the sample of each row.
        values: (views, ..) one row a view.
    """
    places = {index: place for place, index in enumerate(dict.fromkeys(indices.tolist()))}
    if len(places) == len(indices):
        return values
    rows = np.array([places[index] for index in indices.tolist()])
    sums = np.zeros((len(places), *values.shape[1:]))
    np.add.at(sums, rows, values)
    counts = np.bincount(rows).reshape(-1, *[1] * (values.ndim - 1))
    means: np.ndarray = sums / counts
    return means


def score(predictions: Predictions, targets: TargetTable, task: Task) -> Mapping[str, float]:
    """Returns loss and the task's metrics over the samples that could be read."""
    rows = targets[predictions.indices].numpy()
    return {"loss": float(predictions.losses.mean()), **task.metrics(predictions.probabilities, rows)}
