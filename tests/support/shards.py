"""Files as members of a tar shard, for readers that must not care where a file lies."""

import io
import tarfile
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from perceptio.data.items import Member
from perceptio.data.limits import Limits
from perceptio.data.shards.places import LocalShard
from perceptio.data.shards.source import ShardSource, read_shards
from perceptio.data.shards.tar import walk_tar

MOST_BYTES = 2**26


def write_tar(path: Path, members: dict[str, bytes], **options: Any) -> Path:
    """Writes a tar file with Python's own tarfile."""
    with tarfile.open(path, "w", **options) as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def in_shard(path: Path, folder: Path) -> Member:
    """Returns a copy of a file as a member of a shard, with bytes before and behind it that are none of its own."""
    place = folder / f"{uuid.uuid4().hex}.tar"  # tests pack from several threads at once
    content = {"before": b"\xff\xd8\xff" * 1000, path.name: path.read_bytes(), "behind": b"\0OggS" * 1000}
    shard = LocalShard.of(write_tar(place, content))
    with shard.path.open("rb") as stream:
        (found,) = [entry for entry in walk_tar(stream, shard.size, Limits()) if entry.name == path.name]
    return Member(found.name, shard, found.offset, found.size)


def through_shard(read: Callable[..., Any], folder: Path) -> Callable[..., Any]:
    """Returns a reader that is given paths and reads the same files as members of shards."""

    def read_member(item: Any, *arguments: Any, **named: Any) -> Any:
        if isinstance(item, Path) and item.is_file() and item.stat().st_size <= MOST_BYTES:
            item = in_shard(item, folder)
        return read(item, *arguments, **named)

    return read_member


def content_of(source: ShardSource, name: str) -> bytes:
    """Returns the bytes of a sample's only file."""
    (record,) = [record for record in source.records if record.name == name]
    (item,) = source.load(record).values()
    with item.open() as stream:
        return stream.read()


def labels_of(source: ShardSource) -> dict[str, tuple[str, ...]]:
    """Returns the labels of each sample."""
    return {record.name: record.labels for record in source.records}


def read(place: object) -> ShardSource:
    """Opens shards with the usual limits."""
    return read_shards(str(place), Limits())
