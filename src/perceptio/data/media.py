"""Opens sound and video files with PyAV, which carries FFmpeg, and refuses all others in one line."""

import errno
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NoReturn

from perceptio.data.failures import as_file_error
from perceptio.data.image_sniffing import read_head
from perceptio.data.items import File, open_file
from perceptio.data.limits import Limits, check_file
from perceptio.data.names import printable, suffix_of
from perceptio.errors import FileError, MissingExtraError

if TYPE_CHECKING:
    import av.container

# Demuxers of files that hold their own content. All others stay shut: a playlist, a list of parts or a network stream
# would make FFmpeg open other files and hosts.
_FORMATS = (
    "aac,ac3,aiff,amr,ape,asf,au,avi,caf,flac,flv,gif,m4v,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,mp3,mpeg,mpegts,ogg,"
    "tta,w64,wav,wv"
)
_SHOWN = 120
_READ_BYTES = 2**20


def load_av() -> Any:
    """Returns the module `av`, silent.

    Raises:
        MissingExtraError: it is not installed or cannot be loaded.
    """
    try:
        import av
        import av.logging
    except (ImportError, OSError, RuntimeError) as error:
        raise MissingExtraError("reading sound and video", "media") from error
    av.logging.set_level(None)  # what FFmpeg has to say about a broken file is said once, by us
    return av


@contextmanager
def media_errors(file: File) -> Iterator[None]:
    """Turns whatever PyAV raises about a file into a `FileError` of one line; errors of the disk pass through."""
    av = load_av()
    try:
        yield
    except av.error.FFmpegError as error:
        if isinstance(error, OSError) and error.errno is not None and 0 < error.errno < 200:
            check_disk(error, file)
        raise FileError(_reason(error, file)) from error
    except (ValueError, RuntimeError, MemoryError, UnicodeDecodeError, EOFError) as error:
        if isinstance(error, FileError):
            raise
        raise FileError(_reason(error, file)) from error


def check_disk(error: OSError, file: File) -> None:
    """Finds out whether the disk failed: FFmpeg reports an input/output error for damaged Matroska files as well.

    Raises:
        FileError: the error says something else about this file, such as that it may not be read.
        OSError: the disk failed: the given error's like, or that of reading the file to its end.
    """
    if error.errno != errno.EIO:
        raise as_file_error(OSError(error.errno, error.strerror)) from error
    with open_file(file) as stream:
        while stream.read(_READ_BYTES):
            pass


@dataclass(frozen=True)
class Media:
    """An open file. Close it: PyAV keeps files open otherwise."""

    container: "av.container.InputContainer"
    stream: io.BufferedIOBase | None
    """What the container reads from, where FFmpeg does not open the file itself."""

    def close(self) -> None:
        """Lets go of the file."""
        self.container.close()
        if self.stream is not None:
            self.stream.close()


def open_media(file: File, limits: Limits) -> Media:
    """Opens a file that holds sound, video or both.

    FFmpeg opens a path itself, and no other. A member of a shard it reads through Python, and opens nothing.

    Raises:
        FileError: the file is none, damaged, or larger than the limits allow.
        MissingExtraError: PyAV is not installed.
        OSError: the disk or the network failed.
    """
    module = load_av()
    check_file(file, None, limits)
    options = {"format_whitelist": _FORMATS, "max_pixels": str(_most_pixels(limits)), **_probing(file)}
    with media_errors(file):
        if isinstance(file, Path):
            # As a URL of the protocol "file": a name such as "concat:a|b" is then only a name.
            place, options["protocol_whitelist"] = f"file:{file.absolute()}", "file"
            return _bounded(Media(module.open(place, options=options, metadata_errors="replace"), None), limits)
        stream = open_file(file)
        try:
            options["protocol_whitelist"] = "none"
            opened = module.open(
                _Named(stream, f"member{PurePosixPath(file.name).suffix}"),
                options=options,
                metadata_errors="replace",
                io_open=_refuse,
            )
        except BaseException:
            stream.close()
            raise
        return _bounded(Media(opened, stream), limits)


def counted_pixels(width: int, height: int) -> int:
    """Returns the most pixels that FFmpeg may count where it compares a frame of a size with `max_pixels`.

    It counts rows and blocks as they are filled up, to 64 at most, and the MPEG-4 family as well a buffer of 280 rows,
    each longer than the frame's by up to 190 (measured with FFmpeg 8.1 for seven codecs and sizes).
    """
    return (width + 192) * max(height + 64, 280)


def _most_pixels(limits: Limits) -> int:
    """Returns what FFmpeg may count in any frame within the limits; it decodes some when it opens a file."""
    longest = min(limits.max_image_side, limits.max_frame_pixels)
    return counted_pixels(longest, -(-limits.max_frame_pixels // longest))


def _bounded(media: Media, limits: Limits) -> Media:
    """Returns an opened file, or closes it and refuses it if it holds too many streams."""
    number = len(media.container.streams)
    if number > limits.max_media_streams:
        media.close()
        raise FileError(
            f"holds {number:,} streams; the limit is {limits.max_media_streams} (--source.limits.max-media-streams)"
        )
    return media


class _Named:
    """A stream under the name by whose suffix FFmpeg chooses between formats, as it does with a path."""

    def __init__(self, stream: io.BufferedIOBase, name: str) -> None:
        self.name = name
        self.read = stream.read
        self.seek = stream.seek
        self.tell = stream.tell


def _refuse(url: str, flags: int, options: object) -> NoReturn:
    raise PermissionError("a member of a shard may not open other files")


def _probing(file: File) -> dict[str, str]:
    """Returns how far FFmpeg looks ahead: little in a WAV, where it would search for DTS, longer than reading takes.

    DTS that hides in a WAV is then read as noise.
    """
    return {"max_probe_packets": "2"} if suffix_of(file.name) in (".wav", ".wave") else {}


def _reason(error: Exception, file: File) -> str:
    head = read_head(file)
    if head.lstrip()[:1] in (b"<", b"{", b"#") or (head and all(9 <= byte < 127 for byte in head)):
        return f"no sound or video file: it begins with '{printable(head[:16].decode('latin-1'))}'"
    if type(error).__name__ in ("InvalidDataError", "ArgumentError"):
        return "damaged, or no sound or video file of a known kind"
    message = printable(" ".join(str(getattr(error, "strerror", None) or error).split()))[:_SHOWN]
    return f"damaged sound or video file: {message or type(error).__name__}"
