"""Answers of child processes as bytes that are safe to read: JSON, and the plain numbers of arrays behind it.

A child reads hostile files. Whoever took it over could send a pickle that runs code in the process that opens it; here
there is nothing to run.
"""

import json
import math
import re
from typing import Any

import numpy as np

_ARRAY = "\0array"
_LENGTH_BYTES = 8
_MOST_AXES = 32
# Only names like these reach NumPy, which would evaluate others.
_KIND = re.compile(r"[<>|=]?[biuf][1-9]\d?")


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
        name, shape = part[_ARRAY]
        if not _KIND.fullmatch(name) or len(shape) > _MOST_AXES or not all(type(n) is int and n >= 0 for n in shape):
            raise ValueError("an array of no kind that is sent")
        kind, size = np.dtype(name), math.prod(shape)
        if start + size * kind.itemsize > len(content):
            raise ValueError("an array that does not fit into its answer")
        array = np.frombuffer(content, kind, count=size, offset=start).reshape(shape)
        start += size * kind.itemsize
        return array

    try:
        return json.loads(content[_LENGTH_BYTES:start], object_hook=restored)
    except (ValueError, KeyError, IndexError, TypeError, RecursionError) as error:
        raise ValueError(f"not an answer of a child process: {error}") from error
