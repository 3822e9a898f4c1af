"""Writes and reads split.csv, which says for every sample in which split it stands and what it shows."""

import csv
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from perceptio.data.limits import Limits
from perceptio.data.manifest_rows import read_csv_rows
from perceptio.data.names import Split, printable, split_of
from perceptio.data.records import Record
from perceptio.errors import DataError, FileError

_COLUMNS = ("file", "split", "labels")
_AMBIGUOUS = frozenset("[|;")


def write_split(path: Path, records: Iterable[Record], splits: Mapping[str, str]) -> None:
    """Writes split.csv with the columns file, split, labels; it can be read as a manifest, too.

    One label stands as it is; several, none, or one with a separator in it as a JSON list. The file appears complete or
    not at all.

    Args:
        splits: name -> split, as `assign_splits` returns it, for every record.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with partial.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(_COLUMNS)
            for record in records:
                writer.writerow((record.name, splits[record.name], _cell(record.labels)))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def read_split(path: Path, limits: Limits | None = None) -> dict[str, Split]:
    """Reads the splits of a split.csv: name -> split, in the file's order.

    Raises:
        FileError: there is no such file.
        DataError: it is damaged, lacks a column, names an unknown split or names a sample twice.
    """
    if not path.is_file():
        raise FileError("no such file")
    splits: dict[str, Split] = {}
    for number, row in read_csv_rows(path, limits or Limits()):
        missing = [column for column in _COLUMNS[:2] if column not in row]
        if missing:
            raise DataError(f"{path.name} must have the columns {', '.join(_COLUMNS)}; {missing[0]} is missing")
        name = row["file"]
        where = f"{path.name}, line {number:,}"
        if name in splits:
            raise DataError(f"{where}: {printable(name)} is listed a second time; remove one of the lines")
        splits[name] = split_of(row["split"], where=where)
    return splits


def _cell(labels: tuple[str, ...]) -> str:
    if len(labels) == 1 and not _AMBIGUOUS & set(labels[0]):
        return labels[0]
    return json.dumps(labels, ensure_ascii=False)
