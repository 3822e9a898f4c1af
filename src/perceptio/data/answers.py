"""Answers of child processes as bytes that are safe to read: JSON, and the plain numbers of arrays behind it.

A child reads hostile files. Whoever took it over could send a pickle that runs code in the process that opens it; here
there is nothing to run.
"""

import json
import math
from typing import Any

import numpy as np

_ARRAY = "\0array"
_LENGTH_BYTES = 8
_KINDS = frozenset("biuf")


def pack(value: Any) -> bytes:
    """Returns a tree of mappings, sequences, numbers, texts and numeric arrays as bytes; tuples come back as lists."""
    arrays: list[np.ndarray] = []

    def plain(part: Any) -> Any:
        if isinstance(part, np.ndarray):
            arrays.append(np.ascontiguousarray(part))
            return {_ARRAY: [part.dtype.str, list(part.shape)]}
        raise TypeError(f"{type(part).__name__} cannot be sent from a child process")

    text = json.dumps(value, default=plain).encode()
    return b"".join([len(text).to_bytes(_LENGTH_BYTES, "little"), text, *(array.tobytes() for array in arrays)])


def unpack(content: bytes) -> Any:
    """Returns what was packed; arrays are read-only views of the bytes.

    Raises:
        ValueError: the bytes are not what `pack` makes.
    """
    start = _LENGTH_BYTES + int.from_bytes(content[:_LENGTH_BYTES], "little")

    def restored(part: dict[str, Any]) -> Any:
        nonlocal start
        if _ARRAY not in part:
            return part
        kind, shape = np.dtype(str(part[_ARRAY][0])), tuple(int(length) for length in part[_ARRAY][1])
        size = math.prod(shape)
        if kind.kind not in _KINDS or min(shape, default=0) < 0 or start + size * kind.itemsize > len(content):
            raise ValueError("an array that does not fit into its answer")
        array = np.frombuffer(content, kind, count=size, offset=start).reshape(shape)
        start += size * kind.itemsize
        return array

    try:
        return json.loads(content[_LENGTH_BYTES:start], object_hook=restored)
    except (ValueError, KeyError, IndexError, TypeError, RecursionError) as error:
        raise ValueError(f"not an answer of a child process: {error}") from error
