"""All parts of a run, wired from its config."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import nn

from perceptio.data.dataset import EvaluationSamples, TrainingSamples
from perceptio.data.lasting import BATCH_SECONDS
from perceptio.data.order import ShardBlocks
from perceptio.data.shards.source import ShardSource
from perceptio.errors import UsageError
from perceptio.evaluation.loading import EvaluationBatches
from perceptio.evaluation.predictions import Predictions, join, predict_share, score
from perceptio.kernels.separable.backends import usable_backends
from perceptio.modalities.streams import StreamReader
from perceptio.models.perceiver import Perceiver, build_perceiver
from perceptio.randomness import derive
from perceptio.runs.config import RunConfig
from perceptio.runs.data import PreparedData, choose_workers
from perceptio.runs.folder import RunFolder
from perceptio.runs.machine import Device
from perceptio.tasks.classification import TargetTable, Task, build_task
from perceptio.training.job import Report, check_batch_size, effective_batch_size
from perceptio.training.lost_files import LostFiles
from perceptio.training.memory import parts_of_at_most
from perceptio.training.processes import Processes
from perceptio.training.sharding import Sharding

# What the byte arrays of an evaluation batch may take: the matrix, its normalised copy, keys and values.
EVALUATION_BYTES = 2 * 2**30


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Where and on what a run runs: nothing here decides its result, but for rounding."""

    out: Path | None = None
    """Folder to write, new or empty. Default: the next free number under ./runs."""
    device: Device = "auto"
    """Auto takes a GPU if there is one."""
    workers: int | None = None
    """Processes that decode files. Default: one per spare core, none for arrays."""
    threads: int | None = None
    """Threads that compute; sums round otherwise with another number. Default: what PyTorch chooses; a run that goes on
    keeps its number."""
    batch_seconds: float = BATCH_SECONDS
    """How long the decoding of a batch may take before its process counts as hung and is started again."""
    tensorboard: bool = False
    """Whether to write TensorBoard events as well."""
    sharding: Sharding = "none"
    """Several processes: "none", each holds all weights and moments; "full", a part of each (FSDP2)."""
    timeout_minutes: float = 30.0
    """Several processes: minutes after which one that waits for the others gives up."""
    time: float | None = None
    """Seconds that the whole run may take: its epochs are fitted to them, and it stops when they are over."""
    began: float | None = None
    """When the clock of `time` was started, by time.monotonic(). None: when training is called, less what reading the
    files took."""
    command: str = ""
    """What was typed, for the record; empty when the run was started from Python."""

    def __post_init__(self) -> None:
        if self.time is not None and self.time <= 0:
            raise UsageError(f"--time must be greater than 0, such as 90s, 30m or 2h: got {self.time:g}")
        if self.workers is not None and self.workers < 0:
            raise UsageError(f"--workers must be at least 0: got {self.workers}")


