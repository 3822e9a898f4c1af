"""Training from a config to a run folder with weights, test result and report."""

import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from perceptio.data.batches import collate, standardise
from perceptio.data.dataset import EvaluationSamples, TrainingSamples
from perceptio.data.image_reader import ImageReader
from perceptio.data.limits import Limits
from perceptio.data.split_file import read_split
from perceptio.errors import UsageError
from perceptio.evaluation.loading import EvaluationBatches
from perceptio.evaluation.predictions import predict_batches, score
from perceptio.models.counts import count_flops, count_parameters
from perceptio.models.perceiver import Perceiver, build_perceiver
from perceptio.randomness import derive
from perceptio.reporting.samples import draw_sample_grid
from perceptio.runs.config import RunConfig
from perceptio.runs.data import (
    PreparedData,
    Survey,
    choose_workers,
    prepare_data,
    survey_data,
    write_data_files,
    write_skipped,
)
from perceptio.runs.folder import RunFolder, create_run_folder, open_run_folder
from perceptio.runs.interruption import stop_on_signals
from perceptio.runs.machine import (
    Device,
    describe_differences,
    describe_machine,
    exactness_facts,
    git_revision,
    make_accelerator,
    package_versions,
    peak_memory_bytes,
)
from perceptio.runs.model_file import ModelFacts, write_model
from perceptio.runs.results import RunResult, finish_run
from perceptio.runs.screen import Screen, SilentScreen
from perceptio.tasks.classification import Task, build_task, target_matrix
from perceptio.training.checkpoint import Checkpoint, LoopState, read_newest_checkpoint
from perceptio.training.fit import EvaluationReport, FitResult, Job, StepReport, effective_batch_size, fit
from perceptio.training.metric_log import MetricLog

