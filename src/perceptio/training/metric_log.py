"""metrics.jsonl: one JSON object a line, readable while training runs."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from perceptio.json_values import finite


class MetricLog:
    """Appends rows, each with the `step` after which it was taken."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, row: Mapping[str, Any]) -> None:
        """Adds a row."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(finite(row), allow_nan=False) + "\n")

    def rows(self) -> list[dict[str, Any]]:
        """Returns all whole rows. A last line without its end, which a crash may leave, is not one."""
        if not self.path.exists():
            return []
        lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def cut_after(self, step: int) -> None:
        """Drops rows after a step, so that a resumed run repeats them instead of adding them twice."""
        kept = [row for row in self.rows() if row["step"] <= step]
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
        temporary.replace(self.path)
