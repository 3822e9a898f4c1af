"""Limits against hostile or broken input, and the check that every file passes before it is opened."""

import dataclasses
import stat
from dataclasses import dataclass
from pathlib import Path

from perceptio.data.failures import as_file_error
from perceptio.data.items import File, Member
from perceptio.errors import FileError, UsageError

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much a file, a picture or a list may ask for. Every field is finite: there is no "unlimited".

    Each limit is checked before the memory it protects is allocated.
    """

    max_file_bytes: int = 4 * 2**30
    """Any file, in bytes."""
    max_image_file_bytes: int = 256 * 2**20
    """An image file, in bytes."""
    max_image_pixels: int = 64_000_000
    """Height times width that an image declares, in pixels."""
    max_image_side: int = 65_535
    """Height or width that an image declares, in pixels."""
    max_manifest_rows: int = 10_000_000
    """Rows of a manifest, or files of a folder."""
    max_manifest_line_bytes: int = 2**20
    """One line of a manifest, in bytes."""
    max_manifest_field_bytes: int = 64 * 2**10
    """One cell of a manifest, in bytes."""
    max_manifest_columns: int = 256
    max_classes: int = 100_000
    max_name_characters: int = 256
    """A class name, in characters."""
    max_shards: int = 100_000
    """Shards of one set."""
    max_shard_index_bytes: int = 2**30
    """The index of a set of shards, in bytes."""
    max_shard_members: int = 1_000_000
    """Members of one tar shard, links and folders among them."""
    max_member_bytes: int = 2**30
    """A member of a shard, in bytes."""
    max_member_name_bytes: int = 1024
    """The name of a member, in bytes."""
    max_shard_header_bytes: int = 2**20
    """An extended header (PAX or GNU) of a shard, in bytes."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if getattr(self, field.name) < 1:
                raise UsageError(f"{field.name} must be at least 1: got {getattr(self, field.name)}")


def check_file(file: File, root: Path | None, limits: Limits) -> int:
    """Checks, without opening it, that a file is a regular one of a bearable size, and returns the size in bytes.

    Symbolic links are followed first; where they lead is what is checked. A member of a shard is a regular file: only
    those stand in an index.

    Args:
        root: the folder that the file must lie in once links are resolved. None means any place is fine.

    Raises:
        FileError: the file is missing, a folder, a pipe (opening it would block for ever), outside the root, empty or
            too large.
        OSError: the disk or the network failed, which says nothing about the file (see `failures`).
    """
    size = file.size if isinstance(file, Member) else _regular_size(file, root)
    if size == 0:
        raise FileError("empty file (0 bytes)")
    if size > limits.max_file_bytes:
        raise FileError(f"has {size:,} bytes; the limit is {limits.max_file_bytes:,} (limit max_file_bytes)")
    if isinstance(file, Member) and size > limits.max_member_bytes:
        raise FileError(
            f"has {size:,} bytes; the limit of a shard's members is {limits.max_member_bytes:,} "
            "(limit max_member_bytes)"
        )
    return size


def _regular_size(path: Path, root: Path | None) -> int:
    try:
        status = path.lstat()
        is_link = stat.S_ISLNK(status.st_mode)
        if root is not None:
            resolved = path.resolve()
            if not resolved.is_relative_to(root.resolve()):
                raise FileError("leads out of the data folder; copy the file into it")
        if is_link:
            status = path.stat()
    except OSError as error:
        raise as_file_error(error) from error
    except RuntimeError as error:
        # pathlib of Python 3.11 and 3.12 tells a loop of links this way.
        raise FileError("is a link that leads in a circle") from error
    if not stat.S_ISREG(status.st_mode):
        kind = next((name for test, name in _KINDS if test(status.st_mode)), "something else")
        raise FileError(f"not a regular file but {kind}")
    return status.st_size
