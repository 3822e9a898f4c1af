"""Every call by which a run changes what lies on a disk, and the few ways in which it does so.

The calls are methods of one small object, so that a test can put another in its place: one that fails, lies, or
forgets what was never synced.
"""

import errno
import fcntl
import os
import secrets
import shutil
import socket
from contextlib import suppress
from pathlib import Path

from perceptio.errors import PerceptioError

ROOM_FACTOR = 1.2
"""Free space that must be there, as a multiple of what will be written."""


class Disk:
    """The calls. Files are written through descriptors: no buffer of Python's lies between, so nothing needs a flush.

    All raise OSError.
    """

    def mkdir(self, folder: Path) -> None:
        """Makes a folder that is not there yet."""
        folder.mkdir()

    def create(self, path: Path) -> int:
        """Opens a new file, never an existing one; its mode is what the umask leaves of 0666."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)

    def write(self, file: int, content: memoryview) -> int:
        """Writes the beginning of the content, or all of it; returns how many bytes."""
        return os.write(file, content)

    def sync(self, file: int) -> None:
        """Waits until the disk has what was written."""
        os.fsync(file)

    def close(self, file: int) -> None:
        """Closes a file; some file systems say only now that it does not fit."""
        os.close(file)

    def rename(self, source: Path, target: Path) -> None:
        """Renames a file, over an existing one, or a folder."""
        source.rename(target)

    def sync_folder(self, folder: Path) -> None:
        """Waits until the disk has the folder's list of names."""
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def remove(self, path: Path) -> None:
        """Deletes a file, or a folder with all that is in it."""
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()

    def exists(self, path: Path) -> bool:
        """Returns whether something bears this name, a dangling link too."""
        return os.path.lexists(path)

    def names(self, folder: Path) -> list[str]:
        """Returns the names in a folder, sorted."""
        return sorted(os.listdir(folder))  # noqa: PTH208 (names are wanted, not paths)

    def read(self, path: Path) -> bytes:
        """Returns a file's content."""
        return path.read_bytes()

    def free_bytes(self, folder: Path) -> int:
        """Returns the space that is left for this user."""
        return shutil.disk_usage(folder).free


DISK = Disk()


def write_new(path: Path, content: bytes, disk: Disk = DISK) -> None:
    """Writes a new file and waits until the disk has it.

    Raises:
        OSError: as the disk says; a failed sync is not tried again, as the system may have dropped what it could not
            write and would then report success.
    """
    file = disk.create(path)
    try:
        left = memoryview(content)
        while left:
            left = left[disk.write(file, left) :]
        disk.sync(file)
    except BaseException:
        with suppress(OSError):  # the first error is the one to tell
            disk.close(file)
        raise
    disk.close(file)


def replace_file(path: Path, content: bytes, disk: Disk = DISK) -> None:
    """Replaces a file, so that a crash at any moment leaves the old one or the new one.

    Raises:
        OSError: as the disk says; the old file is then untouched.
    """
    temporary = path.with_name(f".tmp-{path.name}-{tag()}")
    try:
        write_new(temporary, content, disk)
        move(temporary, path, disk)
    except BaseException:
        discard(temporary, disk)
        raise
    disk.sync_folder(path.parent)


def move(source: Path, target: Path, disk: Disk = DISK) -> None:
    """Renames, and looks again before it believes in a failure: over NFS a request may be sent twice."""
    try:
        disk.rename(source, target)
    except OSError:
        if disk.exists(source) or not disk.exists(target):
            raise


def make_folder(folder: Path, disk: Disk = DISK) -> None:
    """Makes a folder where there is none, for good."""
    if not disk.exists(folder):
        disk.mkdir(folder)
        disk.sync_folder(folder.parent)


def discard(path: Path, disk: Disk = DISK) -> str | None:
    """Deletes what may be there; returns what went wrong, which is nothing to fail for."""
    try:
        if disk.exists(path):
            disk.remove(path)
    except OSError as error:
        return f"cannot delete {path}: {error.strerror or error}"
    return None


def require_room(folder: Path, num_bytes: int, disk: Disk = DISK) -> None:
    """Checks, before anything is written, that it will fit.

    Raises:
        OSError: with what is needed and what is there.
    """
    needed, free = round(ROOM_FACTOR * num_bytes), disk.free_bytes(folder)
    if free < needed:
        raise OSError(errno.ENOSPC, f"not enough room: {needed:,} bytes needed, {free:,} free", str(folder))


def refusal(error: OSError, folder: Path, num_bytes: int, disk: Disk = DISK) -> str:
    """Returns what the disk said, and how much was wanted of how much there is."""
    try:
        room = f" ({num_bytes:,} bytes to write, {disk.free_bytes(folder):,} free)"
    except OSError:  # the folder itself is gone
        room = ""
    return f"{error.strerror or error}: {folder}{room}"


def way_out(error: OSError) -> str:
    """Returns what to do where the disk refused."""
    return "Make room" if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else "Mend that"


def tag() -> str:
    """Returns an ending for temporary names that no other process uses, alive or dead."""
    return f"{os.getpid()}-{secrets.token_hex(4)}"


class FolderLock:
    """Keeps a second process out of a folder until `release`, or until this process ends, however it does.

    Raises:
        PerceptioError: naming the process that is there.
    """

    def __init__(self, folder: Path) -> None:
        self._file = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._file, 1000, 0).decode(errors="replace").strip() or "another process"
            self.release()
            raise PerceptioError(
                f"{folder} is in use by {holder}; two runs in one folder would spoil each other. Wait for it, or end it"
            ) from None
        except OSError as error:
            self.release()
            raise PerceptioError(
                f"{folder} cannot be locked against a second run: {error.strerror}. Choose a folder on another disk"
            ) from error
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)

    def release(self) -> None:
        """Lets others in."""
        os.close(self._file)
