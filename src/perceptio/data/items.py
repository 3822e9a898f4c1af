"""A file as readers see it: a path on disk, or a member of a shard, which is read in place and never unpacked."""

import errno
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np

from perceptio.errors import FileError


@runtime_checkable
class Shard(Protocol):
    """Where the bytes of many files lie one after the other."""

    @property
    def name(self) -> str:
        """What people call it."""

    @property
    def version(self) -> str:
        """Place, size and state of the shard: another text when its content may have changed."""

    def open(self, offset: int, size: int, name: str) -> io.BufferedIOBase:
        """Opens a part of it as a seekable file that bears a name; close it.

        Raises:
            FileError: that part is not there, or is no file of this name.
            OSError: the disk or the network failed.
        """


@dataclass(frozen=True, slots=True)
class Member:
    """A file in a shard. Cheap to make and to send to another process."""

    name: str
    """As the shard calls it, with "/"; its suffix tells what it holds."""
    shard: Shard
    offset: int
    """Where its first byte stands in the shard."""
    size: int
    """In bytes."""

    def open(self) -> io.BufferedIOBase:
        """Opens the file; raises as `Shard.open`."""
        return self.shard.open(self.offset, self.size, self.name)


File: TypeAlias = Path | Member
"""What readers open. Both have a `name`."""

Item: TypeAlias = File | np.ndarray
"""A sample, or one part of it, as its source gives it: a file, or an array where samples are no files."""


def open_file(file: File) -> io.BufferedIOBase:
    """Opens a file for reading at its beginning; close it. Raises OSError, and for a member as `Shard.open`."""
    if isinstance(file, Path):
        return file.open("rb")
    return file.open()


def size_of(file: File) -> int:
    """Returns the size in bytes; of a path as the disk says it now (OSError)."""
    return file.stat().st_size if isinstance(file, Path) else file.size


def version_of(file: File) -> str:
    """Returns a text that names a file as it is now: another one when its content may have changed.

    Raises:
        OSError, RuntimeError: there is no such file.
    """
    if isinstance(file, Member):
        return "\0".join((file.shard.version, str(file.offset), str(file.size)))
    resolved = file.resolve()
    status = resolved.stat()
    # The time of change cannot be set back, as that of modification is by cp -p and archives.
    times = (str(status.st_mtime_ns), str(status.st_ctime_ns))
    return "\0".join((str(resolved), str(status.st_size), *times))


class Window(io.RawIOBase):
    """A part of an open file as a file of its own, which has no way to what lies around it."""

    def __init__(self, whole: io.FileIO, offset: int, size: int, name: str) -> None:
        """Takes an unbuffered file over: closing the window closes it."""
        self._whole = whole
        self._offset = offset
        self._size = size
        self._position = 0
        self.name = name

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Moves within the window; for a place before it raises OSError, as a file on disk does."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise OSError(errno.EINVAL, f"cannot go {-start - offset} bytes before the beginning")
        self._position = start + offset
        return self._position

    def readinto(self, buffer: "bytearray | memoryview", /) -> int:  # type: ignore[override]  # Buffer is new in 3.12
        """Reads on, at most to the window's end; raises FileError where the whole file ends before that."""
        wanted = min(len(buffer), max(0, self._size - self._position))
        if wanted == 0:
            return 0
        self._whole.seek(self._offset + self._position)
        content = self._whole.read(wanted)
        if not content:
            raise FileError("its shard ends in the middle of it")
        buffer[: len(content)] = content
        self._position += len(content)
        return len(content)

    def close(self) -> None:
        """Lets go of the whole file."""
        if not self.closed:
            self._whole.close()
        super().close()


def open_window(whole: io.FileIO, offset: int, size: int, name: str) -> io.BufferedIOBase:
    """Returns a part of an open, unbuffered file as a buffered one; closing it closes the whole."""
    return io.BufferedReader(Window(whole, offset, size, name))
