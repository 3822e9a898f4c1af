"""What a run does after its last step: measures the best weights, writes the report, and says how it went."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from torch import Tensor

from perceptio.errors import UnreachableError
from perceptio.evaluation.predictions import join
from perceptio.runs.data import SPLITS
from perceptio.runs.folder import RunFolder
from perceptio.runs.interruption import end_on_signals
from perceptio.runs.log import LoggedScreen
from perceptio.runs.measured import Measured, assess
from perceptio.runs.model_file import read_model
from perceptio.runs.report_content import open_finished
from perceptio.runs.results import RunResult, finish_run
from perceptio.runs.workbench import Workbench
from perceptio.training.job import FitResult, Report
from perceptio.training.lost_files import LostFiles
from perceptio.training.memory import peak_memory_bytes
from perceptio.training.metric_log import MetricLog


@contextmanager
def last_words(folder: RunFolder, screen: LoggedScreen) -> Iterator[None]:
    """Says that nothing is lost where a signal ends what comes after training."""
    with end_on_signals():
        try:
            yield
        except KeyboardInterrupt:
            where = shlex.quote(str(folder.path))
            screen.fact(
                "Stopped", f"trained and saved; perceptio train --resume {where} measures it and writes the report"
            )
            raise


def close_run(bench: Workbench, result: FitResult, lost: LostFiles, screen: LoggedScreen, report: Report) -> RunResult:
    """Measures the best weights, writes the report and says how it went. All processes call this."""
    measured: Mapping[str, Measured] = {}
    if result.ended != "interrupted" and result.state.best_step is not None:
        with failure_reported(bench, lost):
            measured = _measure_best(bench, ("validation", "test"), lost, report)
    finished = RunResult(folder=bench.folder.path, ended=result.ended, best_epoch=None, test={}, is_main=False)
    # The others wait: a launcher that sees one process end may end the one that still writes.
    with bench.processes.agreed():
        if bench.processes.is_first:
            finished = _finish(bench, result, measured, lost)
            for label, text in finished.ending:
                screen.plain.fact(label, text)
    return finished


def _measure_best(bench: Workbench, splits: Sequence[str], lost: LostFiles, report: Report) -> Mapping[str, Measured]:
    """Measures the best weights on some splits, all processes together; empty in all but the first."""
    best: dict[str, Tensor] = {}
    with bench.processes.agreed():
        if bench.processes.is_first:
            best.update(read_model(bench.folder.weights)[0].state_dict())
    model = bench.new_model()
    model.load_state_dict(bench.processes.share(best), assign=True)
    model.to(bench.accelerator.device)
    shares = {
        split: bench.predict(model, bench.evaluation_batches(split), bench.targets(split), lost, report)
        for split in splits
    }
    with bench.processes.agreed():
        if not bench.processes.is_first:
            return {}
        return {
            split: assess(
                join(found),
                bench.prepared.records(split),
                split=split,
                task=bench.task,
                classes=bench.prepared.classes,
            )
            for split, found in shares.items()
        }


def _finish(bench: Workbench, result: FitResult, measured: Mapping[str, Measured], lost: LostFiles) -> RunResult:
    lost.write()
    bench.folder.update_facts(
        {
            "ended": result.ended,
            "best_step": result.state.best_step,
            "steps": result.state.step,
            "seconds": result.state.seconds,
            "micro_batch_size": result.state.micro_batch_size,
            "lost": _lost_by_split(lost),
            "peak_memory_bytes": peak_memory_bytes(bench.accelerator.device),
        }
    )
    return finish_run(
        open_finished(bench.folder, bench.prepared, bench.reader, bench.task), measured, bench.accelerator.device
    )


def _lost_by_split(lost: LostFiles) -> dict[str, int]:
    return {split: lost.count(split) for split in SPLITS}


@contextmanager
def failure_reported(bench: Workbench, lost: LostFiles) -> Iterator[None]:
    """Writes the report of what there is when training or measuring fails; the first process does so for all."""
    try:
        # Once more inside: the report says what the message will, not what the library below said.
        with bench.processes.connected():
            yield
    except Exception as error:
        if bench.processes.is_first:
            _report_failure(bench, error, lost)
        raise


def _report_failure(bench: Workbench, error: Exception, lost: LostFiles) -> None:
    """Writes the report of what there is. Where that fails too, the first error is still the one that people see."""
    try:
        lost.write()
        rows = MetricLog(bench.folder.metrics).rows()
        best = read_model(bench.folder.weights)[1].step if bench.folder.weights.is_file() else None
        bench.folder.update_facts(
            {
                "ended": "failed",
                "failure": " ".join(str(error).split()) or type(error).__name__,
                "best_step": best,
                "lost": _lost_by_split(lost),
                "seconds": rows[-1]["seconds"] if rows else None,
                "peak_memory_bytes": peak_memory_bytes(bench.accelerator.device),
            }
        )
        run = open_finished(bench.folder, bench.prepared, bench.reader, bench.task)
        run = replace(run, can_read=not isinstance(error, UnreachableError))
        finish_run(run, {}, bench.accelerator.device)
    except Exception as second:
        error.add_note(f"no report could be written either: {second}")
