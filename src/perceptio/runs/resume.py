"""Going on with a run from a checkpoint: the same data, the same surroundings, or a plain word about what differs."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from accelerate import Accelerator
from torch import Tensor

from perceptio.data.split_file import SplitRow, read_split_rows
from perceptio.disk import discard
from perceptio.errors import DataError, PerceptioError, UsageError
from perceptio.runs.budget import CLOSING_SECONDS, Deadline, ending_seconds, new_schedule, steps_per_epoch
from perceptio.runs.check import check_evaluation
from perceptio.runs.config import RunConfig
from perceptio.runs.data import PreparedData, Survey, admitted, survey_data, write_data_files
from perceptio.runs.data_changes import find_changes, prepare_changed
from perceptio.runs.exactness import exactness_facts, fingerprint_of, how_exact, surroundings
from perceptio.runs.folder import RunFolder, open_run_folder
from perceptio.runs.lines import clock
from perceptio.runs.log import logged
from perceptio.runs.machine import connect, make_accelerator, set_threads
from perceptio.runs.memory import plan_memory
from perceptio.runs.model_file import read_model, write_model
from perceptio.runs.opening import data_facts
from perceptio.runs.results import RunResult
from perceptio.runs.screen import Screen
from perceptio.runs.train import alone_in, model_facts, open_run, prepare, run_training
from perceptio.runs.workbench import TrainOptions, Workbench, build_workbench, check_backend, check_processes
from perceptio.training.checkpoint import Checkpoint, is_whole, read_checkpoint, read_newest_checkpoint
from perceptio.training.checkpoint_folders import clear_leftovers, leave_newer, steps_in
from perceptio.training.metric_log import MetricLog
from perceptio.training.processes import Processes


@dataclass(frozen=True, kw_only=True)
class ResumeOptions:
    """How a run goes on.

    Attributes:
        epochs: passes over the training samples in the whole run, to lengthen or shorten it; None: as planned.
        step: the checkpoint to go on from, and no other; None: the newest that is whole.
        accept_changes: whether data that is not what it was is taken as it is now. The run is then not exact.
    """

    epochs: float | None = None
    step: int | None = None
    accept_changes: bool = False


def resume_run(
    path: Path,
    options: TrainOptions | None = None,
    *,
    resume: ResumeOptions | None = None,
    screen: Screen | None = None,
) -> RunResult:
    """Goes on with a run from a checkpoint.

    Raises:
        PerceptioError: when another process is at it, there is no checkpoint, or the data is not what it was.
    """
    options, resume = options or TrainOptions(), resume or ResumeOptions()
    began = options.began or time.monotonic()
    processes = connect(options.device, timeout_minutes=options.timeout_minutes)
    with processes.connected(), logged(screen, is_main=processes.is_first) as shown:
        # Only the first process looks into the run folder: other nodes need not see it.
        before = processes.first_does(lambda: _read_config(path))
        config = _with_epochs(before, resume.epochs)
        folder = RunFolder(path)
        with processes.agreed():
            check_processes(config, options, processes)
        accelerator = make_accelerator(options.device, config.training.precision, exact=config.training.exact)
        with alone_in(folder, processes):
            if processes.is_first:
                shown.open(folder.log)
            if resume.step is None and processes.first_does(lambda: _has_only_begun(folder)):
                bench, deadline = _start_again(folder, config, options, resume, accelerator, processes, shown, began)
                return run_training(bench, options, shown, resume=None, deadline=deadline)
            checkpoint = _read_checkpoint(folder, resume.step, processes, shown)
            with processes.agreed():
                check_backend(config, accelerator.device)
                set_threads(options.threads, checkpoint.facts.get("threads"))
            prepared = processes.first_does(
                lambda: _find_data(folder, config, checkpoint, shown, accept_changes=resume.accept_changes)
            )
            with processes.agreed():
                bench = build_workbench(config, prepared, accelerator, processes, folder, options)
            bench = plan_memory(bench, shown)
            with processes.agreed():
                if resume.epochs is not None:
                    _check_epochs(bench, checkpoint.state.step)
                _begin_again(bench, options, checkpoint, shown)
            for text in new_schedule(before, config, checkpoint.state.step, steps_per_epoch(bench)):
                shown.fact("Schedule", text)
            with processes.agreed():
                deadline = _deadline(bench, options, checkpoint, shown, began=began)
            if resume.step is not None:
                processes.first_does(lambda: _leave_newer(folder, checkpoint.state.step, shown))
            return run_training(bench, options, shown, resume=checkpoint, deadline=deadline)


def _has_only_begun(folder: RunFolder) -> bool:
    """Whether a run was killed or failed before its first checkpoint, perhaps in the midst of writing it."""
    is_over = folder.read_facts().get("ended") not in (None, "failed")
    return not is_over and not steps_in(folder.checkpoints) and len(MetricLog(folder.metrics).rows()) <= 1


def _start_again(
    folder: RunFolder,
    config: RunConfig,
    options: TrainOptions,
    resume: ResumeOptions,
    accelerator: Accelerator,
    processes: Processes,
    screen: Screen,
    began: float,
) -> tuple[Workbench, Deadline]:
    """Opens a run that has no checkpoint at its first step, with its config, its threads and its samples."""

    def prepared_as_before() -> PreparedData:
        found = prepare(config, None, screen)
        if found.survey.fingerprint != folder.read_facts()["data"]["fingerprint"]:
            _accept(read_split_rows(folder.split), found.survey, screen, accept_changes=resume.accept_changes)
        return found

    before = processes.first_does(folder.read_facts)
    with processes.agreed():
        # A run of an earlier version did not record them.
        set_threads(options.threads, before.get("surroundings", {}).get("threads"))
    prepared = processes.first_does(prepared_as_before)
    with processes.agreed():
        if processes.is_first:
            _clear(folder, screen)
            folder.weights.unlink(missing_ok=True)
            write_data_files(folder, prepared)
        bench = build_workbench(config, prepared, accelerator, processes, folder, options)
    screen.fact("Resume", f"{folder.path} ended before its first checkpoint: it begins again, as if never started")
    return open_run(bench, options, screen, began=began)


def _with_epochs(config: RunConfig, epochs: float | None) -> RunConfig:
    """Returns the config with other epochs. Who asks for them wants them run: then patience is no reason to stop."""
    if epochs is None or epochs == config.epochs:
        return config
    return replace(config, epochs=epochs, training=replace(config.training, patience_epochs=None))


def _deadline(
    bench: Workbench, options: TrainOptions, checkpoint: Checkpoint, screen: Screen, *, began: float
) -> Deadline:
    if options.time is None:
        return Deadline(None)
    # A model whose weights are sharded may not fit into one process, where the check would put it.
    ending = CLOSING_SECONDS if options.sharding == "full" else ending_seconds(bench, check_evaluation(bench))
    left = options.time - (time.monotonic() - began)
    if left <= ending:
        raise UsageError(
            f"--time is too short: {max(0.0, left):.0f} s are left after reading the files, and what comes after "
            f"training takes {ending:.0f} s. Give it more (a number alone is seconds, 2m are two minutes)"
        )
    screen.fact(
        "Time",
        f"stops after {clock(options.time)}, of which the end takes about {clock(ending)}; the schedule stays, and "
        "--resume goes on with it",
    )
    deadline = Deadline(left - ending)
    deadline.has_evaluated = checkpoint.state.best_step is not None
    return deadline


def _read_config(path: Path) -> RunConfig:
    folder = open_run_folder(path)
    if not folder.split.is_file():
        raise UsageError(
            f"{folder.split} is missing: without it nobody knows which files were kept for the test; put it back, or "
            "start a new run"
        )
    return folder.read_config()


def _read_checkpoint(folder: RunFolder, step: int | None, processes: Processes, screen: Screen) -> Checkpoint:
    """Returns the checkpoint in every process: the first one reads it and gives its tensors to all."""
    tensors: dict[str, Mapping[str, Tensor]] = {"model": {}, "optimizer": {}, "average": {}}

    def read() -> Checkpoint:
        _clear(folder, screen)
        if step is None:
            found = read_newest_checkpoint(folder.checkpoints)
        else:
            found = read_checkpoint(folder.checkpoints, step)
        tensors.update(model=found.model, optimizer=found.optimizer, average=found.average or {})
        return replace(found, model={}, optimizer={}, average=None if found.average is None else {})

    found = processes.first_does(read)
    for problem in found.passed_over:
        screen.fact("Warning", f"passed over a damaged checkpoint, {problem}")
    model, optimizer = processes.share(tensors["model"]), processes.share(tensors["optimizer"])
    average = None if found.average is None else processes.share(tensors["average"])
    return replace(found, model=model, optimizer=optimizer, average=average)


def _leave_newer(folder: RunFolder, step: int, screen: Screen) -> None:
    """Removes what the run trained after a step that it goes back to: were it killed now, it would go on with that."""
    try:
        problems = leave_newer(folder.checkpoints, step)
    except OSError as error:
        raise PerceptioError(
            f"the checkpoints after step {step} in {folder.checkpoints} cannot be removed: {error.strerror or error}. "
            "Remove them, then go on"
        ) from error
    for problem in problems:
        screen.fact("Warning", problem)


def _clear(folder: RunFolder, screen: Screen) -> None:
    """Deletes what a kill left."""
    for problem in [*clear_leftovers(folder.checkpoints, is_whole), *_clear_half_written(folder)]:
        screen.fact("Warning", problem)


def _clear_half_written(folder: RunFolder) -> list[str]:
    """Deletes what a kill left of files that only a training run writes; returns what could not be deleted."""
    files = (folder.config, folder.split, folder.skipped, folder.metrics, folder.weights)
    left = [path for file in files for path in sorted(folder.path.glob(f".tmp-{file.name}-*"))]
    return [problem for problem in map(discard, left) if problem is not None]


def _begin_again(bench: Workbench, options: TrainOptions, checkpoint: Checkpoint, screen: Screen) -> None:
    """Says how exactly the run goes on, and brings the run folder to where the checkpoint is.

    Raises:
        UsageError: when the model's classes are not those of the data.
    """
    now, folder = exactness_facts(bench, options), bench.folder
    if checkpoint.facts.get("classes", now["classes"]) != now["classes"]:
        raise UsageError(
            f"the classes in {bench.prepared.survey.data} are not those that this run began with: "
            f"{len(bench.prepared.classes)} now. Its model answers with the old ones: start a new run"
        )
    exact = how_exact(
        {**checkpoint.facts, "micro_batches": _num_micro_batches(bench, checkpoint.state.micro_batch_size)},
        {**now, "micro_batches": _num_micro_batches(bench, checkpoint.state.micro_batch_size, bench.micro_batch_size)},
    )
    screen.fact("Resume", f"{folder.path} at step {checkpoint.state.step}, {exact}")
    if bench.processes.is_first:
        folder.write_config(bench.config)
        if now["data"] != checkpoint.facts["data"]:
            write_data_files(folder, bench.prepared)
            folder.update_facts({"data": data_facts(bench.prepared)})
        _restore_best(bench, checkpoint)
        resumed = [*folder.read_facts().get("resumed", []), exact]
        folder.update_facts({"resumed": resumed, "surroundings": surroundings(bench, options)})


def _check_epochs(bench: Workbench, step: int) -> None:
    """Raises UsageError when more is done than the whole run is to have: its config would tell of another run."""
    epochs, an_epoch = bench.config.epochs, steps_per_epoch(bench)
    if max(1, round(epochs * an_epoch)) < step:
        others = ", ".join(map(str, steps_in(bench.folder.checkpoints)))
        raise UsageError(
            f"--epochs {epochs:g} are fewer than the {step / an_epoch:g} that step {step} stands at; ask for more, or "
            f"go back with --step (there are {others}; an epoch has {an_epoch} steps)"
        )


def _num_micro_batches(bench: Workbench, *sizes: int | None) -> int:
    """Returns into how many parts a share is cut when no more than the least of `sizes` samples run at once."""
    known = [size for size in sizes if size is not None]
    return replace(bench, micro_batch_size=min(known, default=None)).num_micro_batches


def _find_data(
    folder: RunFolder, config: RunConfig, checkpoint: Checkpoint, screen: Screen, *, accept_changes: bool
) -> PreparedData:
    """Returns the samples that the run began with, in their splits.

    Raises:
        UsageError: when they are not what they were, and that is not accepted.
    """
    rows = read_split_rows(folder.split)
    survey = survey_data(
        config.data,
        config.source,
        streams=config.streams,
        copies=accept_changes,
        progress=partial(screen.work, "reading files"),
    )
    survey = admitted(survey, config)
    splits = {name: row.split for name, row in rows.items()}
    same_names = splits.keys() == {record.name for record in survey.usable}
    same_split = checkpoint.facts.get("split") in (None, fingerprint_of(sorted(splits.items())))
    if survey.fingerprint == checkpoint.facts["data"] and same_names and same_split:
        return PreparedData(survey=survey, splits=splits, leaks=())
    _accept(rows, survey, screen, accept_changes=accept_changes)
    return prepare_changed(rows, survey, config)


def _accept(rows: dict[str, SplitRow], survey: Survey, screen: Screen, *, accept_changes: bool) -> None:
    """Tells what changed in the data, or raises UsageError where that is not accepted."""
    changes = f"the data in {survey.data} is not what this run began with: {find_changes(rows, survey)}"
    if not accept_changes:
        raise UsageError(
            f"{changes}. Put the files back, start a new run, or go on with --accept-changes, which is not exact"
        )
    screen.fact("Warning", changes)


def _restore_best(bench: Workbench, checkpoint: Checkpoint) -> None:
    """Makes model.safetensors the best weights that the checkpoint knows of.

    A crash after an evaluation and before its checkpoint leaves weights of a step that, for the resumed run, has not
    been yet.
    """
    best_step = checkpoint.state.best_step
    weights = bench.folder.weights
    if best_step is None:
        weights.unlink(missing_ok=True)
        return
    if weights.is_file() and read_model(weights)[1].step == best_step:
        return
    try:
        best = (
            checkpoint if checkpoint.state.step == best_step else read_checkpoint(bench.folder.checkpoints, best_step)
        )
    except DataError as error:
        raise DataError(
            f"the best weights, of step {best_step}, are lost: model.safetensors holds others, and {error}. "
            "Put model.safetensors back, or start a new run."
        ) from error
    write_model(weights, best.evaluated, replace(model_facts(bench), step=best_step))
