"""JSON as the standard has it: no NaN, no infinity; read with care, since a file may be anybody's."""

import json
import math
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

MAX_JSON_BYTES = 16 * 2**20
"""A document, in bytes."""
MAX_JSON_DEPTH = 32
"""Brackets inside each other."""
MAX_JSON_DIGITS = 18
"""Digits of a whole number: 64 bits hold them. Python's own conversion takes time with the square of their number."""

# Strings may hold brackets. One that does not end reaches to the end of the document, and the parser refuses it.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_BRACKET = re.compile(rb"[\[\]{}]")


def finite(value: Any) -> Any:
    """Returns the value with None in place of every float that is not finite, in mappings and lists too."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [finite(part) for part in value]
    return value


def parse_json(content: bytes | str, *, max_bytes: int = MAX_JSON_BYTES) -> Any:
    """Returns the value of a JSON document. Size and nesting are counted before anything is parsed.

    Raises:
        ValueError: not JSON or not UTF-8, larger or deeper than the limits, a key that stands twice, NaN or infinity,
            or a longer whole number than 64 bits hold. One line.
    """
    data = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    if len(data) > max_bytes:
        raise ValueError(f"{len(data):,} bytes of JSON; the limit is {max_bytes:,}")
    _check_depth(data)
    try:
        return json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_mapping,
            parse_constant=_no_constant,
            parse_float=_number,
            parse_int=_whole_number,
        )
    except UnicodeDecodeError as error:
        raise ValueError("not valid UTF-8") from error
    except RecursionError as error:
        raise ValueError(_too_deep()) from error


def _check_depth(data: bytes) -> None:
    depth = 0
    for bracket in _BRACKET.findall(_STRING.sub(b"", data)):
        depth += 1 if bracket in b"[{" else -1
        if depth > MAX_JSON_DEPTH:
            raise ValueError(_too_deep())


def _too_deep() -> str:
    return f"more than {MAX_JSON_DEPTH} brackets inside each other"


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        [(twice, _)] = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"the key {twice[:40]!a} stands twice")
    return found


def _no_constant(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON value")


def _number(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"a number beyond any that is finite: {digits[:40]}")
    return number


def _whole_number(digits: str) -> int:
    num_digits = len(digits.lstrip("-"))
    if num_digits > MAX_JSON_DIGITS:
        raise ValueError(f"a whole number of {num_digits:,} digits; the limit is {MAX_JSON_DIGITS}")
    return int(digits)
