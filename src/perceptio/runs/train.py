"""Training from a config to a run folder with weights, test result and report."""

import hashlib
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from perceptio.data.split_file import read_split
from perceptio.errors import DataError, UsageError
from perceptio.runs.config import RunConfig
from perceptio.runs.data import (
    PreparedData,
    Survey,
    admitted,
    prepare_data,
    read_skipped,
    survey_data,
    write_data_files,
    write_skipped,
)
from perceptio.runs.folder import RunFolder, create_run_folder, open_run_folder
from perceptio.runs.interruption import stop_on_signals
from perceptio.runs.machine import (
    broadcast_path,
    describe_differences,
    exactness_facts,
    make_accelerator,
    peak_memory_bytes,
)
from perceptio.runs.model_file import ModelFacts, read_model, write_model
from perceptio.runs.opening import draw_training_samples, opening_facts, show_opening
from perceptio.runs.results import RunResult, finish_run
from perceptio.runs.screen import Screen, SilentScreen
from perceptio.runs.serialisation import dump, to_json
from perceptio.runs.tensorboard import with_tensorboard
from perceptio.runs.workbench import TrainOptions, Workbench, build_workbench
from perceptio.training.checkpoint import Checkpoint, LoopState, read_checkpoint_of, read_newest_checkpoint
from perceptio.training.fit import fit
from perceptio.training.job import FitResult, Job, Report
from perceptio.training.metric_log import MetricLog


def train_run(
    config: RunConfig,
    options: TrainOptions | None = None,
    *,
    survey: Survey | None = None,
    screen: Screen | None = None,
) -> RunResult:
    """Trains from the start; returns what came of it.

    Started by `torchrun` or `accelerate launch`, all processes call this; the first one writes and shows.

    Args:
        survey: what `survey_data` found for this config, where the caller has it already.

    Raises:
        PerceptioError: with the rule, the value and the way out.
    """
    options = options or TrainOptions()
    accelerator = make_accelerator(options.device, config.training.precision)
    screen = screen if screen is not None and accelerator.is_main_process else SilentScreen()
    if survey is None:
        survey = survey_data(
            config.data, config.source, streams=config.streams, progress=partial(screen.work, "reading files")
        )
    prepared = prepare_data(admitted(survey, config), config)
    name = Path(config.data).stem if config.data else config.recipe
    created = create_run_folder(name, options.out).path if accelerator.is_main_process else None
    folder = RunFolder(broadcast_path(created, accelerator))
    bench = build_workbench(config, prepared, accelerator, folder, options)
    if accelerator.is_main_process:
        folder.write_config(config)
        write_data_files(folder, prepared)
        folder.update_facts(opening_facts(bench, options))
        draw_training_samples(bench, bench.training_samples())
    show_opening(bench, screen)
    return _train(bench, options, screen, resume=None)


def resume_run(
    path: Path, options: TrainOptions | None = None, *, epochs: float | None = None, screen: Screen | None = None
) -> RunResult:
    """Goes on with a run from its newest whole checkpoint; `epochs` lengthens or shortens it.

    Raises:
        PerceptioError: when there is no checkpoint, or the data is not what it was.
    """
    options = options or TrainOptions()
    folder = open_run_folder(path)
    config = folder.read_config()
    accelerator = make_accelerator(options.device, config.training.precision)
    screen = screen if screen is not None and accelerator.is_main_process else SilentScreen()
    if not folder.split.is_file():
        raise UsageError(f"{folder.split} is missing: without it nobody knows which files were kept for the test")
    checkpoint = read_newest_checkpoint(folder.checkpoints)
    for problem in checkpoint.passed_over:
        screen.fact("Warning", f"passed over a damaged checkpoint, {problem}")
    if epochs is not None and epochs != config.epochs:
        config = replace(config, epochs=epochs)
        screen.fact("Schedule", f"{config.training.schedule.kind} over {epochs:g} epochs from here on")
    survey = survey_data(
        config.data,
        config.source,
        streams=config.streams,
        copies=False,
        progress=partial(screen.work, "reading files"),
    )
    survey = admitted(survey, config)
    if survey.fingerprint != checkpoint.facts["data"]:
        raise UsageError(
            f"the data in {survey.data} is not what this run began with: {len(survey.usable)} usable samples now. "
            "Put the files back, or start a new run."
        )
    prepared = PreparedData(survey=survey, splits=read_split(folder.split), leaks=())
    bench = build_workbench(config, prepared, accelerator, folder, options)
    exact = _how_exact(checkpoint, _exactness(bench))
    screen.fact("Resume", f"{folder.path} at step {checkpoint.state.step}, {exact}")
    if accelerator.is_main_process:
        folder.write_config(config)
        _restore_best(bench, checkpoint)
        folder.update_facts({"resumed": [*folder.read_facts().get("resumed", []), exact]})
    return _train(bench, options, screen, resume=checkpoint)


