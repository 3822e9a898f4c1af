"""Writes and reads skipped.csv: every file that could not be used, with the reason."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path

from perceptio.data.records import Skipped
from perceptio.disk import replace_file


def write_skipped(path: Path, skipped: Iterable[Skipped]) -> None:
    """Writes skipped.csv with the columns file, reason. The file appears complete or not at all.

    Raises:
        OSError: when the disk refuses.
    """
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["file", "reason"])
    writer.writerows((entry.name, entry.reason) for entry in skipped)
    replace_file(path, text.getvalue().encode())


def read_skipped(path: Path) -> list[Skipped]:
    """Reads what `write_skipped` wrote."""
    with path.open(newline="", encoding="utf-8") as file:
        return [Skipped(name=row["file"], reason=row["reason"]) for row in csv.DictReader(file)]
