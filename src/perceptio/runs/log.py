"""log.txt: what the screen shows, as plain lines, and the traceback of what went wrong."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from perceptio.runs.lines import PlainLines
from perceptio.runs.screen import Screen, SilentScreen
from perceptio.training.job import Event


class LoggedScreen:
    """A screen whose lines also go to a file, as soon as it is known which; earlier ones are kept until then."""

    def __init__(self, screen: Screen, *, keeps: bool = True) -> None:
        self.screen = screen
        self.keeps = keeps
        self.path: Path | None = None
        self.waiting: list[str] = []
        self.plain = PlainLines(self.write)

    def open(self, path: Path) -> None:
        """Says where the log lies, and writes down what was told before."""
        self.path = path
        for line in self.waiting:
            self.write(line)
        self.waiting.clear()

    def write(self, line: str) -> None:
        """Adds a line. A disk that refuses costs the line and not the run."""
        if not self.keeps:
            return
        if self.path is None:
            self.waiting.append(line)
            return
        try:
            with self.path.open("a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(line + "\n")
        except OSError:
            return

    def fact(self, label: str, text: str) -> None:
        """Shows and logs a fact."""
        self.screen.fact(label, text)
        self.plain.fact(label, text)

    def work(self, what: str, done: int, total: int) -> None:
        """Shows and, each minute, logs how far a piece of work is."""
        self.screen.work(what, done, total)
        self.plain.work(what, done, total)

    def training(self, report: Event) -> None:
        """Shows and logs progress of training."""
        self.screen.training(report)
        self.plain.training(report)


@contextmanager
def logged(screen: Screen | None, *, is_main: bool) -> Iterator[LoggedScreen]:
    """Yields a screen that logs, also the traceback of work that fails; of several processes only the first does."""
    log = LoggedScreen(screen if screen is not None and is_main else SilentScreen(), keeps=is_main)
    try:
        yield log
    except BaseException as error:
        log.write("".join(traceback.format_exception(error)).rstrip())
        raise
