"""Training from a config to a run folder with weights, test result and report."""

import shlex
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from accelerate import Accelerator
from torch import Tensor

from perceptio.data.dataset import EvaluationSamples
from perceptio.disk import FolderLock
from perceptio.errors import PerceptioError, UsageError
from perceptio.modalities.streams import StreamReader
from perceptio.models.counts import count_parameters
from perceptio.runs.budget import Deadline, ending_seconds, fit_to_time, planned_seconds
from perceptio.runs.check import check_batches, refuse_equal_samples
from perceptio.runs.closing import close_run, failure_reported, last_words
from perceptio.runs.config import RunConfig
from perceptio.runs.data import (
    PreparedData,
    Survey,
    admitted,
    prepare_data,
    survey_data,
    write_data_files,
)
from perceptio.runs.exactness import exactness_facts
from perceptio.runs.folder import RunFolder, create_run_folder
from perceptio.runs.interruption import StopRequest, stop_on_signals
from perceptio.runs.lines import clock
from perceptio.runs.log import LoggedScreen, logged
from perceptio.runs.machine import connect, keep_freed_memory, make_accelerator, repeatable, set_threads
from perceptio.runs.memory import plan_memory, with_room
from perceptio.runs.model_file import ModelFacts, write_model
from perceptio.runs.opening import (
    Reason,
    draw_training_samples,
    opening_facts,
    reasons_that_hold,
    show_check,
    show_data,
    show_input,
    show_model,
    show_plan,
    show_split,
    show_title,
)
from perceptio.runs.results import RunResult
from perceptio.runs.screen import Screen, SilentScreen
from perceptio.runs.tensorboard import with_tensorboard
from perceptio.runs.workbench import TrainOptions, Workbench, build_workbench, check_backend, check_processes
from perceptio.training.checkpoint import Checkpoint, LoopState
from perceptio.training.fit import fit
from perceptio.training.job import Job, Report
from perceptio.training.lost_files import LostFiles
from perceptio.training.metric_log import MetricLog
from perceptio.training.processes import Processes


def train_run(
    config: RunConfig,
    options: TrainOptions | None = None,
    *,
    survey: Survey | None = None,
    reasons: Sequence[Reason] = (),
    screen: Screen | None = None,
) -> RunResult:
    """Trains from the start; returns what came of it.

    Started by `torchrun` or `accelerate launch`, all processes call this; the first one writes and shows.

    Args:
        survey: what `survey_data` found for this config, where the caller has it already.
        reasons: why those fields that were chosen for the user are what they are.

    Raises:
        PerceptioError: with the rule, the value and the way out.
    """
    options = options or TrainOptions()
    began = options.began or time.monotonic() - (survey.seconds if survey is not None else 0.0)
    processes = connect(options.device, timeout_minutes=options.timeout_minutes)
    with processes.connected(), logged(screen, is_main=processes.is_first) as shown:
        accelerator, prepared = _prepare_all(config, options, processes, survey, shown)
        name = Path(config.data).stem if config.data else config.recipe
        folder = processes.first_does(lambda: create_run_folder(name, options.out))
        with alone_in(folder, processes):
            with _removed_if_refused(folder, processes):
                with processes.agreed():
                    if processes.is_first:
                        shown.open(folder.log)
                        write_data_files(folder, prepared)
                    bench = build_workbench(config, prepared, accelerator, processes, folder, options)
                bench, deadline = open_run(bench, options, shown, began=began, reasons=reasons)
            return run_training(bench, options, shown, resume=None, deadline=deadline)


def try_run(
    config: RunConfig,
    options: TrainOptions | None = None,
    *,
    survey: Survey | None = None,
    reasons: Sequence[Reason] = (),
    screen: Screen | None = None,
) -> None:
    """Does all that `train_run` does before its first step, and leaves nothing behind; arguments and errors as there.

    Raises:
        UsageError: options ask for what only a run has.
    """
    options = options or TrainOptions()
    for name in ("out", "tensorboard"):
        if getattr(options, name):
            raise UsageError(f"--{name} has no effect with --dry-run, which leaves nothing behind; remove it")
    began = time.monotonic() - (survey.seconds if survey is not None else 0.0)
    processes = connect(options.device, timeout_minutes=options.timeout_minutes)
    with processes.connected(), TemporaryDirectory(prefix="perceptio-dry-run-") as place:
        shown = screen if screen is not None and processes.is_first else SilentScreen()
        accelerator, prepared = _prepare_all(config, options, processes, survey, shown)
        with processes.agreed():
            bench = build_workbench(config, prepared, accelerator, processes, RunFolder(Path(place)), options)
        _open(bench, options, began=began, screen=shown, reasons=reasons, leaves_files=False)


