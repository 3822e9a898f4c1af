"""Tells a bad file from a bad disk.

A file that is damaged or missing is skipped and listed. A disk or network that fails is not the file's fault: skipping
would silently change what is trained on, so the error is tried again and then stops the run.
"""

import errno
import time
from collections.abc import Callable
from typing import TypeVar

from perceptio.errors import FileError, UnreachableError

_T = TypeVar("_T")

_DEVICE_ERRNOS = frozenset(
    {
        errno.EIO,
        errno.ESTALE,
        errno.ENXIO,
        errno.ENODEV,
        errno.ETIMEDOUT,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOMEM,
        errno.EAGAIN,
        errno.EINTR,
        errno.EPIPE,
        errno.ECONNABORTED,
        errno.ECONNREFUSED,
        errno.ECONNRESET,
        errno.EHOSTUNREACH,
        errno.ENETUNREACH,
    }
)
_REASONS = {
    errno.ENOENT: "no such file",
    errno.EACCES: "may not be read (permission denied)",
    errno.EPERM: "may not be read (permission denied)",
    errno.ELOOP: "is a link that leads in a circle",
    errno.ENAMETOOLONG: "its name is longer than the system allows",
    errno.EISDIR: "not a regular file but a folder",
    errno.ENOTDIR: "no such file",
}


class NetworkError(OSError):
    """A server or the way to it failed again and again: whoever raises this has waited long enough."""


def as_file_error(error: OSError) -> FileError:
    """Returns the `FileError` that an operating system error about one file amounts to.

    Raises:
        OSError: the given error itself, if it tells about the disk, the network or this process and not about the file.
    """
    if error.errno in _DEVICE_ERRNOS:
        raise error
    number = error.errno or 0
    return FileError(_REASONS.get(number, f"cannot be read ({error.strerror or type(error).__name__})"))


def told(error: OSError) -> str:
    """Returns what failed. An error from a worker process holds its whole traceback, whose last line is the error."""
    return (error.strerror or str(error)).strip().splitlines()[-1]


def ran_out_of_memory(error: BaseException | None) -> bool:
    """Tells whether an error is, or was made of, one that says that no more memory is to be had."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:  # an error may be its own cause
        if isinstance(error, MemoryError):
            return True
        seen.add(id(error))
        error = error.__cause__
    return False


def patiently(work: Callable[[], _T], name: str, *, tries: int = 3, wait_seconds: float = 0.2) -> _T:
    """Does some work on one file and tries again when the disk or the network fails.

    Args:
        name: the file's name, for the message.
        wait_seconds: pause after the first failure; it doubles with each one.

    Raises:
        UnreachableError: the last try failed as well.
    """
    for attempt in range(tries):
        try:
            return work()
        except OSError as error:
            # FileError is no OSError: only what `as_file_error` hands on arrives here.
            if attempt == tries - 1 or isinstance(error, NetworkError):
                reason = error.strerror or type(error).__name__
                times = "" if isinstance(error, NetworkError) else f" {tries} times"
                raise UnreachableError(
                    f"{name}: the disk or network failed{times} ({reason}). That is not the file's fault, so "
                    "nothing was skipped; start again once it works"
                ) from error
            time.sleep(wait_seconds * 2**attempt)
    raise AssertionError("tries must be at least 1")
