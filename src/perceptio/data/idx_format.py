"""The IDX format itself: a header of big-endian sizes, then bytes."""

import gzip
import io
import struct
import zlib
from pathlib import Path

import numpy as np

from perceptio.data.failures import as_file_error
from perceptio.data.limits import Limits, check_file
from perceptio.errors import DataError, FileError

_UNSIGNED_BYTES = 0x0800


def find_idx(folder: Path, stem: str) -> Path | None:
    """Returns the IDX file of that name, gzipped or plain, or None."""
    for name in (f"{stem}.gz", stem, stem.replace("-idx", ".idx")):
        if (folder / name).is_file():
            return folder / name
    return None


def count_images(path: Path, limits: Limits) -> int:
    """Returns how many images a file declares, from its header alone."""
    with _open(path, limits) as file:
        return _sizes(file, path.name, 3, limits)[0]


def read_array(path: Path, num_axes: int, limits: Limits) -> np.ndarray:
    """Reads a whole IDX file: bytes of the declared shape.

    Raises:
        DataError: the file is damaged, truncated, or declares more or less than it holds or than the limits allow.
    """
    try:
        with _open(path, limits) as file:
            sizes = _sizes(file, path.name, num_axes, limits)
            size = int(np.prod(sizes, dtype=np.int64))
            # One byte more than declared, so that surplus is seen without unpacking a bomb.
            content = file.read(size + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path.name}: truncated or damaged gzip file ({error})") from error
    if len(content) != size:
        found = "more" if len(content) > size else f"{len(content):,}"
        raise DataError(f"{path.name}: its header declares {size:,} bytes of content, but it holds {found}")
    return np.frombuffer(content, np.uint8).reshape(sizes)


def _open(path: Path, limits: Limits) -> io.BufferedIOBase:
    try:
        check_file(path, None, limits)
        return gzip.GzipFile(path) if path.suffix == ".gz" else path.open("rb")
    except FileError as error:
        raise DataError(f"{path.name}: {error}") from error
    except OSError as error:
        raise DataError(f"{path.name}: {as_file_error(error)}") from error


def _sizes(file: io.BufferedIOBase, name: str, num_axes: int, limits: Limits) -> tuple[int, ...]:
    length = 4 * (1 + num_axes)
    try:
        header = file.read(length)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{name}: truncated or damaged gzip file ({error})") from error
    if len(header) < length:
        raise DataError(f"{name}: truncated, its header needs {length} bytes and it has {len(header)}")
    magic, *sizes = struct.unpack(f">{1 + num_axes}I", header)
    if magic != _UNSIGNED_BYTES + num_axes:
        raise DataError(f"{name}: not an IDX file of bytes with {num_axes} axes; it begins with {header[:4].hex(' ')}")
    if 0 in sizes:
        raise DataError(f"{name}: declares the shape {' x '.join(map(str, sizes))}; it holds nothing")
    # Python's integers, since a product of hostile sizes overflows numpy's.
    num_bytes = 1
    for size in sizes:
        num_bytes *= size
    if num_bytes > limits.max_file_bytes or sizes[0] > limits.max_manifest_rows:
        raise DataError(
            f"{name}: declares {' x '.join(f'{size:,}' for size in sizes)} bytes; the limits are "
            f"{limits.max_file_bytes:,} bytes (--source.limits.max-file-bytes) and {limits.max_manifest_rows:,} rows "
            "(--source.limits.max-manifest-rows)"
        )
    return tuple(sizes)
