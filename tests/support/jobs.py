"""Training jobs without files, to call `fit` in the test's own process."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from perceptio.data.batches import collate, model_inputs, standardise
from perceptio.data.dataset import TrainingSamples
from perceptio.data.mixing import MixingConfig
from perceptio.inputs.grid import GridEncoding, GridInputConfig
from perceptio.inputs.streams import StreamsInputConfig
from perceptio.models.perceiver import build_perceiver
from perceptio.runs.machine import make_accelerator
from perceptio.tasks.classification import SingleLabel, TargetTable
from perceptio.training.checkpoint import Checkpoint, LoopState
from perceptio.training.config import TrainingConfig
from perceptio.training.fit import fit
from perceptio.training.job import (
    EvaluationReport,
    Event,
    FitResult,
    Job,
    Report,
    SaveFailure,
    StepReport,
    TrainingWarning,
)
from perceptio.training.lost_files import FileLost, LostFiles
from perceptio.training.metric_log import MetricLog
from perceptio.training.optimizers import OptimizerConfig
from perceptio.training.processes import Processes
from perceptio.training.schedule import ScheduleConfig
from support.configs import TINY_MODEL
from support.pictures import CLASSES, SIDE
from support.samples import NoisyReader, make_source

PLAIN = TrainingConfig(
    optimizer=OptimizerConfig(kind="adamw", eps=1e-8, weight_decay=0.05, clip_norm=1.0),
    schedule=ScheduleConfig(kind="cosine"),
    mixing=MixingConfig(),
)


def prepare(name: str, values: Tensor) -> Tensor:
    """Returns uint8 values as model input."""
    return standardise(values, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


def make_job(
    folder: Path,
    *,
    config: TrainingConfig = PLAIN,
    count: int = 24,
    broken: tuple[int, ...] = (),
    epochs: float = 2.0,
    dropout: float = 0.0,
    learning_rate: float = 3e-3,
    num_blocks: int = 2,
    allowed: float = 1.0,
) -> Job:
    """Returns a job of three steps an epoch; it is evaluated on its own training pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    source = make_source(count, broken=broken)
    samples = TrainingSamples(source, source.records, NoisyReader(), seed=0)
    targets = TargetTable([record.labels for record in source.records], CLASSES)
    task = SingleLabel()
    readable = [sample for number in range(count) if number not in broken for sample in [samples[(0, number)]]]
    whole = collate(readable)

    def evaluate(model: nn.Module) -> Mapping[str, float]:
        model.eval()
        with torch.inference_mode():
            logits = model(*model_inputs(whole, prepare))
        rows = targets[whole.indices]
        return {
            "loss": task.evaluation_loss(logits, rows).mean().item(),
            **task.metrics(task.probabilities(logits).double().numpy(), rows.numpy()),
        }

    torch.manual_seed(5)
    grid = GridInputConfig(axes=(SIDE, SIDE), channels=3, encoding=GridEncoding(num_bands=3))
    streams = StreamsInputConfig({"image": grid})
    model = replace(
        TINY_MODEL, num_cross_attends=num_blocks, num_blocks=num_blocks, dropout=dropout, attention_dropout=dropout
    )
    return Job(
        model=build_perceiver(streams, model, len(CLASSES)),
        task=task,
        samples=samples,
        targets=targets,
        prepare=prepare,
        evaluate=evaluate,
        keep_best=lambda weights, state: None,
        config=config,
        epochs=epochs,
        batch_size=8,
        learning_rate=learning_rate,
        seed=0,
        num_workers=0,
        checkpoints=folder / "checkpoints",
        log=MetricLog(folder / "metrics.jsonl"),
        facts={},
        lost=LostFiles(
            {record.name: "train" for record in source.records}, (), allowed=allowed, path=folder / "skipped.csv"
        ),
    )


class Recorder:
    """Keeps all reports of a run."""

    def __init__(self) -> None:
        self.steps: list[StepReport] = []
        self.evaluations: list[EvaluationReport] = []
        self.save_failures: list[SaveFailure] = []
        self.warnings: list[TrainingWarning] = []
        self.lost: list[FileLost] = []

    def __call__(self, report: Event) -> None:
        """Takes a report."""
        kinds = {
            StepReport: self.steps,
            EvaluationReport: self.evaluations,
            SaveFailure: self.save_failures,
            TrainingWarning: self.warnings,
            FileLost: self.lost,
        }
        kinds[type(report)].append(report)

    @property
    def losses(self) -> list[float]:
        """The loss of each step."""
        return [report.loss for report in self.steps]


def run_job(
    job: Job,
    *,
    resume: Checkpoint | None = None,
    report: Report | None = None,
    stop_after: int | None = None,
) -> FitResult:
    """Runs a job on the CPU; `stop_after` asks it to stop when so many steps of this call are done."""
    asked = 0

    def should_stop() -> bool:
        nonlocal asked
        asked += 1
        return asked == stop_after

    return fit(
        job,
        make_accelerator("cpu", job.config.precision),
        Processes(),
        resume=resume,
        report=report or Recorder(),
        should_stop=should_stop,
    )


def weights(job: Job) -> dict[str, Tensor]:
    """Returns a copy of a job's weights."""
    return {name: tensor.clone() for name, tensor in job.model.state_dict().items()}


def state_without_clocks(state: LoopState) -> LoopState:
    """Returns the state with its clock at zero."""
    return replace(state, seconds=0.0)
