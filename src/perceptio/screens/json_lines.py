"""What a run tells, as one JSON object a line, for programs that watch it."""

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from perceptio.json_values import finite
from perceptio.training.job import EvaluationReport, Event, StepReport

STEP_SECONDS = 1.0


class JsonScreen:
    """Writes events to standard output: fact, step (at most one a second), epoch, warning; `result` ends them."""

    def __init__(self) -> None:
        self._step_at = 0.0

    def fact(self, label: str, text: str) -> None:
        """Writes a fact."""
        write_json_line({"event": "fact", "label": label, "text": text})

    def work(self, what: str, done: int, total: int) -> None:
        """Writes nothing: a file read is no event."""

    def training(self, report: Event) -> None:
        """Writes an event of training."""
        if isinstance(report, EvaluationReport):
            row = {**report.row, "best": report.is_best, "seconds_left": report.seconds_left}
            write_json_line({"event": "epoch", **row})
        elif isinstance(report, StepReport):
            now = time.monotonic()
            if now - self._step_at >= STEP_SECONDS:
                self._step_at = now
                write_json_line({"event": "step", **vars(report)})
        else:
            write_json_line({"event": "warning", **asdict(report)})

    def close(self) -> None:
        """Nothing is open."""


def write_json_line(document: Mapping[str, Any]) -> None:
    """Writes one object on a line of standard output; what is no finite number becomes null."""
    sys.stdout.write(json.dumps(finite(document), allow_nan=False) + "\n")
    sys.stdout.flush()
