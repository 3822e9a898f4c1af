"""What a run shows on a terminal, and the plain lines that it writes to a file or a pipe. All of it on stderr."""

import json
import sys
import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from perceptio.json_values import finite
from perceptio.training.job import EvaluationReport, Event, SaveFailure, TrainingWarning, WorkerLoss

PLAIN_SECONDS = 60.0


class ConsoleScreen:
    """Facts as lines; training as a table of evaluations with one live line below it."""

    def __init__(self, *, quiet: bool) -> None:
        self.console = Console(stderr=True, highlight=False, soft_wrap=True, quiet=quiet)
        self.live: Progress | None = None
        self.task: TaskID | None = None
        self.header_shown = False
        self.last_plain = time.monotonic()

    def fact(self, label: str, text: str) -> None:
        """Prints a line with its label in front."""
        self._stop_live()
        self.console.print(f"{label:<9} {text}", markup=False)

    def work(self, what: str, done: int, total: int) -> None:
        """Draws a bar on a terminal; elsewhere nothing."""
        if not self.console.is_terminal:
            return
        live, task = self._ensure_live(what, total)
        live.update(task, completed=done, right=f"{done:,}/{total:,}")
        if done >= total:
            self._stop_live()

    def training(self, report: Event) -> None:
        """Moves the live line, or prints the row of an evaluation."""
        if isinstance(report, EvaluationReport):
            self._row(report)
        elif isinstance(report, SaveFailure):
            self.console.print(f"warning: no {report.what} at step {report.step}: {report.reason}", markup=False)
        elif isinstance(report, TrainingWarning):
            self.console.print(f"warning: {report.text}", markup=False)
        elif isinstance(report, WorkerLoss):
            blamed = "; ".join(f"{skipped.name}: {skipped.reason}" for skipped in report.quarantined)
            self.console.print(
                f"warning: the processes that read files were started again, since {report.reason}. "
                f"{'Left out from here on: ' + blamed if blamed else 'No file is to blame'}",
                markup=False,
            )
        elif self.console.is_terminal:
            live, task = self._ensure_live("training", report.num_steps)
            epoch = report.step / report.steps_per_epoch
            right = (
                f"epoch {epoch:.1f}  loss {report.loss:.3f}  {report.samples_per_second:,.0f} samples/s  "
                f"left {clock(report.seconds_left)}"
            )
            live.update(task, completed=report.step, right=right)
        elif time.monotonic() - self.last_plain >= PLAIN_SECONDS:
            self.last_plain = time.monotonic()
            self.console.print(
                f"step {report.step}/{report.num_steps} loss {report.loss:.3f} "
                f"{report.samples_per_second:.0f} samples/s left {report.seconds_left:.0f} s"
            )

    def close(self) -> None:
        """Ends the live line."""
        self._stop_live()

    def _row(self, report: EvaluationReport) -> None:
        row, epochs = report.row, report.num_steps / report.steps_per_epoch
        metric = main_metric_of(row)
        mark = "best" if report.is_best else ""
        self.last_plain = time.monotonic()
        if not self.console.is_terminal:
            self.console.print(
                f"epoch {row['epoch']:g}/{epochs:g} train_loss {row['train_loss']:.4f} "
                f"validation_loss {row['validation_loss']:.4f} {metric} {row[metric]:.4f} "
                f"elapsed {row['seconds']:.0f} s left {report.seconds_left:.0f} s {mark}".rstrip()
            )
            return
        if not self.header_shown:
            self.header_shown = True
            name = metric.removeprefix("validation_").replace("_", " ")
            titles = f"{'epoch':>7}{'train loss':>12}{'val loss':>10}{'val ' + name:>16}{'time':>9}{'left':>8}"
            self.console.print(f"\n{titles}")
        self.console.print(
            f"{row['epoch']:>7g}{row['train_loss']:>12.3f}{row['validation_loss']:>10.3f}{row[metric]:>15.1%} "
            f"{clock(row['seconds']):>8}{clock(report.seconds_left):>8}  {mark}"
        )

    def _ensure_live(self, what: str, total: int) -> tuple[Progress, TaskID]:
        if self.live is None or self.task is None:
            columns = (TextColumn("  {task.description}"), BarColumn(24), TextColumn("{task.fields[right]}"))
            self.live = Progress(*columns, console=self.console, transient=True)
            self.task = self.live.add_task(what, total=total, right="")
            self.live.start()
        return self.live, self.task

    def _stop_live(self) -> None:
        if self.live is not None:
            self.live.stop()
            self.live, self.task = None, None


def main_metric_of(row: Mapping[str, Any]) -> str:
    """Returns the name of the main validation metric in a row of metrics.jsonl."""
    return next(name for name in ("validation_accuracy", "validation_map") if name in row)


def clock(seconds: float) -> str:
    """Returns minutes and seconds, or hours and minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def print_result(text: str) -> None:
    """Prints a result on standard output, where a pipe finds it."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def print_json(document: Any, *, indent: int | None = None) -> None:
    """Prints a result as one JSON document. JSON has no NaN and no infinity: they become null."""
    print_result(json.dumps(finite(document), indent=indent, allow_nan=False))
