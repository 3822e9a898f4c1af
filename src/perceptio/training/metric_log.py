"""metrics.jsonl: one JSON object a line, readable while training runs."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from perceptio.disk import DISK, Disk, replace_file
from perceptio.json_values import finite, parse_json


class MetricLog:
    """Rows, each with the `step` after which it was taken.

    The file is replaced as a whole: a full disk leaves no half line in it, and a row that found no room comes with
    the next one.
    """

    def __init__(self, path: Path, disk: Disk = DISK) -> None:
        self.path = path
        self.disk = disk
        self._lines: list[str] | None = None

    def append(self, row: Mapping[str, Any]) -> None:
        """Adds a row.

        Raises:
            OSError: when the disk refuses; the row is kept for the next call, or `write`.
        """
        self._kept_lines().append(json.dumps(finite(row), allow_nan=False) + "\n")
        self.write()

    def write(self) -> None:
        """Writes all rows."""
        replace_file(self.path, "".join(self._kept_lines()).encode(), self.disk)

    def rows(self) -> list[dict[str, Any]]:
        """Returns all rows."""
        return [parse_json(line) for line in self._kept_lines()]

    def cut_after(self, step: int) -> None:
        """Drops rows after a step, so that a resumed run repeats them instead of adding them twice."""
        self._lines = [line for line in self._kept_lines() if json.loads(line)["step"] <= step]
        self.write()

    def _kept_lines(self) -> list[str]:
        if self._lines is None:
            text = self.path.read_text(encoding="utf-8") if self.path.exists() else ""
            # An older version appended: a crash may have left a last line without its end.
            self._lines = [line for line in text.splitlines(keepends=True) if line.endswith("\n")]
        return self._lines