EVALUATION_BATCH_FACTOR = 2  # no activations are kept, so twice the training batch takes less memory
SHOWN_SAMPLES = 24


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Where and on what a run runs: nothing here decides its result."""

    out: Path | None = None
    """Folder to write, new or empty. Default: the next free number under ./runs."""
    device: Device = "auto"
    """Auto takes a GPU if there is one."""
    workers: int | None = None
    """Processes that decode files. Default: one per spare core, none for arrays."""
    tensorboard: bool = False
    """Whether to write TensorBoard events as well."""
    command: str = field(default_factory=lambda: shlex.join(["perceptio", *sys.argv[1:]]))
    """What was typed, for the record."""


@dataclass(frozen=True, kw_only=True)
class Workbench:
    """All parts of a run, wired."""

    config: RunConfig
    prepared: PreparedData
    task: Task
    reader: ImageReader
    model: Perceiver
    accelerator: Accelerator
    folder: RunFolder
    workers: int
    batch_size: int

    def prepare(self, values: torch.Tensor) -> torch.Tensor:
        """Returns uint8 values as model input."""
        return standardise(values, self.config.image.mean, self.config.image.std)

    def evaluation_batches(self, split: str) -> EvaluationBatches:
        """Returns the batches of a split."""
        samples = EvaluationSamples(self.prepared.survey.source, self.prepared.records(split), self.reader)
        size = EVALUATION_BATCH_FACTOR * max(1, self.batch_size // self.config.training.num_micro_batches)
        return EvaluationBatches(samples, batch_size=size, num_workers=self.workers)

    def targets(self, split: str) -> torch.Tensor:
        """Returns the target rows of a split."""
        return target_matrix([record.labels for record in self.prepared.records(split)], self.prepared.classes)


def train_run(
    config: RunConfig,
    options: TrainOptions | None = None,
    *,
    survey: Survey | None = None,
    screen: Screen | None = None,
) -> RunResult:
    """Trains from the start; returns what came of it.

    Raises:
        PerceptioError: with the rule, the value and the way out.
    """
    options, screen = options or TrainOptions(), screen or SilentScreen()
    if survey is None:
        survey = survey_data(config.data, config.source, progress=partial(screen.work, "reading files"))
    prepared = prepare_data(survey, config)
    config = replace(config, data=survey.data if survey.source.root is not None else config.data)
    name = Path(config.data).stem if config.data else config.recipe
    accelerator = make_accelerator(options.device, config.training.precision)
    folder = create_run_folder(name, options.out)
    bench = _build(config, prepared, accelerator, folder, options)
    folder.write_config(config)
    write_data_files(folder, prepared)
    folder.update_facts(_opening_facts(bench, options))
    _show_opening(bench, screen)
    return _train(bench, options, screen, resume=None)


def resume_run(
    path: Path, options: TrainOptions | None = None, *, epochs: float | None = None, screen: Screen | None = None
) -> RunResult:
    """Goes on with a run from its newest whole checkpoint; `epochs` lengthens or shortens it.

    Raises:
        PerceptioError: when there is no checkpoint, or the data is not what it was.
    """
    options, screen = options or TrainOptions(), screen or SilentScreen()
    folder = open_run_folder(path)
    config = folder.read_config()
    checkpoint = read_newest_checkpoint(folder.checkpoints)
    if epochs is not None and epochs != config.epochs:
        config = replace(config, epochs=epochs)
        screen.fact("Schedule", f"{config.training.schedule.kind} over {epochs:g} epochs from here on")
        folder.write_config(config)
    survey = survey_data(config.data, config.source, progress=partial(screen.work, "reading files"))
    if survey.fingerprint != checkpoint.facts["data"]:
        raise UsageError(
            f"the data in {survey.data} is not what this run began with: {len(survey.usable)} usable samples now. "
            "Put the files back, or start a new run."
        )
    splits = read_split(folder.split)
    prepared = replace(prepare_data(survey, config), splits=splits)
    accelerator = make_accelerator(options.device, config.training.precision)
    bench = _build(config, prepared, accelerator, folder, options)
    differences = describe_differences(dict(checkpoint.facts), exactness_facts(survey.fingerprint, accelerator))
    exact = "bit for bit as if never stopped" if not differences else f"not bit-exact: {'; '.join(differences)}"
    screen.fact("Resume", f"{folder.path} at step {checkpoint.state.step}, {exact}")
    folder.update_facts({"resumed": [*folder.read_facts().get("resumed", []), exact]})
    return _train(bench, options, screen, resume=checkpoint)


def _build(
    config: RunConfig, prepared: PreparedData, accelerator: Accelerator, folder: RunFolder, options: TrainOptions
) -> Workbench:
    task = build_task(config.task, multi_label=prepared.survey.source.multi_label)
    torch.manual_seed(derive(config.seed, "initial weights"))
    return Workbench(
        config=config,
        prepared=prepared,
        task=task,
        reader=ImageReader(config.image, Limits()),
        model=build_perceiver(config.input_config(), config.model, len(prepared.classes)),
        accelerator=accelerator,
        folder=folder,
        workers=choose_workers(options.workers, prepared.survey.source),
        batch_size=effective_batch_size(config.batch_size, len(prepared.records("train"))),
    )


def _train(bench: Workbench, options: TrainOptions, screen: Screen, *, resume: Checkpoint | None) -> RunResult:
    log = MetricLog(bench.folder.metrics)
    log.cut_after(resume.state.step if resume else 0)
    samples = TrainingSamples(
        bench.prepared.survey.source, bench.prepared.records("train"), bench.reader, bench.config.seed
    )
    if resume is None:
        _draw_training_samples(bench, samples)
    facts = ModelFacts(config=bench.config, classes=bench.prepared.classes, task=bench.task.kind)

    def keep_best(model: nn.Module, state: LoopState) -> None:
        write_model(bench.folder.weights, model, facts)

    job = Job(
        model=bench.model,
        task=bench.task,
        samples=samples,
        targets=bench.targets("train"),
        prepare=bench.prepare,
        evaluate=_make_evaluate(bench),
        keep_best=keep_best,
        config=bench.config.training,
        epochs=bench.config.epochs,
        batch_size=bench.batch_size,
        learning_rate=bench.config.learning_rate,
        seed=bench.config.seed,
        num_workers=bench.workers,
        checkpoints=bench.folder.checkpoints,
        log=log,
        facts=exactness_facts(bench.prepared.survey.fingerprint, bench.accelerator),
    )
    report = _with_tensorboard(screen.training, bench.folder.path) if options.tensorboard else screen.training
    with stop_on_signals() as should_stop:
        result = fit(job, bench.accelerator, resume=resume, report=report, should_stop=should_stop)
    return _finish(bench, options, screen, result)


def _finish(bench: Workbench, options: TrainOptions, screen: Screen, result: FitResult) -> RunResult:
    write_skipped(bench.folder.skipped, [*bench.prepared.survey.skipped, *dict.fromkeys(result.failures)])
    bench.folder.update_facts(
        {
            "ended": result.ended,
            "best_step": result.state.best_step,
            "steps": result.state.step,
            "seconds": result.state.seconds,
            "peak_memory_bytes": peak_memory_bytes(bench.accelerator.device),
        }
    )
    return finish_run(
        bench.folder,
        prepared=bench.prepared,
        reader=bench.reader,
        task=bench.task,
        device=bench.accelerator.device,
        test_batches=bench.evaluation_batches("test") if result.ended != "interrupted" else None,
        screen=screen,
    )


def _make_evaluate(bench: Workbench) -> Callable[[nn.Module], Mapping[str, float]]:
    batches, targets = bench.evaluation_batches("validation"), bench.targets("validation")

    def evaluate(model: nn.Module) -> Mapping[str, float]:
        found = predict_batches(
            model,
            batches,
            task=bench.task,
            prepare=bench.prepare,
            device=bench.accelerator.device,
            targets=targets,
        )
        return score(found, targets, bench.task)

    return evaluate


def _opening_facts(bench: Workbench, options: TrainOptions) -> dict[str, Any]:
    return {
        "command": options.command,
        "created": datetime.now().astimezone().isoformat(timespec="seconds"),
        "seed": bench.config.seed,
        "versions": package_versions(),
        "revision": git_revision(),
        "machine": describe_machine(bench.accelerator.device),
        "data": {
            "source": bench.prepared.survey.data,
            "fingerprint": bench.prepared.survey.fingerprint,
            "counts": bench.prepared.counts(),
            "notes": bench.prepared.survey.source.notes,
            "copies": bench.prepared.survey.copies,
            "leaks": bench.prepared.leaks,
        },
        "num_parameters": count_parameters(bench.model),
        "flops_per_sample": model_flops(bench.config, len(bench.prepared.classes)),
    }


def model_flops(config: RunConfig, num_classes: int) -> int:
    """Returns floating-point operations of one forward pass, as the paper counts them."""
    grid = config.input_config()
    return count_flops(
        config.model, num_tokens=grid.num_tokens, input_channels=grid.input_channels, num_outputs=num_classes
    ).total


def _show_opening(bench: Workbench, screen: Screen) -> None:
    config, prepared, grid = bench.config, bench.prepared, bench.config.input_config()
    sizes = {split: len(prepared.records(split)) for split in ("train", "validation", "test")}
    skipped = prepared.survey.skipped
    usable = len(prepared.survey.usable)
    screen.fact("Data", f"{prepared.survey.data}: {len(prepared.classes)} classes, {usable:,} samples")
    for note in prepared.survey.source.notes:
        screen.fact("", note)
    if skipped:
        more = f"; {len(skipped) - 1} more in {bench.folder.skipped}" if len(skipped) > 1 else ""
        screen.fact("", f"{len(skipped)} skipped: {skipped[0].name}: {skipped[0].reason}{more}")
    if prepared.leaks:
        example = prepared.leaks[0][0]
        screen.fact("", f"{len(prepared.leaks)} groups of equal files stand in more than one split, such as {example}")
    parts = ", ".join(f"{size:,} {split}" for split, size in sizes.items())
    screen.fact("Split", f"{parts} ({bench.folder.split})")
    axes = " x ".join(map(str, (*config.image.size, config.image.channels)))
    screen.fact("Input", f"{axes} = {grid.num_tokens:,} inputs of {grid.input_channels} channels a sample")
    flops = model_flops(config, len(prepared.classes)) / 1e9
    screen.fact("Model", f"{config.recipe}: {count_parameters(bench.model):,} parameters, {flops:.3g} GFLOP a sample")
    screen.fact(
        "Plan", f"{config.epochs:g} epochs, batch {bench.batch_size}, {describe_machine(bench.accelerator.device)}"
    )
    path = bench.folder.path
    screen.fact("Run", f"{path}   Ctrl-C saves and stops; perceptio train --resume {path} goes on")


def _draw_training_samples(bench: Workbench, samples: TrainingSamples) -> None:
    """Draws what the model sees in the first epoch, as it sees it."""
    shown = [samples[(0, index)] for index in range(0, len(samples), max(1, len(samples) // SHOWN_SAMPLES))]
    shown = [sample for sample in shown if sample.values is not None][:SHOWN_SAMPLES]
    captions = [", ".join(samples.records[sample.index].labels) for sample in shown]
    images = [collate([sample]).values[0].numpy() for sample in shown]
    draw_sample_grid(images, captions, bench.folder.plots / "train_samples.png")


def _with_tensorboard(
    report: Callable[[StepReport | EvaluationReport], None], folder: Path
) -> Callable[[StepReport | EvaluationReport], None]:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except (ImportError, RuntimeError, OSError) as error:
        from perceptio.errors import MissingExtraError

        raise MissingExtraError("--tensorboard", "tensorboard") from error
    writer = SummaryWriter(str(folder / "tensorboard"))

    def both(event: StepReport | EvaluationReport) -> None:
        if isinstance(event, EvaluationReport):
            for name, value in event.row.items():
                if isinstance(value, int | float):
                    writer.add_scalar(name, value, event.row["step"])
            writer.flush()
        report(event)

    return both
