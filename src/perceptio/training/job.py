"""What the loop is given, and what it tells: plain values between training and whoever starts it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from perceptio.data.batches import Prepare
from perceptio.data.children import Allowance
from perceptio.data.dataset import TrainingSamples
from perceptio.data.lasting import BATCH_SECONDS
from perceptio.data.order import ShardBlocks
from perceptio.data.records import Skipped
from perceptio.errors import DataError, UsageError
from perceptio.models.perceiver import Perceiver
from perceptio.tasks.classification import TargetTable, Task
from perceptio.training.checkpoint import LoopState
from perceptio.training.config import TrainingConfig
from perceptio.training.lost_files import FileLost, LostFiles
from perceptio.training.metric_log import MetricLog
from perceptio.training.sharding import Sharding


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is trained, on what, and how.

    Attributes:
        targets: those of the training records, by index.
        prepare: values of a stream to model input.
        evaluate: returns the validation results of a model; "loss" and the task's main metric among them.
        keep_best: called after each evaluation that is better than all before, with the weights that it was of.
        facts: what must be equal for an exact resume.
        lost: what became unreadable in mid-run, of training and of validation samples.
        sharding: what each of several processes holds of the weights; one alone holds all of them.
        blocks: which shards the samples lie in, where they are not all shuffled together.
        allowance: what reading one sample may take.
        batch_seconds: how long a batch may take before its worker counts as hung.
        micro_batch_size: samples that a process runs at once where memory has no room for as many as the config says.
    """

    model: Perceiver
    task: Task
    samples: TrainingSamples
    targets: TargetTable
    prepare: Prepare
    evaluate: Callable[[nn.Module], Mapping[str, float]]
    keep_best: Callable[[Mapping[str, Tensor], LoopState], None]
    config: TrainingConfig
    epochs: float
    batch_size: int
    learning_rate: float
    seed: int
    num_workers: int
    checkpoints: Path
    log: MetricLog
    facts: Mapping[str, Any]
    lost: LostFiles
    sharding: Sharding = "none"
    blocks: ShardBlocks | None = None
    allowance: Allowance = field(default_factory=Allowance)
    batch_seconds: float = BATCH_SECONDS
    micro_batch_size: int | None = None

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in an epoch."""
        return len(self.samples) // self.batch_size

    @property
    def num_steps(self) -> int:
        """Optimizer steps of the whole run."""
        return max(1, round(self.epochs * self.steps_per_epoch))

    @property
    def steps_per_evaluation(self) -> int:
        """Optimizer steps between two evaluations."""
        return max(1, min(round(self.config.evaluate_every_epochs * self.steps_per_epoch), self.num_steps))


@dataclass(frozen=True, kw_only=True)
class StepReport:
    """One optimizer step, for a progress display. `seconds` counts training time over all restarts."""

    step: int
    num_steps: int
    steps_per_epoch: int
    loss: float
    samples_per_second: float
    seconds: float
    seconds_left: float


@dataclass(frozen=True, kw_only=True)
class EvaluationReport:
    """One row of metrics.jsonl, and whether it is the best so far."""

    row: Mapping[str, Any]
    is_best: bool
    num_steps: int
    steps_per_epoch: int
    seconds_left: float


@dataclass(frozen=True, kw_only=True)
class SaveFailure:
    """Something that could not be written, such as a checkpoint; training goes on and what was there is untouched."""

    what: str
    step: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class TrainingWarning:
    """Something that does not stop training and that somebody should know; said once."""

    step: int
    text: str


@dataclass(frozen=True, kw_only=True)
class WorkerLoss:
    """A process that reads files was lost; others went on in its place.

    Attributes:
        quarantined: files that harmed it and will not be read again; none where it was not a file's fault.
    """

    reason: str
    quarantined: tuple[Skipped, ...]


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """How training ended: "finished", "patience" or "interrupted"."""

    state: LoopState
    ended: str


Event = StepReport | EvaluationReport | SaveFailure | TrainingWarning | WorkerLoss | FileLost
Report = Callable[[Event], None]


def check_batch_size(batch_size: int, num_processes: int, num_micro_batches: int) -> None:
    """Raises UsageError when a batch cannot be split evenly over processes and micro-batches."""
    parts = num_processes * num_micro_batches
    if batch_size % parts:
        lower, higher = batch_size // parts * parts, -(-batch_size // parts) * parts
        raise UsageError(
            f"--batch-size must be a multiple of processes x micro-batches: got {batch_size} and {num_processes} x "
            f"{num_micro_batches}. Nearest: {f'{lower} or ' if lower else ''}{higher}."
        )


def effective_batch_size(batch_size: int, num_samples: int, parts: int = 1) -> int:
    """Returns the batch size, lowered where there are fewer samples, to a multiple of `parts`.

    Args:
        parts: processes x micro-batches.

    Raises:
        DataError: there are fewer samples than parts.
    """
    if num_samples < 1:
        raise DataError(
            "no training sample is left: the split leaves the training part empty; lower --split.validation and "
            "--split.test"
        )
    if num_samples < parts:
        raise DataError(f"every process and micro-batch needs a sample: {parts} of them, {num_samples} for training")
    return batch_size if batch_size <= num_samples else num_samples // parts * parts
