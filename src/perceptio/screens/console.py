"""What a run shows on a terminal: facts, a table of epochs, and one live line below it. All of it on stderr."""

import os
import shutil
import sys
import textwrap
import time
from typing import Protocol, runtime_checkable

from perceptio.runs.lines import LABEL_COLUMNS, warning_line
from perceptio.screens.table import ASCII, BLOCKS, EpochTable, work_line
from perceptio.training.job import EvaluationReport, Event, StepReport

REDRAW_SECONDS = 0.1
NARROWEST_COLUMNS = 40
ERASE = "\r\x1b[K"


@runtime_checkable
class Stream(Protocol):
    """Where text goes: a terminal, a pipe, or what stands for them."""

    @property
    def encoding(self) -> str | None:
        """How characters become bytes, if they do."""

    def write(self, text: str, /) -> int:
        """Takes text."""

    def flush(self) -> None:
        """Hands on what was taken."""

    def isatty(self) -> bool:
        """Returns whether somebody sits in front of it."""


class ConsoleScreen:
    """Draws on a terminal that can redraw a line; `is_terminal` says whether a stream is one."""

    def __init__(self, stream: Stream | None = None) -> None:
        self.stream = stream or sys.stderr
        self.cells = BLOCKS if _takes(self.stream, "".join(BLOCKS)) else ASCII
        self.has_colour = not os.environ.get("NO_COLOR")
        self.table = EpochTable()
        self._is_drawn = False
        self._drawn_at = 0.0

    def fact(self, label: str, text: str) -> None:
        """Prints a fact with its label in front, in as many lines as the terminal's width asks for."""
        body = textwrap.fill(
            text,
            max(NARROWEST_COLUMNS, _columns(self.stream) - 1),
            initial_indent=" " * LABEL_COLUMNS,
            subsequent_indent=" " * LABEL_COLUMNS,
            break_on_hyphens=False,
            break_long_words=False,
        )
        head = f"{label:<{LABEL_COLUMNS - 1}} "
        self._print(self._bold(head) + body[LABEL_COLUMNS:])

    def work(self, what: str, done: int, total: int) -> None:
        """Redraws how far a piece of work is, and clears it when it is done."""
        self._redraw(work_line(what, done, total, self.cells))
        if done >= total:
            self.close()

    def training(self, report: Event) -> None:
        """Redraws the running epoch, or prints the row of an evaluation."""
        if isinstance(report, StepReport):
            self._redraw(self.table.live(report, self.cells))
        elif isinstance(report, EvaluationReport):
            for line in self.table.rows(report):
                self._print(line.replace("  best", self._bold("  best")))
        else:
            self._print(warning_line(report))

    def close(self) -> None:
        """Clears the live line."""
        if self._is_drawn:
            self._is_drawn = False
            self._write(ERASE)

    def _print(self, line: str) -> None:
        self.close()
        self._write(line + "\n")

    def _redraw(self, line: str) -> None:
        now = time.monotonic()
        if self._is_drawn and now - self._drawn_at < REDRAW_SECONDS:
            return
        self._is_drawn, self._drawn_at = True, now
        # A line as wide as the terminal would wrap, and its first half stay.
        self._write(f"\r{line[: _columns(self.stream) - 1]}\x1b[K")

    def _write(self, text: str) -> None:
        self.stream.write(text)
        self.stream.flush()

    def _bold(self, text: str) -> str:
        return f"\x1b[1m{text}\x1b[0m" if self.has_colour else text


def is_terminal(stream: Stream) -> bool:
    """Returns whether a stream is a terminal that can redraw a line."""
    return stream.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")


def _columns(stream: Stream) -> int:
    """Returns the width of the terminal that a stream leads to; standard output may lead to another, or to a pipe."""
    try:
        own = os.get_terminal_size(stream.fileno()).columns  # type: ignore[attr-defined]
    except (AttributeError, ValueError, OSError):
        own = 0  # what stands for a terminal, as in tests and some editors; a real one may say 0, too
    return own or shutil.get_terminal_size().columns


def _takes(stream: Stream, text: str) -> bool:
    try:
        text.encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
