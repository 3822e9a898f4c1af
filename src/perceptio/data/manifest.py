"""Reads a manifest: a table that lists files with their labels, and perhaps their split and group."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from perceptio.data.limits import Limits, check_file
from perceptio.data.manifest_cells import cell_labels, cell_text, relative_name
from perceptio.data.manifest_rows import TEXT_ROW_READERS, Row, Rows
from perceptio.data.names import check_classes, printable, split_of, suffix_of
from perceptio.data.parquet_rows import read_parquet_rows
from perceptio.data.records import FileSource, Record, sort_records
from perceptio.errors import DataError, FileError, UsageError, nearest

MANIFEST_SUFFIXES = (*TEXT_ROW_READERS, ".parquet")

_FILE_COLUMNS = ("file", "path", "file_name", "image")
_LABEL_COLUMNS = ("label", "labels")
_KNOWN_COLUMNS = (*_FILE_COLUMNS, *_LABEL_COLUMNS, "split", "group")
_TYPO_LIKENESS = 0.75


@dataclass(frozen=True, kw_only=True)
class _Columns:
    """Which columns of a manifest hold what."""

    files: tuple[str, ...]
    label: str
    split: str | None
    group: str | None
    ignored: tuple[str, ...]

    @property
    def multi_label(self) -> bool:
        return self.label == "labels"


def read_manifest(path: Path, limits: Limits, part_columns: Sequence[str] = ()) -> FileSource:
    """Reads a CSV, JSONL or Parquet manifest. Its paths are relative to the folder that it lies in.

    Columns: `file` (or `path`, `file_name`, `image`); `label` for one class, or `labels` for any number of them, as a
    JSON list or separated by "|" or ";"; optional `split` (train, val, test) and `group`. Others are ignored.

    A sample may be made of several files: without `file`, `path` and `file_name`, each of several columns called after
    a kind of file, such as `image` and `audio`, holds one part of the sample. An empty cell: the sample lacks it. A
    sample bears the name of the first file in its row.

    Args:
        part_columns: names that columns of parts may have.

    Raises:
        DataError: a column is missing or mistyped, a path leads out of the folder, a file is listed twice, a label is
            missing, a row has no file, or the table itself is damaged. The message names the line.
        UsageError: the suffix is none of .csv, .jsonl, .parquet.
    """
    columns: _Columns | None = None
    lines: dict[str, int] = {}
    records = []
    for number, row in _rows_of(path, limits, part_columns):
        if columns is None or suffix_of(path.name) == ".jsonl":
            columns = _find_columns(tuple(row), path.name, columns, part_columns)
        where = f"{path.name}, line {number:,}"
        record = _record(row, columns, where, limits)
        if record.name in lines:
            raise DataError(
                f"{where}: {printable(record.name)} is listed a second time (first in line {lines[record.name]:,}); "
                "list each file once, with several labels in a column labels"
            )
        lines[record.name] = number
        records.append(record)
    if columns is None:
        raise DataError(f"{path.name} lists no files; it needs a row for each, with columns file and label")
    classes = check_classes((label for record in records for label in record.labels), limits, where=path.name)
    return FileSource(
        records=sort_records(records),
        classes=classes,
        multi_label=columns.multi_label,
        notes=_notes(path.name, columns, records),
        root=path.parent,
    )


def is_manifest(name: str) -> bool:
    """Whether a file of this name is read as a table of files."""
    return suffix_of(name) in MANIFEST_SUFFIXES


def read_parts(path: Path, limits: Limits, part_columns: Sequence[str] = ()) -> Iterator[Mapping[str, Path]]:
    """Yields which files make each sample of a manifest, by column, in its order; other columns need not be there.

    Raises:
        DataError: as `read_manifest`, for what concerns files.
        UsageError: as `read_manifest`.
    """
    for number, row in _rows_of(path, limits, part_columns):
        names = tuple(row)
        files, possible = _file_columns(names, path.name, part_columns)
        if not files:
            raise _no_column((*_FILE_COLUMNS, *possible), names, path.name, "the file")
        parts = _parts(row, files, f"{path.name}, line {number:,}", limits)
        yield {column: path.parent / name for column, name in parts}


def _rows_of(path: Path, limits: Limits, part_columns: Sequence[str]) -> Rows:
    suffix = suffix_of(path.name)
    if not is_manifest(path.name):
        raise UsageError(f"{path.name} is no manifest; it must end in {', '.join(MANIFEST_SUFFIXES)}")
    try:
        check_file(path, None, limits)
    except FileError as error:
        raise DataError(f"{path.name}: {error}") from error
    if suffix == ".parquet":
        rows = read_parquet_rows(path, limits, dict.fromkeys((*_KNOWN_COLUMNS, *part_columns)))
    else:
        rows = TEXT_ROW_READERS[suffix](path, limits)
    for count, row in enumerate(rows, start=1):
        if count > limits.max_manifest_rows:
            raise DataError(
                f"{path.name} has more than {limits.max_manifest_rows:,} rows (--source.limits.max-manifest-rows)"
            )
        yield row


def _find_columns(names: Sequence[str], table: str, before: _Columns | None, part_columns: Sequence[str]) -> _Columns:
    """Finds the columns. A name that is almost a known one is an error: it would be silently ignored otherwise."""
    files, possible = _file_columns(names, table, part_columns)
    known_columns = (*_KNOWN_COLUMNS, *possible)
    unknown = [name for name in names if name not in known_columns]
    for name in unknown:
        free = [known for known in known_columns if known not in names]
        if difflib.get_close_matches(name.lower(), free, n=1, cutoff=_TYPO_LIKENESS):
            raise DataError(
                f"{table}: unknown column {printable(name)!r}.{nearest(name.lower(), free)} Rename or remove it"
            )
    if not files:
        raise _no_column((*_FILE_COLUMNS, *possible), names, table, "the file")
    columns = _Columns(
        files=files,
        label=_the_one(_LABEL_COLUMNS, names, table, "the class"),
        split="split" if "split" in names else None,
        group="group" if "group" in names else None,
        ignored=tuple(sorted({*unknown, *(before.ignored if before else ())})),
    )
    if before is not None and before.label != columns.label:
        raise DataError(f"{table}: some lines have label and others labels; use one of them in all lines")
    if before is not None and set(before.files) != set(columns.files) and len(before.files) + len(columns.files) > 2:
        raise DataError(
            f"{table}: some lines have {' and '.join(before.files)} and others {' and '.join(columns.files)}; name the "
            "same in all lines, with null where a file is missing"
        )
    return columns


def _file_columns(
    names: Sequence[str], table: str, part_columns: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Returns the columns that hold files, and names of parts that they might have had besides `_FILE_COLUMNS`.

    A plain file column stands alone. Without one, columns of parts do; a single one is as good as a plain one.
    """
    plain = [name for name in _FILE_COLUMNS if name in names]
    if any(name not in part_columns for name in plain):
        return (_the_one(_FILE_COLUMNS, names, table, "the file"),), ()
    possible = tuple(name for name in part_columns if name not in _FILE_COLUMNS)
    return tuple(name for name in names if name in plain or name in possible), possible


