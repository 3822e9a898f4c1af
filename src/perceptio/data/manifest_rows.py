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


class Lines:
    """The lines of a text file as an iterator; no row of them is read further than the limit allows.

    A row is a line, or several where a cell in quotes holds line breaks: call `end_row` behind each.

    Attributes:
        number: of the last line, from 1.
    """

    def __init__(self, file: IO[bytes], name: str, limits: Limits) -> None:
        self.number = 0
        self._file = file
        self._name = name
        self._most_bytes = limits.max_manifest_line_bytes
        self._row_bytes = 0

    def __iter__(self) -> "Lines":
        return self

    def __next__(self) -> str:
        line = self._file.readline(self._most_bytes + 1)
        if not line:
            raise StopIteration
        self.number += 1
        self._row_bytes += len(line)
        where = f"{self._name}, line {self.number:,}"
        if self._row_bytes > self._most_bytes:
            raise DataError(
                f"{where}: longer than {self._most_bytes:,} bytes (--source.limits.max-manifest-line-bytes)"
            )
        try:
            text = line.decode("utf-8-sig" if self.number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"{where}: not valid UTF-8; save the file as UTF-8") from error
        if "\0" in text:
            raise DataError(f"{where}: holds a zero byte; this is not a text file")
        return text

    def end_row(self) -> None:
        """Lets the next line begin a row."""
        self._row_bytes = 0


def csv_cells(
    lines: Lines, name: str, *, delimiter: str = ",", skip_spaces: bool = False, strict: bool = False
) -> Iterator[list[str]]:
    """Yields the cells of each row.

    Args:
        skip_spaces: spaces at the beginning of a cell are none of it.
        strict: quotes must be where they belong.

    Raises:
        DataError: a line is no CSV, or more than the limits allow.
    """
    try:
        for cells in csv.reader(lines, delimiter=delimiter, skipinitialspace=skip_spaces, strict=strict):
            lines.end_row()
            yield cells
    except csv.Error as error:
        raise DataError(f"{name}, line {lines.number:,}: not valid CSV ({error})") from error


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
        lines = Lines(file, path.name, limits)
        header = next(lines, "")
        # Spreadsheets of some countries write semicolons. The header decides: column names hold no delimiter.
        delimiter = max(_DELIMITERS, key=lambda mark: (header.count(mark), -_DELIMITERS.index(mark)))
        try:
            columns = [column.strip() for column in next(csv.reader([header], delimiter=delimiter), [])]
        except csv.Error as error:
            raise DataError(f"{path.name}, line 1: not valid CSV ({error})") from error
        check_columns(columns, path.name, limits)
        lines.end_row()
        for cells in csv_cells(lines, path.name, delimiter=delimiter, strict=True):
            if not cells:
                continue
            if len(cells) != len(columns):
                raise DataError(
                    f"{path.name}, line {lines.number:,}: {len(cells)} cells, but the first line names {len(columns)} "
                    'columns; put text that holds a comma between "quotes"'
                )
            yield lines.number, dict(zip(columns, cells, strict=True))


def read_jsonl_rows(path: Path, limits: Limits) -> Rows:
    """Yields (line number, row) of a file with one JSON object a line.

    Raises:
        DataError: a line is no JSON object, or more than the limits allow.
    """
    with path.open("rb") as file:
        lines = Lines(file, path.name, limits)
        for line in lines:
            lines.end_row()
            if not line.strip():
                continue
            where = f"{path.name}, line {lines.number:,}"
            try:
                row = parse_json(line)
            except ValueError as error:
                raise DataError(f"{where}: not valid JSON ({error})") from error
            if not isinstance(row, dict):
                raise DataError(f'{where}: must be an object such as {{"file": .., "label": ..}}')
            check_columns(list(row), where, limits)
            yield lines.number, row


TEXT_ROW_READERS: dict[str, Callable[[Path, Limits], Rows]] = {
    ".csv": read_csv_rows,
    ".jsonl": read_jsonl_rows,
}
