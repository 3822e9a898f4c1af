"""Writes and reads split.csv: every sample of a run, with its split, its labels and its size."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from perceptio.data.limits import Limits
from perceptio.data.manifest_rows import read_csv_rows
from perceptio.data.names import Split, printable, split_of
from perceptio.data.records import Record
from perceptio.disk import replace_file
from perceptio.errors import DataError, FileError

_COLUMNS = ("file", "split", "labels", "bytes")
_AMBIGUOUS = frozenset("[|;")


class SplitRow(NamedTuple):
    """What split.csv says of a sample: labels as `labels_cell` writes them, None where an older file lacks a column."""

    split: Split
    labels: str | None
    size: str | None


def write_split(
    path: Path, records: Iterable[Record], splits: Mapping[str, str], size_of: Callable[[Record], str]
) -> None:
    """Writes split.csv with the columns file, split, labels, bytes; it can be read as a manifest, too.

    The file appears complete or not at all.

    Args:
        splits: name -> split, as `assign_splits` returns it, for every record.
        size_of: a sample's size in bytes, joined by "+" where it has several files, "0" where it has none.

    Raises:
        OSError: when the disk refuses.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for record in records:
        writer.writerow((record.name, splits[record.name], labels_cell(record.labels), size_of(record)))
    replace_file(path, text.getvalue().encode())


def read_split(path: Path, limits: Limits | None = None) -> dict[str, Split]:
    """Reads the splits of a split.csv: name -> split, in the file's order; raises as `read_split_rows`."""
    return {name: row.split for name, row in read_split_rows(path, limits).items()}


def read_split_rows(path: Path, limits: Limits | None = None) -> dict[str, SplitRow]:
    """Reads a split.csv by name, in the file's order.

    Raises:
        FileError: there is no such file.
        DataError: it is damaged, lacks a column, names an unknown split or names a sample twice.
    """
    if not path.is_file():
        raise FileError("no such file")
    rows: dict[str, SplitRow] = {}
    for number, row in read_csv_rows(path, limits or Limits()):
        missing = [column for column in _COLUMNS[:2] if column not in row]
        if missing:
            raise DataError(f"{path.name} must have the columns {', '.join(_COLUMNS[:3])}; {missing[0]} is missing")
        name = row["file"]
        where = f"{path.name}, line {number:,}"
        if name in rows:
            raise DataError(f"{where}: {printable(name)} is listed a second time; remove one of the lines")
        rows[name] = SplitRow(split_of(row["split"], where=where), row.get("labels"), row.get("bytes"))
    return rows


def labels_cell(labels: tuple[str, ...]) -> str:
    """Returns labels as one cell: one as it stands; several, none, or one with a separator in it as a JSON list."""
    if len(labels) == 1 and not _AMBIGUOUS & set(labels[0]):
        return labels[0]
    return json.dumps(labels, ensure_ascii=False)
