"""Walks the headers of a tar file, within limits and without unpacking anything.

Python's tarfile follows links, unpacks compressed archives, reads extended headers of any size into memory and has been
made to loop by negative offsets; what is needed here are names, places and sizes.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass

from perceptio.data.limits import Limits
from perceptio.errors import FileError

BLOCK_BYTES = 512
_REGULAR = frozenset({b"0", b"\0", b"7"})
# Kinds whose size field, whatever it says, announces no content.
_WITHOUT_CONTENT = frozenset({b"1", b"2", b"3", b"4", b"5", b"6"})
_NAME, _SIZE, _CHECKSUM, _KIND, _MAGIC, _PREFIX = (
    slice(0, 100),
    slice(124, 136),
    slice(148, 156),
    slice(156, 157),
    slice(257, 263),
    slice(345, 500),
)
_EXTENDED = frozenset({b"x", b"g", b"L", b"K"})
_MOST_EXTENDED = 8
"""Extended headers before one member; tar writes one of each kind at most."""
_SPACES = 8 * ord(" ")
_COMPRESSED = (
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstandard"),
    (b"PK\x03\x04", "zip"),
)


class CutError(FileError):
    """A tar file ends, or falls apart, before its end; what was walked before is sound."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a tar file."""

    name: str
    offset: int
    """Where its content begins."""
    size: int
    """Of its content, in bytes."""
    is_file: bool
    """False: a folder, a link, a device."""


@dataclass(frozen=True, slots=True)
class _Header:
    name: bytes
    size: int
    kind: bytes


def walk_tar(stream: io.BufferedIOBase, num_bytes: int, limits: Limits) -> Iterator[Entry]:
    """Yields the entries of a tar file in their order.

    Args:
        stream: the file, which is read from its beginning and by seeking over content.
        num_bytes: its size.

    Raises:
        CutError: the file ends or falls apart here.
        FileError: it is no plain tar file, or asks for more than the limits allow.
        OSError: the disk or the network failed.
    """
    position = count = num_extended = 0
    long_name: bytes | None = None
    long_size: int | None = None
    while True:
        block = _read(stream, position, BLOCK_BYTES, num_bytes)
        if position == 0:
            _check_beginning(block)
        header = _parsed(block, position)
        if header is None:
            return
        is_extended = header.kind in _EXTENDED
        num_extended = num_extended + 1 if is_extended else 0
        if num_extended > _MOST_EXTENDED:
            raise FileError(f"has more than {_MOST_EXTENDED} extended headers before one member; pack it anew")
        count += not is_extended
        if count > limits.max_shard_members:
            raise FileError(
                f"has more than {limits.max_shard_members:,} members (--source.limits.max-shard-members); "
                "pack smaller shards"
            )
        position += BLOCK_BYTES
        size = header.size if long_size is None or is_extended else long_size
        held = 0 if header.kind in _WITHOUT_CONTENT else size
        if position + held > num_bytes:
            raise CutError(f"cut off: it ends after {num_bytes:,} bytes, in the middle of a member")
        if is_extended:
            content = _extension(stream, position, held, num_bytes, limits)
            if header.kind == b"x":
                named, long_size = _pax(content)
                long_name = long_name if named is None else named
            elif header.kind == b"L":
                long_name = content.rstrip(b"\0")
        elif header.kind == b"S":
            raise FileError("has a sparse member, which is not read; pack it anew")
        else:
            name = header.name if long_name is None else long_name
            is_file = header.kind in _REGULAR and not name.endswith(b"/")
            yield Entry(name.decode("utf-8", "surrogateescape").removeprefix("./"), position, held, is_file)
            long_name = long_size = None
        # Never backwards: sizes are at least 0.
        position += -(-held // BLOCK_BYTES) * BLOCK_BYTES


def check_member_header(block: bytes, name: str, size: int) -> None:
    """Checks the header that stands before a member's content, so that an index that is out of date gives no bytes.

    Raises:
        FileError: another member stands there, or none.
    """
    try:
        header = _parsed(block, 0) if len(block) == BLOCK_BYTES else None
    except FileError:
        header = None
    # Longer names, and those with other letters, stand in an extended header before this one.
    is_plain = header is not None and len(header.name) < 100 and name.isascii()
    found = "" if header is None else header.name.decode("utf-8", "surrogateescape").removeprefix("./")
    if header is None or header.kind not in _REGULAR or header.size != size or (is_plain and found != name):
        raise FileError("its shard is another one than was indexed: something else stands in its place")


def _read(stream: io.BufferedIOBase, position: int, size: int, num_bytes: int) -> bytes:
    stream.seek(position)
    content = stream.read(size)
    if len(content) < size:
        # Not the position: it stands behind the padding of the last member, which may be cut off as well.
        raise CutError(f"cut off: it ends after {num_bytes:,} bytes, without the mark of its end")
    return content


def _check_beginning(block: bytes) -> None:
    for mark, kind in _COMPRESSED:
        if block.startswith(mark):
            raise FileError(f"compressed ({kind}), so that no member can be reached; unpack it to a plain .tar")


def _parsed(block: bytes, position: int) -> _Header | None:
    """Returns what a header says; None: the end of the archive."""
    if not block.strip(b"\0"):
        return None
    stated = _number(block[_CHECKSUM])
    if stated is None or stated != sum(block) - sum(block[_CHECKSUM]) + _SPACES:
        raise CutError(f"damaged: no header of a member stands at byte {position:,}")
    size = _number(block[_SIZE])
    if size is None:
        raise CutError(f"damaged: a member at byte {position:,} has no size")
    name = block[_NAME].partition(b"\0")[0]
    prefix = block[_PREFIX].partition(b"\0")[0]
    if prefix and block[_MAGIC] == b"ustar\0":
        name = prefix + b"/" + name
    return _Header(name, size, block[_KIND])


def _number(field: bytes) -> int | None:
    """Returns a number that is written in octal digits or, from a first byte of 0x80 on, in bytes; None: it is none."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b" \0")
    if not digits:
        return 0
    return int(digits, 8) if all(48 <= digit <= 55 for digit in digits) else None


def _extension(stream: io.BufferedIOBase, position: int, size: int, num_bytes: int, limits: Limits) -> bytes:
    if size > limits.max_shard_header_bytes:
        raise FileError(
            f"has an extended header of {size:,} bytes; the limit is {limits.max_shard_header_bytes:,} "
            "(--source.limits.max-shard-header-bytes)"
        )
    return _read(stream, position, size, num_bytes)


def _pax(content: bytes) -> tuple[bytes | None, int | None]:
    """Returns the name and the size that an extended header gives the next member."""
    name: bytes | None = None
    size: int | None = None
    start = 0
    while start < len(content) and content[start] != 0:
        digits, space, _ = content[start : start + 20].partition(b" ")
        end = start + (int(digits) if digits.isdigit() else 0)
        if not space or not start + len(digits) + 3 <= end <= len(content):
            raise CutError("damaged: an extended header is no list of lengths and values")
        key, _, value = content[start + len(digits) + 1 : end - 1].partition(b"=")
        if key == b"path":
            name = value
        elif key == b"size":
            if not value.isdigit() or len(value) > 18:
                raise CutError("damaged: an extended header gives a size that is no number")
            size = int(value)
        elif key.startswith(b"GNU.sparse"):
            raise FileError("has a sparse member, which is not read; pack it anew")
        start = end
    return name, size