def _exactness(bench: Workbench) -> dict[str, Any]:
    settings = dump(to_json(replace(bench.config, data=None)))  # the data has its own fingerprint
    return {
        **exactness_facts(bench.prepared.survey.fingerprint, bench.accelerator),
        "config": hashlib.blake2b(settings.encode(), digest_size=8).hexdigest(),
    }


def _how_exact(checkpoint: Checkpoint, now: dict[str, Any]) -> str:
    differences = describe_differences(dict(checkpoint.facts), now)
    if differences:
        return f"not bit-exact: {'; '.join(differences)}"
    if now["device"] != "cpu":
        return "with the same samples and random choices; sums on a GPU may differ in their last bits"
    return "bit for bit as if never stopped"


def _restore_best(bench: Workbench, checkpoint: Checkpoint) -> None:
    """Makes model.safetensors the best weights that the checkpoint knows of.

    A crash after an evaluation and before its checkpoint leaves weights of a step that, for the resumed run, has not
    been yet.
    """
    best_step = checkpoint.state.best_step
    if best_step is None:
        bench.folder.weights.unlink(missing_ok=True)
        return
    if bench.folder.weights.is_file() and read_model(bench.folder.weights)[1].step == best_step:
        return
    best = read_checkpoint_of(bench.folder.checkpoints, best_step)
    if best is None:
        raise DataError(
            f"the best weights, of step {best_step}, are lost: neither model.safetensors nor its checkpoint"
        )
    write_model(bench.folder.weights, best.model, replace(_model_facts(bench), step=best_step))


def _model_facts(bench: Workbench) -> ModelFacts:
    return ModelFacts(config=bench.config, classes=bench.prepared.classes, task=bench.task.kind)


def _train(bench: Workbench, options: TrainOptions, screen: Screen, *, resume: Checkpoint | None) -> RunResult:
    log = MetricLog(bench.folder.metrics)
    if bench.accelerator.is_main_process:
        log.cut_after(resume.state.step if resume else 0)

    def keep_best(model: nn.Module, state: LoopState) -> None:
        write_model(bench.folder.weights, model.state_dict(), replace(_model_facts(bench), step=state.step))

    validation, targets = bench.evaluation_batches("validation"), bench.targets("validation")
    job = Job(
        model=bench.model,
        task=bench.task,
        samples=bench.training_samples(),
        targets=bench.targets("train"),
        prepare=bench.config.streams.prepare,
        evaluate=partial(bench.evaluate, batches=validation, targets=targets),
        keep_best=keep_best,
        config=bench.config.training,
        epochs=bench.config.epochs,
        batch_size=bench.batch_size,
        learning_rate=bench.config.learning_rate,
        seed=bench.config.seed,
        num_workers=bench.workers,
        checkpoints=bench.folder.checkpoints,
        log=log,
        facts=_exactness(bench),
    )
    report: Report = screen.training
    if options.tensorboard and bench.accelerator.is_main_process:
        report = with_tensorboard(report, bench.folder.path, first_step=resume.state.step if resume else 0)
    with stop_on_signals() as should_stop:
        result = fit(job, bench.accelerator, resume=resume, report=report, should_stop=should_stop)
    is_main = bench.accelerator.is_main_process
    bench.accelerator.end_training()  # from here on the first process works alone
    if is_main:
        return _finish(bench, screen, result)
    return RunResult(folder=bench.folder.path, ended=result.ended, best_epoch=None, test={}, is_main=False)


def _finish(bench: Workbench, screen: Screen, result: FitResult) -> RunResult:
    known = read_skipped(bench.folder.skipped)  # before a restart other files may have failed
    write_skipped(bench.folder.skipped, list(dict.fromkeys([*known, *result.failures])))
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