@dataclass(frozen=True, kw_only=True)
class Workbench:
    """All parts of a run, wired."""

    config: RunConfig
    prepared: PreparedData
    task: Task
    reader: StreamReader
    model: Perceiver
    accelerator: Accelerator
    processes: Processes
    folder: RunFolder
    workers: int
    batch_seconds: float
    batch_size: int
    micro_batch_size: int | None = None
    """Samples that a process runs at once, where memory has no room for as many as the config says."""

    @property
    def num_micro_batches(self) -> int:
        """Into how many parts each process cuts its share of a batch: as the config says, or more for memory's sake."""
        asked = self.config.training.num_micro_batches
        if self.micro_batch_size is None:
            return asked
        return parts_of_at_most(self.batch_size // self.processes.count, self.micro_batch_size, at_least=asked)

    def evaluation_batches(self, split: str) -> EvaluationBatches:
        """Returns the batches of a split: this process's share of them."""
        samples = EvaluationSamples(self.prepared.survey.source, self.prepared.records(split), self.reader)
        size = evaluation_batch_size(self.config, self.processes.count)
        return EvaluationBatches(
            samples,
            batch_size=size,
            num_workers=self.workers,
            rank=self.processes.rank,
            num_processes=self.processes.count,
            allowance=self.reader.allowance(whole=True),
            batch_seconds=self.batch_seconds,
        )

    def training_samples(self) -> TrainingSamples:
        """Returns the augmented training samples."""
        return TrainingSamples(
            self.prepared.survey.source, self.prepared.records("train"), self.reader, self.config.seed
        )

    def shard_blocks(self) -> ShardBlocks | None:
        """Returns the shards of the training samples, where the config asks for a few of them at a time.

        Raises:
            UsageError: it asks, and the samples lie in no shards.
        """
        together, source = self.config.source.shards_together, self.prepared.survey.source
        if together == 0:
            return None
        if not isinstance(source, ShardSource):
            raise UsageError(
                f"--source.shards-together {together} has no effect: {self.prepared.survey.data} is no set of shards; "
                "leave it at 0"
            )
        return ShardBlocks(source.shards_of(self.prepared.records("train")), together)

    def lost_files(self) -> LostFiles:
        """Returns the list, empty as yet, of what goes bad while the run trains and is measured."""
        survey = self.prepared.survey
        return LostFiles(
            self.prepared.splits, survey.skipped, allowed=self.config.source.max_skipped, path=self.folder.skipped
        )

    def evaluate(
        self, model: nn.Module, batches: EvaluationBatches, targets: TargetTable, lost: LostFiles, report: Report
    ) -> Mapping[str, float]:
        """Returns loss and metrics of a model on labelled batches; arguments and errors are those of `predict`."""
        found = self.predict(model, batches, targets, lost, report)
        return self.processes.first_does(lambda: score(join(found), targets, self.task))

    def predict(
        self, model: nn.Module, batches: EvaluationBatches, targets: TargetTable, lost: LostFiles, report: Report
    ) -> list[Predictions]:
        """Returns each process's answers on its share of labelled batches; to the first process alone.

        Args:
            lost: is given the files that cannot be read.
            report: is told of the first of them.

        Raises:
            DataError: more of the run's samples are unusable than may be.
        """
        with self.processes.agreed():
            share = predict_share(
                model,
                batches,
                task=self.task,
                prepare=self.config.streams.prepare,
                device=self.accelerator.device,
                views_at_once=views_at_once(self.config, self.processes.count),
                targets=targets,
            )
        lost.add(share.failures, self.processes, report)
        return self.processes.gather_to_first(share)

    def new_model(self) -> Perceiver:
        """Returns a model of the run's shape whose weights are none yet."""
        with torch.device("meta"):
            return build_perceiver(self.config.input_config(), self.config.model, len(self.prepared.classes))

    def targets(self, split: str) -> TargetTable:
        """Returns the targets of a split's samples."""
        return TargetTable([record.labels for record in self.prepared.records(split)], self.prepared.classes)


def check_processes(config: RunConfig, options: TrainOptions, processes: Processes) -> None:
    """Raises UsageError when a run does not fit the processes that were started for it."""
    check_batch_size(config.batch_size, processes.count, config.training.num_micro_batches)
    if options.sharding == "full" and processes.count == 1:
        raise UsageError("--sharding full has no effect in one process; remove it, or start several with torchrun")
    if options.sharding == "full" and config.training.compile:
        raise UsageError("--sharding full does not go with training.compile; leave one of them out")


def check_backend(config: RunConfig, device: torch.device) -> None:
    """Raises UsageError when the backend that a config asks for cannot work here."""
    try:
        usable_backends(config.model.reading.backend, device)
    except (ImportError, ValueError) as error:
        raise UsageError(f"model.reading.backend: {error}") from error


def views_at_once(config: RunConfig, num_processes: int = 1) -> int:
    """Returns how many views are evaluated at once: as many as a training step runs, fewer if they are large."""
    at_once = config.batch_size // (config.training.num_micro_batches * num_processes)
    size = config.input_config()
    view_bytes = 4 * 4 * size.num_tokens * size.input_channels
    return max(1, min(at_once, EVALUATION_BYTES // view_bytes))


def evaluation_batch_size(config: RunConfig, num_processes: int = 1) -> int:
    """Returns how many samples are loaded at once for evaluation, each with all its views."""
    return max(1, views_at_once(config, num_processes) // config.streams.views_a_sample)


def build_workbench(
    config: RunConfig,
    prepared: PreparedData,
    accelerator: Accelerator,
    processes: Processes,
    folder: RunFolder,
    options: TrainOptions,
) -> Workbench:
    """Returns the parts of a run; the model has its first weights, drawn from the seed."""
    trained = Counter(label for record in prepared.records("train") for label in record.labels)
    task = build_task(
        config.task,
        multi_label=prepared.survey.source.multi_label,
        class_counts=[trained[name] for name in prepared.classes],
    )
    torch.manual_seed(derive(config.seed, "initial weights"))
    return Workbench(
        config=config,
        prepared=prepared,
        task=task,
        reader=StreamReader(config.streams, config.source.limits),
        model=build_perceiver(config.input_config(), config.model, len(prepared.classes)),
        accelerator=accelerator,
        processes=processes,
        folder=folder,
        workers=choose_workers(options.workers, prepared.survey.source),
        batch_seconds=options.batch_seconds,
        batch_size=effective_batch_size(
            config.batch_size,
            len(prepared.records("train")),
            parts=processes.count * config.training.num_micro_batches,
        ),
    )