def _the_one(wanted: Sequence[str], names: Sequence[str], table: str, what: str) -> str:
    present = [name for name in wanted if name in names]
    if len(present) == 1:
        return present[0]
    if present:
        raise DataError(f"{table}: {' and '.join(present)} both say {what}; keep one of these columns")
    raise _no_column(wanted, names, table, what)


def _no_column(wanted: Sequence[str], names: Sequence[str], table: str, what: str) -> DataError:
    return DataError(
        f"{table}: no column says {what}; it must be called {' or '.join(wanted)}. Columns found: "
        f"{', '.join(printable(name) for name in names) or 'none'}"
    )


def _record(row: Row, columns: _Columns, where: str, limits: Limits) -> Record:
    labels = cell_labels(row.get(columns.label), where) if columns.multi_label else (cell_text(row.get(columns.label)),)
    if not all(labels):
        raise DataError(f"{where}: no {columns.label[:5]}; every file needs one")
    split = cell_text(row.get(columns.split)) if columns.split else ""
    group = cell_text(row.get(columns.group)) if columns.group else ""
    for text in (*labels, group):
        if len(text) > limits.max_name_characters:
            raise DataError(
                f"{where}: a name of {len(text):,} characters; the limit is {limits.max_name_characters} "
                "(--source.limits.max-name-characters)"
            )
    parts = _parts(row, columns.files, where, limits)
    return Record(
        name=parts[0][1],
        labels=labels,
        split=split_of(split, where=where) if split else None,
        group=group or None,
        parts=parts if len(columns.files) > 1 else (),
    )


def _parts(row: Row, columns: Sequence[str], where: str, limits: Limits) -> tuple[tuple[str, str], ...]:
    """Returns column and name of each file in a row."""
    cells = {column: cell_text(row.get(column)) for column in columns}
    parts = tuple((column, relative_name(cell, where, limits)) for column, cell in cells.items() if cell)
    if not parts:
        place = f", in one of the columns {', '.join(columns)}" if len(columns) > 1 else ""
        raise DataError(f"{where}: no file; every row needs one{place}")
    return parts


def _notes(table: str, columns: _Columns, records: list[Record]) -> tuple[str, ...]:
    what = f"samples of {' and '.join(columns.files)}" if len(columns.files) > 1 else "files"
    notes = [f"{len(records):,} {what} listed in {table}"]
    if columns.ignored:
        notes.append(f"columns ignored: {', '.join(printable(name) for name in columns.ignored)}")
    if columns.split:
        given = sorted({record.split for record in records if record.split})
        notes.append(f"splits given: {', '.join(given) or 'none'}")
    return tuple(notes)
