"""What a run tells, as plain lines: for logs, pipes and CI. No escape codes, one line an epoch and one each minute."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from perceptio.training.job import EvaluationReport, Event, SaveFailure, StepReport, TrainingWarning, WorkerLoss
from perceptio.training.lost_files import FileLost

PLAIN_SECONDS = 60.0
LABEL_COLUMNS = 10


class PlainLines:
    """A screen that hands on whole lines."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self.write = write
        self.last = time.monotonic()

    def fact(self, label: str, text: str) -> None:
        """Writes a line with its label in front."""
        self.write(fact_line(label, text))

    def work(self, what: str, done: int, total: int) -> None:
        """Writes how far a piece of work is, each minute."""
        if self._is_time():
            self.write(f"{what}: {done:,} of {total:,}")

    def training(self, report: Event) -> None:
        """Writes a line for each evaluation and warning, and one each minute."""
        if isinstance(report, StepReport):
            if self._is_time():
                self.write(step_line(report))
            return
        self.last = time.monotonic()
        self.write(evaluation_line(report) if isinstance(report, EvaluationReport) else warning_line(report))

    def _is_time(self) -> bool:
        now = time.monotonic()
        if now - self.last < PLAIN_SECONDS:
            return False
        self.last = now
        return True


def fact_line(label: str, text: str) -> str:
    """Returns a fact as one line."""
    return f"{label:<{LABEL_COLUMNS - 1}} {text}".rstrip()


def step_line(report: StepReport) -> str:
    """Returns how far training is."""
    return (
        f"step {report.step}/{report.num_steps} loss {report.loss:.3f} "
        f"{report.samples_per_second:.0f} samples/s left {report.seconds_left:.0f} s"
    )


def evaluation_line(report: EvaluationReport) -> str:
    """Returns the row of an evaluation."""
    row, metric = report.row, main_metric_of(report.row)
    epochs = report.num_steps / report.steps_per_epoch
    trained = "" if row["train_loss"] is None else f" train_loss {row['train_loss']:.4f}"
    best = " best" if report.is_best else ""
    lost = f" lost {row['num_lost']}" if row["num_lost"] else ""
    return (
        f"epoch {row['epoch']:g}/{epochs:g}{trained} validation_loss {row['validation_loss']:.4f} "
        f"{metric} {row[metric]:.4f} elapsed {row['seconds']:.0f} s left {report.seconds_left:.0f} s{lost}{best}"
    )


def warning_line(report: SaveFailure | TrainingWarning | WorkerLoss | FileLost) -> str:
    """Returns what went wrong while training goes on."""
    if isinstance(report, WorkerLoss):
        blamed = "; ".join(f"{skipped.name}: {skipped.reason}" for skipped in report.quarantined)
        return (
            f"warning: the processes that read files were started again, since {report.reason}. "
            f"{'Left out from here on: ' + blamed if blamed else 'No file is to blame'}"
        )
    if isinstance(report, FileLost):
        return (
            f"warning: {report.name} went bad in mid-run: {report.reason}. In training another sample takes its place, "
            "validation and test leave it out. The line of each evaluation has the number of such files, and "
            f"{report.listed_in} lists them"
        )
    if isinstance(report, TrainingWarning):
        return f"warning: {report.text}"
    return f"warning: no {report.what} at step {report.step}: {report.reason}"


def main_metric_of(row: Mapping[str, Any]) -> str:
    """Returns the name of the main validation metric in a row of metrics.jsonl."""
    return next(name for name in ("validation_accuracy", "validation_map") if name in row)


def clock(seconds: float) -> str:
    """Returns minutes and seconds, or hours and minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
