"""Streams the rows of a CSV or JSONL file, within the limits and without ever holding the whole file."""

import csv
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, TypeAlias

from perceptio.data.limits import Limits
from perceptio.errors import DataError
from perceptio.json_values import parse_json

Row: TypeAlias = Mapping[str, Any]
Rows: TypeAlias = Iterator[tuple[int, Row]]

_DELIMITERS = ",;\t"


def _lines(file: IO[bytes], name: str, limits: Limits) -> Iterator[str]:
    """Yields the lines of a text file; none is read further than the limit allows."""
    number = 0
    while line := file.readline(limits.max_manifest_line_bytes + 1):
        number += 1
        if len(line) > limits.max_manifest_line_bytes:
            raise DataError(
                f"{name}, line {number:,}: longer than {limits.max_manifest_line_bytes:,} bytes "
                "(--source.limits.max-manifest-line-bytes)"
            )
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"{name}, line {number:,}: not valid UTF-8; save the file as UTF-8") from error
        if "\0" in text:
            raise DataError(f"{name}, line {number:,}: holds a zero byte; this is not a text file")
        yield text


def check_columns(columns: list[str], name: str, limits: Limits) -> None:
    """Raises DataError where there are too many columns, or two of one name."""
    if len(columns) > limits.max_manifest_columns:
        raise DataError(
            f"{name} has {len(columns):,} columns; the limit is {limits.max_manifest_columns} "
            "(--source.limits.max-manifest-columns)"
        )
    repeated = sorted({column for column in columns if columns.count(column) > 1})
    if repeated:
        raise DataError(f"{name} has two columns called {repeated[0]!r}; each name may stand once")


def read_csv_rows(path: Path, limits: Limits) -> Rows:
    """Yields (line number, row) of a CSV file whose first line names the columns; comma, semicolon or tab.

    Raises:
        DataError: a line is no CSV, or more than the limits allow.
    """
    with path.open("rb") as file:
        lines = _lines(file, path.name, limits)
        header = next(lines, "")
        # Spreadsheets of some countries write semicolons. The header decides: column names hold no delimiter.
        delimiter = max(_DELIMITERS, key=lambda mark: (header.count(mark), -_DELIMITERS.index(mark)))
        try:
            columns = [column.strip() for column in next(csv.reader([header], delimiter=delimiter), [])]
        except csv.Error as error:
            raise DataError(f"{path.name}, line 1: not valid CSV ({error})") from error
        check_columns(columns, path.name, limits)
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        try:
            for cells in reader:
                number = reader.line_num + 1
                if not cells:
                    continue
                if len(cells) != len(columns):
                    raise DataError(
                        f"{path.name}, line {number:,}: {len(cells)} cells, but the first line names {len(columns)} "
                        'columns; put text that holds a comma between "quotes"'
                    )
                yield number, dict(zip(columns, cells, strict=True))
        except csv.Error as error:
            raise DataError(f"{path.name}, line {reader.line_num + 1:,}: not valid CSV ({error})") from error


def read_jsonl_rows(path: Path, limits: Limits) -> Rows:
    """Yields (line number, row) of a file with one JSON object a line.

    Raises:
        DataError: a line is no JSON object, or more than the limits allow.
    """
    with path.open("rb") as file:
        for number, line in enumerate(_lines(file, path.name, limits), start=1):
            if not line.strip():
                continue
            try:
                row = parse_json(line)
            except ValueError as error:
                raise DataError(f"{path.name}, line {number:,}: not valid JSON ({error})") from error
            if not isinstance(row, dict):
                raise DataError(f'{path.name}, line {number:,}: must be an object such as {{"file": .., "label": ..}}')
            check_columns(list(row), f"{path.name}, line {number:,}", limits)
            yield number, row


TEXT_ROW_READERS: dict[str, Callable[[Path, Limits], Rows]] = {
    ".csv": read_csv_rows,
    ".jsonl": read_jsonl_rows,
}
