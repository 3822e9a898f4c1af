"""What a safetensors file says of its tensors, read and checked before memory is taken for any of them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from perceptio.json_values import parse_json

MAX_HEADER_BYTES = 8 * 2**20
MAX_TENSORS = 20_000

_LENGTH_BYTES = 8
_MOST_AXES = 64  # as torch has it; the product of a million lengths would take minutes
_ITEM_BYTES = {
    **{"BOOL": 1, "U8": 1, "I8": 1, "U16": 2, "I16": 2, "U32": 4, "I32": 4, "U64": 8, "I64": 8},
    **{"F8_E4M3": 1, "F8_E5M2": 1, "F16": 2, "BF16": 2, "F32": 4, "F64": 8},
}


@dataclass(frozen=True)
class TensorHeader:
    """The header of a safetensors file.

    Attributes:
        tensors: (dtype as the format names it, such as F32, and shape) by name.
        entries: the texts that the file says besides.
    """

    tensors: Mapping[str, tuple[str, tuple[int, ...]]]
    entries: Mapping[str, str]


def read_tensor_header(path: Path) -> TensorHeader:
    """Reads the header of a file.

    Raises:
        ValueError: the file is no safetensors file, damaged, or beyond the limits. One line.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        return _parsed(file, path.stat().st_size)


def _parsed(file: BinaryIO, size: int) -> TensorHeader:
    start = file.read(_LENGTH_BYTES)
    length = int.from_bytes(start, "little")
    if len(start) < _LENGTH_BYTES or length > size - _LENGTH_BYTES:
        raise ValueError(
            f"no safetensors file, or one that is cut off: {size:,} bytes, its header alone needs {length:,}"
        )
    if length > MAX_HEADER_BYTES:
        raise ValueError(f"its header declares {length:,} bytes; the limit is {MAX_HEADER_BYTES:,}")
    header = parse_json(file.read(length))
    if not isinstance(header, dict):
        raise ValueError("its header is no JSON object")
    entries = header.pop("__metadata__", {})
    if not isinstance(entries, dict) or not all(isinstance(text, str) for text in entries.values()):
        raise ValueError("its header's entries are no texts")
    if len(header) > MAX_TENSORS:
        raise ValueError(f"it holds {len(header):,} tensors; the limit is {MAX_TENSORS:,}")
    spans = {name: _span(name, entry) for name, entry in header.items()}
    end = 0
    for name, (_, _, begin, stop) in sorted(spans.items(), key=lambda item: item[1][2:]):
        if begin != end:
            raise ValueError(f"the bytes of the tensor {name[:80]!a} overlap with others or leave a gap")
        end = stop
    if end != size - _LENGTH_BYTES - length:
        raise ValueError(f"it holds {size - _LENGTH_BYTES - length:,} bytes of tensors; its header declares {end:,}")
    return TensorHeader({name: (kind, shape) for name, (kind, shape, _, _) in spans.items()}, entries)


def _span(name: str, entry: Any) -> tuple[str, tuple[int, ...], int, int]:
    """Returns dtype, shape, and where the bytes of a tensor begin and end."""
    match entry:
        case {"dtype": str(kind), "shape": list(shape), "data_offsets": [int(begin), int(end)]} if (
            kind in _ITEM_BYTES
            and len(shape) <= _MOST_AXES
            and all(type(length) is int and length >= 0 for length in shape)
        ):
            if 0 <= begin <= end and end - begin == math.prod(shape) * _ITEM_BYTES[kind]:
                return kind, tuple(shape), begin, end
    raise ValueError(f"the header's entry of the tensor {name[:80]!a} makes no sense")
