"""The cells of a manifest: text, lists of labels, paths."""

import math
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any

from perceptio.data.limits import Limits
from perceptio.data.names import bytewise, printable
from perceptio.errors import DataError
from perceptio.json_values import parse_json

_LARGEST_EXACT = 2**53


def cell_text(value: Any) -> str:
    """Returns a cell as text; numbers, such as classes 0 to 9, are named by their digits, a whole 1.0 as 1."""
    plain = plain_number(value) if isinstance(value, float) else value
    return "" if plain is None else str(plain).strip()


def plain_number(value: float) -> int | float | None:
    """Returns a whole number as such, and NaN as None: tables hold 1.0 and NaN where some row of integers has none."""
    if math.isnan(value):
        return None
    return int(value) if value.is_integer() and abs(value) < _LARGEST_EXACT else value


def cell_labels(value: Any, where: str) -> tuple[str, ...]:
    """Returns the labels in a cell that holds text, a list, a single value, or nothing."""
    if value is None:
        return ()
    if isinstance(value, str):
        return split_labels(value, where=where)
    items: Iterable[Any] = value if isinstance(value, list | tuple) else [value]
    return tuple(dict.fromkeys(cell_text(item) for item in items))


def split_labels(text: str, *, where: str) -> tuple[str, ...]:
    """Returns the labels in a cell: a JSON list of strings, or names separated by "|" or ";". Empty means none.

    Raises:
        DataError: the cell begins like a JSON list but is none.
    """
    text = text.strip()
    if not text:
        return ()
    if text.startswith("["):
        try:
            items = parse_json(text)
        except ValueError as error:
            raise DataError(f"{where}: labels begin with '[' but are no JSON list: {printable(text[:60])}") from error
        if not all(isinstance(item, str | int) for item in items):
            raise DataError(f"{where}: labels must be a JSON list of names: {printable(text[:60])}")
        return tuple(dict.fromkeys(cell_text(item) for item in items))
    return tuple(dict.fromkeys(part.strip() for part in text.replace(";", "|").split("|") if part.strip()))


def relative_name(text: str, where: str, limits: Limits) -> str:
    r"""Returns a path of the manifest in its one form: relative, with "/", without ".". "\" is taken for "/".

    Raises:
        DataError: the path is absolute, leads out of the manifest's folder or is longer than a field may be.
    """
    num_bytes = len(bytewise(text))
    if num_bytes > limits.max_manifest_field_bytes:
        raise DataError(
            f"{where}: a path of {num_bytes:,} bytes; the limit is {limits.max_manifest_field_bytes:,} "
            "(--source.limits.max-manifest-field-bytes)"
        )
    path = PurePosixPath(text.replace("\\", "/"))
    if path.is_absolute() or (len(text) > 1 and text[1] == ":"):
        raise DataError(
            f"{where}: {printable(text[:80])} is an absolute path; write it relative to the manifest's folder"
        )
    if ".." in path.parts or not path.parts:
        raise DataError(
            f"{where}: {printable(text[:80])} leads out of the manifest's folder; move the manifest above its files"
        )
    return str(path)