def open_run(
    bench: Workbench, options: TrainOptions, screen: Screen, *, began: float, reasons: Sequence[Reason] = ()
) -> tuple[Workbench, Deadline]:
    """Says and writes what a run is before its first step; returns the bench with its plan, and when time is over.

    Raises:
        PerceptioError: when it cannot begin.
    """
    config, folder = bench.config, bench.folder
    bench, deadline = _open(bench, options, began=began, screen=screen, reasons=reasons)
    with bench.processes.agreed():
        if bench.processes.is_first:
            held = reasons_that_hold(reasons, config, bench.config)
            folder.update_facts(opening_facts(bench, options, held))
            folder.write_config(bench.config)  # last: a folder that has it can be gone on with
    screen.fact("Run", f"{folder.path}; Ctrl-C saves and stops, perceptio train --resume {folder.path} goes on")
    return bench, deadline


def _prepare_all(
    config: RunConfig, options: TrainOptions, processes: Processes, survey: Survey | None, screen: Screen
) -> tuple[Accelerator, PreparedData]:
    if options.time is not None and options.sharding == "full":
        raise UsageError("--time needs a trial batch, which --sharding full rules out; use --epochs")
    with processes.agreed():
        check_processes(config, options, processes)
    accelerator = make_accelerator(options.device, config.training.precision, exact=config.training.exact)
    with processes.agreed():
        check_backend(config, accelerator.device)
        set_threads(options.threads)
    return accelerator, processes.first_does(lambda: prepare(config, survey, screen))


def prepare(config: RunConfig, survey: Survey | None, screen: Screen) -> PreparedData:
    """Returns the samples of a new run in their splits; raises DataError when they are none to train on.

    Args:
        survey: as `train_run` takes it.
    """
    if survey is None:
        survey = survey_data(
            config.data, config.source, streams=config.streams, progress=partial(screen.work, "reading files")
        )
    prepared = prepare_data(admitted(survey, config), config)
    reader = StreamReader(config.streams, config.source.limits)
    samples = EvaluationSamples(survey.source, prepared.records("train"), reader)
    refuse_equal_samples(prepared, samples, reader.allowance(whole=True))
    return prepared


def _open(
    bench: Workbench,
    options: TrainOptions,
    *,
    began: float,
    screen: Screen,
    reasons: Sequence[Reason],
    leaves_files: bool = True,
) -> tuple[Workbench, Deadline]:
    """Shows what the run is, tries a batch and plans; returns the bench with its plan, and when time is over."""
    config, survey, folder, processes = bench.config, bench.prepared.survey, bench.folder, bench.processes
    show_title(bench, screen)
    show_data(
        survey, screen, listed_in=str(folder.skipped) if leaves_files else f"perceptio info {shlex.quote(survey.data)}"
    )
    show_split(bench.prepared, config, screen, listed_in=str(folder.split) if leaves_files else "")
    show_input(survey, config, screen, reasons)
    show_model(config, len(bench.prepared.classes), count_parameters(bench.model), screen, reasons)
    bench = plan_memory(bench, screen)
    with processes.agreed():
        # A model whose weights are sharded may not fit into one process, where the check would put it.
        check = None if options.sharding == "full" else check_batches(bench)
    if check is not None:
        bench = with_room(bench, check.micro_batch_size)
    deadline = Deadline(None)
    if options.time is not None and check is not None:
        left = options.time - (time.monotonic() - began)
        # The processes' clocks differ: the first one's plan is everybody's.
        bench = replace(bench, config=processes.first_does(lambda: fit_to_time(bench, check, left)))
        deadline = Deadline(left - ending_seconds(bench, check.evaluation))
        reasons = reasons_that_hold(reasons, config, bench.config)
    show_plan(bench, None if check is None else planned_seconds(bench, check), screen, reasons)
    if options.time is not None:
        screen.fact("", f"as many epochs as fit into --time {clock(options.time)}; it also stops when that is over")
    picture = ""
    with processes.agreed():
        if leaves_files and processes.is_first:
            draw_training_samples(bench, bench.training_samples())
            picture = str(folder.plots / "train_samples.png")
    if check is not None:
        show_check(bench, check, screen, picture=picture)
    return bench, deadline


