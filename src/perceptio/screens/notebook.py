"""What a run shows in a notebook: the same lines as on a terminal, redrawn in the cell that started it."""

import time
from html import escape
from typing import Any

from perceptio.runs.lines import fact_line, warning_line
from perceptio.screens.table import BLOCKS, EpochTable, work_line
from perceptio.training.job import EvaluationReport, Event, StepReport

REDRAW_SECONDS = 0.5


class NotebookScreen:
    """Keeps its lines and redraws them as one output, which also reads well where a notebook is saved as text."""

    def __init__(self) -> None:
        self.table = EpochTable()
        self.lines: list[str] = []
        self._live = ""
        self._handle: Any = None
        self._drawn_at = 0.0

    def fact(self, label: str, text: str) -> None:
        """Adds a fact."""
        self._add(fact_line(label, text))

    def work(self, what: str, done: int, total: int) -> None:
        """Redraws how far a piece of work is."""
        self._set_live("" if done >= total else work_line(what, done, total, BLOCKS))

    def training(self, report: Event) -> None:
        """Redraws the running epoch, or adds the row of an evaluation."""
        if isinstance(report, StepReport):
            self._set_live(self.table.live(report, BLOCKS))
        elif isinstance(report, EvaluationReport):
            self._add(*self.table.rows(report))
        else:
            self._add(warning_line(report))

    def close(self) -> None:
        """Leaves the lines without the live one."""
        self._live = ""
        self._draw()

    def _add(self, *lines: str) -> None:
        self.lines += lines
        self._live = ""
        self._draw()

    def _set_live(self, line: str) -> None:
        self._live = line
        if time.monotonic() - self._drawn_at >= REDRAW_SECONDS:
            self._draw()

    def _draw(self) -> None:
        from IPython.display import display

        self._drawn_at = time.monotonic()
        text = "\n".join([*self.lines, self._live] if self._live else self.lines)
        shown = {"text/plain": text, "text/html": f"<pre>{escape(text)}</pre>"}
        if self._handle is None:
            self._handle = display(shown, raw=True, display_id=True)  # type: ignore[no-untyped-call]  # IPython's
        else:
            self._handle.update(shown, raw=True)


def is_notebook() -> bool:
    """Returns whether this Python runs the cells of a notebook. IPython is there already if it does."""
    import sys

    module = sys.modules.get("IPython")
    shell = module.get_ipython() if module is not None else None
    return shell is not None and hasattr(shell, "kernel")
