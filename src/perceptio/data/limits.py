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
    max_decode_bytes: int = 2 * 2**30
    """Memory that reading one sample may take, in bytes, on top of what its process starts with (Linux)."""
    max_file_seconds: int = 10
    """Processor time that reading a picture, mesh or array may take."""
    max_clip_seconds: int = 30
    """Processor time that reading one clip of sound or video may take."""
    max_recording_seconds: int = 300
    """Processor time that reading all of a sound or video file may take."""
    max_image_file_bytes: int = 256 * 2**20
    """An image file, in bytes."""
    max_image_pixels: int = 64_000_000
    """Height times width that an image declares, in pixels."""
    max_image_side: int = 65_535
    """Height or width that an image declares, in pixels."""
    max_sound_seconds: int = 31 * 24 * 3600
    """How long a sound says that it lasts. Nothing is allocated by it; more is broken or hostile."""
    max_sample_rate_hz: int = 1_000_000
    """Bat detectors record at 500 kHz."""
    max_sound_channels: int = 64
    """Ambisonics of the seventh order."""
    max_window_values: int = 2**27
    """Samples times channels of one clip at the file's own rate: 512 MiB of float32."""
    max_frame_pixels: int = 36_000_000
    """Height times width of a video's frame: 8192 x 4320, and a little."""
    max_clip_pixels: int = 2**28
    """Frames times height times width of one clip: 768 MiB as RGB."""
    max_checked_frames: int = 100_000
    """Frames that the full check decodes: an hour at 25 a second; what follows is taken on trust."""
    max_bad_packets: int = 200
    """Damaged packets of a video in a row."""
    max_media_streams: int = 64
    """Streams of sound, video, subtitles and the like in one file."""
    max_mesh_file_bytes: int = 512 * 2**20
    """A mesh or point cloud file, in bytes, packed or unpacked. Text takes up to ten times its size when read."""
    max_vertices: int = 20_000_000
    """Vertices of a mesh, or points of a cloud: a gigabyte at most; a scan of a room has a few million."""
    max_faces: int = 40_000_000
    """Faces of a mesh."""
    max_mesh_nodes: int = 5_000_000
    """Nodes of a VRML scene, with its repetitions."""
    max_scene_nodes: int = 100_000
    """Nodes of a glTF scene."""
    max_mesh_depth: int = 200
    """Nodes of a VRML scene inside each other."""
    max_array_bytes: int = 2**30
    """What one array takes as float32, as its header declares it, in bytes."""
    max_archive_members: int = 1_024
    """Members of an .npz file."""
    max_manifest_rows: int = 10_000_000
    """Rows of a manifest, or files of a folder."""
    max_manifest_line_bytes: int = 2**20
    """One line of a manifest, in bytes."""
    max_manifest_field_bytes: int = 64 * 2**10
    """One cell of a manifest, in bytes."""
    max_manifest_columns: int = 256
    """Columns of a manifest."""
    max_classes: int = 100_000
    """Classes of a data set."""
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
    check_size(size, limits.max_file_bytes, "max-file-bytes")
    if isinstance(file, Member) and size > limits.max_member_bytes:
        raise FileError(
            f"has {size:,} bytes; the limit of a shard's members is {limits.max_member_bytes:,} "
            "(--source.limits.max-member-bytes)"
        )
    return size


def check_size(num_bytes: int, most_bytes: int, option: str) -> None:
    """Raises FileError for more bytes than a limit, which an option of its name sets."""
    if num_bytes > most_bytes:
        raise FileError(f"has {num_bytes:,} bytes; the limit is {most_bytes:,} (--source.limits.{option})")


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
