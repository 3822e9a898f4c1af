"""The rows of a Parquet file, decoded in a child process: the decoder is a C++ library, which a file may crash.

Only columns that a manifest may have are decoded; a table may hold pictures besides, which nobody asked for.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from perceptio.data.children import Allowance, Children
from perceptio.data.limits import Limits
from perceptio.data.manifest_cells import plain_number
from perceptio.data.manifest_rows import Rows, check_columns
from perceptio.errors import DataError, FileError, MissingExtraError

_HEADER = -1
_NONSENSE = "its decoder answers nonsense"

Cell: TypeAlias = str | int | list[str | int | None] | None


@dataclass(frozen=True)
class ParquetReader:
    """Decodes one part of a Parquet file; runs in a child process.

    Attributes:
        wanted: names of columns to decode.
    """

    path: str
    wanted: tuple[str, ...]

    def __call__(self, part: int) -> dict[str, Any]:
        """Returns names of columns, numbers of rows and row groups (part -1), or the cells of one row group by column.

        Raises:
            DataError: the file is no Parquet file.
            MissingExtraError: pyarrow is not installed, or its libraries do not load.
            OSError: the disk failed.
        """
        try:
            import pyarrow
            import pyarrow.parquet
        except (ImportError, OSError, RuntimeError) as error:
            raise MissingExtraError("reading Parquet files", "tables") from error
        try:
            with pyarrow.parquet.ParquetFile(self.path) as table:
                names = list(table.schema_arrow.names)
                if part == _HEADER:
                    return {"columns": names, "row_groups": table.num_row_groups, "rows": table.metadata.num_rows}
                kept = [name for name in self.wanted if name in names]
                group = table.read_row_group(part, columns=kept, use_threads=False)
                cells = {name: [_plain(value) for value in group.column(name).to_pylist()] for name in kept}
                return {"num_rows": group.num_rows if kept else table.metadata.row_group(part).num_rows, "cells": cells}
        except Exception as error:
            if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno is not None):
                raise
            # Of a damaged file pyarrow also raises OSError (without a number), UnicodeDecodeError and others.
            reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
            raise DataError(f"{Path(self.path).name}: not a valid Parquet file ({reason})") from error


def read_parquet_rows(path: Path, limits: Limits, wanted: Collection[str]) -> Rows:
    """Yields (row number, row) of a Parquet file, row group by row group; columns that nobody wants are None.

    Raises:
        DataError: it is none, more than the limits allow, or it kills its decoder.
        MissingExtraError: pyarrow is not installed, or its libraries do not load.
        OSError: the disk failed.
    """
    allowance = Allowance(
        seconds=limits.max_file_seconds,
        memory_bytes=limits.max_decode_bytes,
        options=("--source.limits.max-file-seconds", "--source.limits.max-decode-bytes"),
    )
    with Children(ParquetReader(str(path), tuple(wanted)), allowance, num_children=1, most_ahead=1) as children:

        def ask(parts: Collection[int]) -> Iterator[Any]:
            for answer in children.map(parts):
                if isinstance(answer, FileError):
                    raise DataError(f"{path.name}: {answer}") from answer
                yield answer

        (header,) = ask([_HEADER])
        columns, num_groups, num_rows = _header_of(header, path.name)
        if num_rows > limits.max_manifest_rows:
            raise DataError(
                f"{path.name} has {num_rows:,} rows; the limit is {limits.max_manifest_rows:,} "
                "(--source.limits.max-manifest-rows)"
            )
        check_columns(columns, path.name, limits)
        nothing = dict.fromkeys(columns)
        number = 0
        for answer in ask(range(num_groups)):
            for row in _rows_of(answer, path.name):
                number += 1
                yield number, {**nothing, **row}


def _plain(value: Any) -> Cell:
    """Returns a cell as JSON has it; dates and the like as text."""
    return [_plain_item(item) for item in value] if isinstance(value, list) else _plain_item(value)


def _plain_item(value: Any) -> str | int | None:
    plain: Any = plain_number(value) if isinstance(value, float) else value
    if isinstance(plain, bytes):
        plain = plain.decode("utf-8")  # text in a column of bytes, as older writers leave it
    return plain if plain is None or type(plain) in (str, int) else str(plain)


def _header_of(answer: Any, name: str) -> tuple[list[str], int, int]:
    match answer:
        case {"columns": [*columns], "row_groups": int(num_groups), "rows": int(num_rows)} if all(
            isinstance(column, str) for column in columns
        ):
            return columns, num_groups, num_rows
    raise DataError(f"{name}: {_NONSENSE}")


def _rows_of(answer: Any, name: str) -> Iterator[Mapping[str, Cell]]:
    """Yields the rows of an answer. A child that a file took over may answer anything; a row is then what cells are."""
    match answer:
        case {"num_rows": int(number), "cells": dict(cells)} if all(
            isinstance(column, list) and len(column) == number and all(map(_is_cell, column))
            for column in cells.values()
        ):
            for index in range(number):
                yield {str(column): values[index] for column, values in cells.items()}
        case _:
            raise DataError(f"{name}: {_NONSENSE}")


def _is_cell(value: Any) -> bool:
    if isinstance(value, list):
        return all(item is None or isinstance(item, str | int) for item in value)
    return value is None or isinstance(value, str | int)
