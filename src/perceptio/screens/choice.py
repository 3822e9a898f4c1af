"""Which screen suits where this Python runs."""

import sys
from typing import Protocol, runtime_checkable

from perceptio.runs.lines import PlainLines
from perceptio.runs.screen import Screen, SilentScreen
from perceptio.screens.console import ConsoleScreen, Stream, is_terminal
from perceptio.screens.notebook import NotebookScreen, is_notebook
from perceptio.training.job import EvaluationReport, Event, StepReport


@runtime_checkable
class ClosableScreen(Screen, Protocol):
    """A screen that may have something drawn that must not stay."""

    def close(self) -> None:
        """Clears what is not to stay."""


class PlainScreen(PlainLines):
    """Lines on a stream, such as a log file or a pipe."""

    def __init__(self, stream: Stream | None = None) -> None:
        super().__init__(self._write_line)
        self.stream = stream or sys.stderr

    def close(self) -> None:
        """Nothing is drawn."""

    def _write_line(self, line: str) -> None:
        self.stream.write(line + "\n")
        self.stream.flush()


class NoScreen(SilentScreen):
    """Shows nothing."""

    def close(self) -> None:
        """Nothing is drawn."""


class QuietScreen(SilentScreen):
    """Shows warnings, as lines on stderr, and nothing else."""

    def __init__(self) -> None:
        self.lines = PlainScreen()

    def fact(self, label: str, text: str) -> None:
        """Shows a fact that is a warning."""
        if label == "Warning":
            self.lines.fact(label, text)

    def training(self, report: Event) -> None:
        """Shows what is no progress."""
        if not isinstance(report, StepReport | EvaluationReport):
            self.lines.training(report)

    def close(self) -> None:
        """Nothing is drawn."""


def screen() -> ClosableScreen:
    """Returns a screen for where this Python runs: in a notebook's cell, on a terminal, or as plain lines on stderr."""
    if is_notebook():
        return NotebookScreen()
    return ConsoleScreen() if is_terminal(sys.stderr) else PlainScreen()
