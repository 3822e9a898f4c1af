"""Compares shards with their index: what a disk, a copy or a server did to them."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from perceptio.data.failures import patiently
from perceptio.data.limits import Limits
from perceptio.data.names import printable
from perceptio.data.shards.patterns import INDEX_NAME, ShardSet
from perceptio.data.shards.places import LocalShard
from perceptio.data.shards.remote import RemoteShard, look_at
from perceptio.data.shards.scan import ShardTable, scan_shard
from perceptio.data.shards.tables import index_beside, look_on_disk, open_whole
from perceptio.errors import FileError

_READ_BYTES = 2**20


def check_index(
    found: ShardSet, limits: Limits, *, full: bool, progress: Callable[[int, int], None] | None = None
) -> list[str]:
    """Returns where the shards of a set and the index beside them differ, a line each.

    What is wrong with shards that no index describes as they are is found, and told, by whoever reads their samples.

    Args:
        full: also compare the hash of every shard with the index, which reads all of it.

    Raises:
        DataError: the disk or the network fails again and again.
    """
    beside, problem = index_beside(found, limits)
    problems = [problem] if problem else []
    there = set()
    for number, place in enumerate(found.places, start=1):
        name = place.rpartition("/")[2]
        there.add(name)
        if name in beside:
            lines = _problems(place, found, beside[name], limits, full)
            problems += [f"{printable(name)}: {line}" for line in lines]
        elif beside:
            problems.append(f"{printable(name)}: is not in {INDEX_NAME}")
        if progress is not None:
            progress(number, len(found.places))
    return [
        *problems,
        *(f"{printable(name)}: is in {INDEX_NAME} and not there" for name in beside if name not in there),
    ]


def _problems(place: str, found: ShardSet, known: ShardTable, limits: Limits, full: bool) -> list[str]:
    name = place.rpartition("/")[2]
    try:
        shard = patiently(lambda: look_at(place) if found.is_remote else look_on_disk(Path(place), limits), name)
        table = patiently(lambda: _scan(shard, limits), name)
        digest = patiently(lambda: _digest(shard), name) if full and known.digest else ""
    except FileError as error:
        return [str(error)]
    problems = []
    if known.size != table.size:  # then it is walked by whoever reads it, who tells that it was cut off
        problems.append(f"has {table.size:,} bytes, and {known.size:,} by {INDEX_NAME}")
    elif table.problem:
        problems.append(table.problem)
    elif _content(known) != _content(table):
        problems.append(f"holds other members than {INDEX_NAME} says")
    elif known.labels != table.labels:
        problems.append(f"gives other labels than {INDEX_NAME} says")
    if digest and digest != known.digest:
        problems.append(f"its bytes are not those that were packed: their hash is not that in {INDEX_NAME}")
    return problems


def _content(table: ShardTable) -> tuple[list[Any], ...]:
    return table.names, table.offsets, table.sizes, table.refused


def _scan(shard: LocalShard | RemoteShard, limits: Limits) -> ShardTable:
    with open_whole(shard) as stream:
        return scan_shard(stream, shard.name, shard.size, limits)


def _digest(shard: LocalShard | RemoteShard) -> str:
    found = hashlib.sha256()
    with open_whole(shard) as stream:
        while content := stream.read(_READ_BYTES):
            found.update(content)
    return found.hexdigest()
