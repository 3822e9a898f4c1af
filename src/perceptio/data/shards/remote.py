"""Shards on a server or in an object store: parts of them, fetched as they are read, again if the network fails."""

import errno
import io
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

from perceptio.data.failures import NetworkError, as_file_error, patiently
from perceptio.data.limits import check_size
from perceptio.data.names import printable
from perceptio.data.shards.tar import BLOCK_BYTES, check_member_header
from perceptio.errors import DataError, FileError, MissingExtraError, UsageError

SCHEMES = ("file", "http", "https", "s3")
TRIES = 6
FIRST_WAIT_SECONDS = 0.5
"""Pause after the first failure; it doubles with each one: 15.5 s in all."""
SILENCE_SECONDS = 20.0
"""How long a server may say nothing."""
TRY_SECONDS = 120.0
"""How long one answer may take."""
FETCH_BYTES = 4 * 2**20
"""Most that is fetched at once; the members of usual sets are smaller."""
_KEPT_BLOCKS = 4
_SERVING_PARTS: set[str] = set()
"""Servers that have sent a part of a file to this process."""
_PASSING_STATUS = frozenset({408, 425, 429})

_T = TypeVar("_T")


def scheme_of(text: str) -> str | None:
    """Returns the scheme of a URL in lower case; None for a path.

    Raises:
        UsageError: a scheme that is not opened, such as pipe:, which would run a program.
    """
    # A colon without slashes may stand in a file's name, or behind a drive of Windows.
    if "://" not in text and not text.lower().startswith("pipe:"):
        return None
    scheme = text.partition(":")[0].lower()
    if scheme not in SCHEMES or "::" in text:
        raise UsageError(
            f"{printable(text[:80])}: shards are opened by {', '.join(f'{name}://' for name in SCHEMES)} or by a path"
        )
    return scheme


@dataclass(frozen=True, slots=True)
class RemoteShard:
    """A tar file at a URL, as it was when it was indexed."""

    url: str
    size: int
    tag: str
    """What the server says of its state, such as an ETag; empty: nothing."""

    @property
    def name(self) -> str:
        """The last part of the URL."""
        return self.url.rpartition("/")[2]

    @property
    def version(self) -> str:
        """URL, size and the server's tag."""
        return "\0".join((self.url, str(self.size), self.tag))

    def open(self, offset: int, size: int, name: str) -> io.BufferedIOBase:
        """Opens a member, fetched with the header before it; raises as `items.Shard.open`."""
        first = min(size, FETCH_BYTES)
        content = fetch(self.url, self.size, offset - BLOCK_BYTES, offset + first)
        check_member_header(content[:BLOCK_BYTES], name, size)
        if first == size:
            return io.BytesIO(content[BLOCK_BYTES:])
        ranges = Ranges(self.url, self.size, offset, size, FETCH_BYTES)
        ranges.keep(0, content[BLOCK_BYTES:])
        return io.BufferedReader(ranges)


class Ranges(io.RawIOBase):
    """A part of a remote file, fetched block by block as it is read."""

    def __init__(self, url: str, whole_size: int, offset: int, size: int, block_bytes: int) -> None:
        self._url = url
        self._whole_size = whole_size
        self._offset = offset
        self._size = size
        self._block_bytes = block_bytes
        self._position = 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()

    def keep(self, number: int, content: bytes) -> None:
        """Keeps a block; the one that was not used for longest goes."""
        self._blocks[number] = content
        self._blocks.move_to_end(number)
        if len(self._blocks) > _KEPT_BLOCKS:
            self._blocks.popitem(last=False)

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Moves within the part; for a place before it raises OSError, as a file on disk does."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise OSError(errno.EINVAL, f"cannot go {-start - offset} bytes before the beginning")
        self._position = start + offset
        return self._position

    def readinto(self, buffer: "bytearray | memoryview", /) -> int:  # type: ignore[override]
        """Reads on, at most to the end of a block."""
        if self._position >= self._size:
            return 0
        number, start = divmod(self._position, self._block_bytes)
        if number not in self._blocks:
            begin = number * self._block_bytes
            end = min(begin + self._block_bytes, self._size)
            self.keep(number, fetch(self._url, self._whole_size, self._offset + begin, self._offset + end))
        content = self._blocks[number][start : start + len(buffer)]
        buffer[: len(content)] = content
        self._position += len(content)
        return len(content)


def fetch(url: str, whole_size: int, start: int, end: int) -> bytes:
    """Returns bytes of a remote file.

    Raises:
        FileError: it is not there, or may not be read.
        NetworkError: the server or the network failed again and again.
    """

    def read() -> bytes:
        options = {"block_size": end - start, "cache_type": "none", "size": whole_size}
        with filesystem(url).open(url, "rb", **options) as file:
            file.seek(start)
            content: bytes = file.read(end - start)
        if len(content) != end - start:
            raise OSError(errno.EIO, f"the server sends {len(content):,} bytes where there are {end - start:,}")
        return content

    return _persistently(read, url)