@contextmanager
def _removed_if_refused(folder: RunFolder, processes: Processes) -> Iterator[None]:
    """Removes a new folder when what was asked for cannot begin: the message says why, and there is no run to keep.

    Where it is not the user's to mend, the folder stays: its log has the traceback.
    """
    try:
        yield
    except PerceptioError:
        if processes.is_first:
            shutil.rmtree(folder.path, ignore_errors=True)
        raise


@contextmanager
def alone_in(folder: RunFolder, processes: Processes) -> Iterator[None]:
    """Keeps every other run out of a folder; the first process does so for all.

    Raises:
        PerceptioError: naming the process that is there.
    """
    lock: FolderLock | None = None
    with processes.agreed():
        if processes.is_first:
            lock = FolderLock(folder.path)
    try:
        yield
    finally:
        if lock is not None:
            lock.release()


def model_facts(bench: Workbench) -> ModelFacts:
    """Returns what the model file says besides weights; its step is yet to be filled in."""
    return ModelFacts(config=bench.config, classes=bench.prepared.classes, task=bench.task.kind)


def run_training(
    bench: Workbench, options: TrainOptions, screen: LoggedScreen, *, resume: Checkpoint | None, deadline: Deadline
) -> RunResult:
    """Trains from the start or from a checkpoint, and finishes the run folder. All processes call this.

    Raises:
        PerceptioError: with the rule, the value and the way out.
    """
    keep_freed_memory()
    log, processes = MetricLog(bench.folder.metrics), bench.processes
    with processes.agreed():
        if processes.is_first:
            log.cut_after(resume.state.step if resume else 0)

    report: Report = deadline.watching(screen.training)
    with processes.agreed():
        if options.tensorboard and processes.is_first:
            report = with_tensorboard(report, bench.folder.path, first_step=resume.state.step if resume else 0)
    lost = bench.lost_files()
    job = _job(bench, options, log, lost, report)
    # Signals are still caught when a failure is reported: a launcher that sees another process end sends SIGTERM, which
    # must not end this one before it has said why.
    with stop_on_signals() as stop, failure_reported(bench, lost), repeatable(bench.config.training.exact):
        should_stop = deadline.or_asked(partial(_answering, stop, screen))
        result = fit(job, bench.accelerator, processes, resume=resume, report=report, should_stop=should_stop)
    signals = [number for number in processes.gather(stop.number) if number is not None]
    if result.ended == "interrupted" and not signals:
        result = replace(result, ended="time")
    with last_words(bench.folder, screen):
        finished = close_run(bench, result, lost, screen, report)
    bench.accelerator.end_training()
    return replace(finished, stopped_by=signals[0] if signals else None)


def _answering(stop: StopRequest, screen: Screen) -> bool:
    """Returns whether a stop was asked for, and says once that it was heard: saving and the report take a while."""
    if stop() and not stop.is_answered:
        stop.is_answered = True
        screen.fact("Stopping", "saving what there is; Ctrl-C again ends at once, without saving")
    return stop()


def _job(bench: Workbench, options: TrainOptions, log: MetricLog, lost: LostFiles, report: Report) -> Job:
    def keep_best(weights: Mapping[str, Tensor], state: LoopState) -> None:
        write_model(bench.folder.weights, weights, replace(model_facts(bench), step=state.step))

    validation, targets = bench.evaluation_batches("validation"), bench.targets("validation")
    return Job(
        model=bench.model,
        task=bench.task,
        samples=bench.training_samples(),
        targets=bench.targets("train"),
        prepare=bench.config.streams.prepare,
        evaluate=partial(bench.evaluate, batches=validation, targets=targets, lost=lost, report=report),
        keep_best=keep_best,
        config=bench.config.training,
        epochs=bench.config.epochs,
        batch_size=bench.batch_size,
        learning_rate=bench.config.learning_rate,
        seed=bench.config.seed,
        num_workers=bench.workers,
        checkpoints=bench.folder.checkpoints,
        log=log,
        facts=exactness_facts(bench, options),
        lost=lost,
        sharding=options.sharding,
        blocks=bench.shard_blocks(),
        allowance=bench.reader.allowance(whole=False),
        batch_seconds=bench.batch_seconds,
        micro_batch_size=bench.micro_batch_size,
    )
