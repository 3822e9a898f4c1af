"""Reads plain arrays: .npy, and .npz with one array or one called "values", perhaps with the names of its axes."""

import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from perceptio.data.failures import as_file_error
from perceptio.data.image_sniffing import read_head
from perceptio.data.items import File, open_file
from perceptio.data.limits import Limits, check_file
from perceptio.data.names import printable
from perceptio.data.point_rows import check_members
from perceptio.errors import FileError

MAX_ARRAY_AXES = 8
_VALUES, _AXES = "values", "axes"
_NPY, _ZIP = b"\x93NUMPY", b"PK\x03\x04"
_SHOWN = 80
_MAX_HEADER_BYTES = 10_000
_MAX_AXIS_NAME_BYTES = 4 * 256


@dataclass(frozen=True)
class ArrayHeader:
    """What a file says of its array before the array is read.

    Attributes:
        axis_names: names of all axes, the channels' among them, or nothing where the file does not say.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    axis_names: tuple[str, ...] = ()


def read_array_header(file: File, limits: Limits) -> ArrayHeader:
    """Returns shape, dtype and axis names of the array in a file.

    Raises:
        FileError: the file is no array, holds several, objects or complex numbers, or is larger than the limits allow.
        OSError: the disk or the network failed.
    """
    size = check_file(file, None, limits)
    with _array_errors(), open_file(file) as stream:
        if read_head(file).startswith(_NPY):
            header = _checked(_npy_header(stream), limits)
            _check_length(header, size - stream.tell())
            return header
        with zipfile.ZipFile(stream) as archive:
            check_members(archive, limits)
            with archive.open(_member(archive)) as member:
                return _checked(_npy_header(member), limits, _axis_names(archive))


def read_array(file: File, limits: Limits) -> np.ndarray:
    """Returns the array of a file as float32; raises as `read_array_header`, and for NaN and infinite values."""
    read_array_header(file, limits)
    with _array_errors(), open_file(file) as stream:
        if read_head(file).startswith(_NPY):
            found = np.lib.format.read_array(stream, allow_pickle=False)
        else:
            with zipfile.ZipFile(stream) as archive, archive.open(_member(archive)) as member:
                found = np.lib.format.read_array(member, allow_pickle=False)
    values: np.ndarray = found.astype(np.float32)
    if not np.isfinite(values).all():
        raise FileError("holds values that are not a number or infinite; replace them, or leave the sample out")
    return values


@contextmanager
def _array_errors() -> Iterator[None]:
    try:
        yield
    except FileError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise as_file_error(error) from error
        # numpy and zipfile raise ValueError, EOFError, BadZipFile, struct.error and others, depending on the bytes.
        raise FileError(
            f"damaged, or no .npy or .npz file: {printable(' '.join(str(error).split()))[:_SHOWN]}"
        ) from error


def _npy_header(file: Any) -> ArrayHeader:
    version = np.lib.format.read_magic(file)
    # NumPy would read a header of any length before it looks how long it is.
    field = file.read(2 if version == (1, 0) else 4)
    if int.from_bytes(field, "little") > _MAX_HEADER_BYTES:
        raise FileError(
            f"declares a header of {int.from_bytes(field, 'little'):,} bytes; {_MAX_HEADER_BYTES:,} suffice"
        )
    file.seek(-len(field), 1)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    return ArrayHeader(tuple(shape), dtype)


def _member(archive: zipfile.ZipFile) -> str:
    arrays = [name for name in archive.namelist() if name.endswith(".npy") and name != f"{_AXES}.npy"]
    if f"{_VALUES}.npy" in arrays:
        return f"{_VALUES}.npy"
    if len(arrays) != 1:
        shown = ", ".join(printable(name.removesuffix(".npy")) for name in arrays[:4]) or "none"
        raise FileError(f'must hold one array, or one called "values"; it holds {len(arrays)}: {shown}')
    return arrays[0]


def _axis_names(archive: zipfile.ZipFile) -> tuple[str, ...]:
    if f"{_AXES}.npy" not in archive.namelist():
        return ()
    with archive.open(f"{_AXES}.npy") as member:
        header = _npy_header(member)
        is_list = header.dtype.kind == "U" and len(header.shape) == 1
        if not is_list or header.shape[0] > MAX_ARRAY_AXES or header.dtype.itemsize > _MAX_AXIS_NAME_BYTES:
            raise FileError(f'"axes" must be a list of names, one an axis; it is {header.dtype} {header.shape}')
    with archive.open(f"{_AXES}.npy") as member:
        return tuple(str(name) for name in np.lib.format.read_array(member, allow_pickle=False))


def _check_length(header: ArrayHeader, num_bytes: int) -> None:
    needed = math.prod(header.shape) * header.dtype.itemsize
    if needed > num_bytes:
        raise FileError(f"truncated NumPy file: it declares {needed:,} bytes and holds {num_bytes:,}")


def _checked(header: ArrayHeader, limits: Limits, axis_names: tuple[str, ...] = ()) -> ArrayHeader:
    if header.dtype.hasobject:
        raise FileError("holds Python objects, which are not read for safety; store plain numbers")
    if header.dtype.kind == "c":
        raise FileError("holds complex numbers; store real and imaginary parts as two channels")
    if header.dtype.kind not in "biuf":
        raise FileError(f"holds {header.dtype}, not numbers")
    if not 1 <= len(header.shape) <= MAX_ARRAY_AXES or 0 in header.shape:
        raise FileError(f"must have 1 to {MAX_ARRAY_AXES} axes of at least one value; its shape is {header.shape}")
    num_bytes = 4 * int(np.prod(header.shape, dtype=object))
    if num_bytes > limits.max_array_bytes:
        raise FileError(
            f"takes {num_bytes:,} bytes as float32; the limit is {limits.max_array_bytes:,} "
            "(--source.limits.max-array-bytes)"
        )
    if axis_names and len(axis_names) != len(header.shape):
        raise FileError(f'"axes" names {len(axis_names)} axes, but the array has {len(header.shape)}')
    return ArrayHeader(header.shape, header.dtype, axis_names)