def look_at(url: str) -> RemoteShard:
    """Asks for the size and state of a remote file.

    Raises:
        FileError, NetworkError: as `fetch`.
        DataError: it is a shard, and its server does not serve parts of files.
    """

    def ask() -> tuple[RemoteShard, bool]:
        filesystem(url).invalidate_cache()
        # For both of its requests together: where HEAD fails, also by silence, fsspec asks once more by GET.
        info = filesystem(url).info(url, timeout=SILENCE_SECONDS)
        if info.get("size") is None:
            raise FileError("the server does not say how large it is, so that no part of it can be asked for")
        tag = next((str(info[key]) for key in ("ETag", "etag", "Last-Modified", "LastModified") if info.get(key)), "")
        return RemoteShard(url, int(info["size"]), tag), info.get("partial") is not False

    found, may_serve_parts = _persistently(ask, url)
    if not (may_serve_parts and _serves_parts(found)) and url.endswith(".tar"):
        raise DataError(
            f"{_server_of(url)} does not serve parts of files (HTTP Range), without which no sample of a shard can be "
            "read; copy the shards to a disk or to another server"
        )
    return found


def _serves_parts(file: RemoteShard) -> bool:
    """Asks for a byte in the middle of a file, once for each server that then sends no more than that.

    Else an index beside the shards would hide, until each sample is refused on its own, that none can be read.
    """
    server = _server_of(file.url)
    if server in _SERVING_PARTS or file.size < 3 or not server.startswith("http"):
        return True
    try:
        fetch(file.url, file.size, 1, 2)
    except FileError as error:
        return str(error) != _NO_RANGES
    _SERVING_PARTS.add(server)
    return True


def _server_of(url: str) -> str:
    """Returns scheme and host of a URL."""
    return "/".join(url.split("/", 3)[:3])


def read_small(url: str, most_bytes: int, option: str) -> bytes:
    """Returns a whole small file.

    Args:
        most_bytes: how large it may be.
        option: the limit that says so.

    Raises:
        FileError: it is not there, may not be read, or is larger.
        DataError: the server or the network failed again and again.
    """
    name = url.rpartition("/")[2]
    size = patiently(lambda: look_at(url), name).size
    check_size(size, most_bytes, option)
    return patiently(lambda: fetch(url, size, 0, size), name) if size else b""


def list_shards(url: str) -> list[str]:
    """Returns the URLs of the .tar files in a folder of an object store; raises as `read_small`."""
    folder = url.rstrip("/")
    found = patiently(lambda: _persistently(lambda: filesystem(url).ls(folder, detail=False), folder), folder)
    scheme = url.partition("://")[0]
    return sorted(f"{scheme}://{path}" for path in found if path.endswith(".tar"))


@lru_cache(maxsize=8)
def _filesystem(scheme: str) -> Any:
    try:
        import aiohttp
        import fsspec
    except (ImportError, OSError, RuntimeError) as error:
        raise MissingExtraError("reading shards by URL", "remote") from error
    options: dict[str, Any] = {}
    if scheme in ("http", "https"):
        timeout = aiohttp.ClientTimeout(total=TRY_SECONDS, sock_connect=SILENCE_SECONDS, sock_read=SILENCE_SECONDS)
        options = {"client_kwargs": {"timeout": timeout, "trust_env": True}}
    try:
        return fsspec.filesystem(scheme, skip_instance_cache=True, **options)
    except ImportError as error:
        raise UsageError(f"reading {scheme}:// needs one more package: {error}") from error


def filesystem(url: str) -> Any:
    """Returns what opens URLs of this scheme, one a process.

    Raises:
        MissingExtraError, UsageError: what it needs is not installed.
    """
    return _filesystem(url.partition("://")[0].lower())


def _persistently(work: Callable[[], _T], url: str) -> _T:
    for attempt in range(TRIES):
        try:
            return work()
        except Exception as error:
            # What a driver raises depends on its libraries; the status, where there is one, says whose fault it is.
            failure = _sorted(error)
            if not isinstance(failure, OSError):
                raise failure from error
            if attempt == TRIES - 1:
                name = printable(url.rpartition("/")[2])
                raise NetworkError(errno.EIO, f"{name}, tried {TRIES} times: {failure.strerror}") from error
        time.sleep(FIRST_WAIT_SECONDS * 2**attempt)
    raise AssertionError("tries must be at least 1")


_NO_RANGES = "its server sends whole files only (no Range requests); copy the shards to a disk or to another server"


def _sorted(error: Exception) -> Exception:
    """Returns an OSError for what may pass, and for everything else the error to be raised at once."""
    if isinstance(error, FileError | UsageError | MissingExtraError):
        return error
    status = _status_of(error)
    if status is not None:
        if 400 <= status < 500 and status not in _PASSING_STATUS:
            reason = {404: "no such file", 410: "no such file", 401: "may not be read", 403: "may not be read"}
            return FileError(f"{reason.get(status, 'cannot be read')} (the server answers {status})")
        return OSError(errno.EIO, f"the server answers {status}")
    if "range requests" in str(error):
        return FileError(_NO_RANGES)
    if isinstance(error, FileNotFoundError | PermissionError) and error.__cause__ is None:
        return as_file_error(error)
    if isinstance(error, TimeoutError) or isinstance(error.__cause__, TimeoutError):
        return OSError(errno.ETIMEDOUT, "the server says nothing")
    if isinstance(error, OSError) and error.errno is not None and error.strerror:
        return OSError(error.errno, error.strerror)
    text = " ".join(str(error.__cause__ or error).split())[:120]
    return OSError(errno.EIO, printable(text) or type(error).__name__)


def _status_of(error: BaseException | None) -> int | None:
    """Returns the HTTP status that an error, or what caused it, bears."""
    while error is not None:
        status = getattr(error, "status", None)
        if isinstance(status, int):
            return status
        error = error.__cause__
    return None
