"""The tables of a set's shards: from the index beside them, from the user's cache, or read anew from the shards."""

import hashlib
import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from perceptio.data.failures import as_file_error, patiently
from perceptio.data.items import Shard
from perceptio.data.limits import Limits, check_file, check_size
from perceptio.data.names import printable
from perceptio.data.records import Skipped
from perceptio.data.shards.index import index_bytes, read_index
from perceptio.data.shards.patterns import INDEX_LIMIT, INDEX_NAME, ShardSet
from perceptio.data.shards.places import LocalShard
from perceptio.data.shards.remote import Ranges, RemoteShard, look_at, read_small
from perceptio.data.shards.scan import ShardTable, scan_shard
from perceptio.data.user_cache import keep, user_cache
from perceptio.errors import FileError

_THREADS = 8
_ANY_SIZE = 2**62
SCANNED_BYTES = 2**20
"""What is fetched at once while a remote shard's headers are read."""

Progress = Callable[[int, int], None]
"""Is told how many shards are known, of how many."""


@dataclass(frozen=True, kw_only=True)
class Tables:
    """What is known of a set's shards.

    Attributes:
        shards: where each readable shard lies, and its table, in the set's order.
        held: how many samples each of these held when it was whole; None: it was cut off, and nobody knows.
        missing: shards that cannot be read at all, with reasons.
        lost: members that the index beside the shards lists and a shard that was cut off no longer holds.
        notes: what was decided, a sentence each.
    """

    shards: tuple[tuple[Shard, ShardTable], ...]
    held: tuple[int | None, ...]
    missing: tuple[Skipped, ...]
    lost: tuple[Skipped, ...]
    notes: tuple[str, ...]


def read_tables(found: ShardSet, limits: Limits, progress: Progress | None = None) -> Tables:
    """Returns the tables of all shards; those that no index knows as they are now are read, and the cache is renewed.

    Raises:
        DataError: the disk or the network fails again and again.
    """
    beside, problem = index_beside(found, limits)
    cached = _cached(found, limits) if not beside else {}
    shards: list[tuple[Shard, ShardTable]] = []
    wholes: list[ShardTable | None] = []
    missing: list[Skipped] = []
    lost: list[Skipped] = []
    fresh = renewed = 0
    work = partial(_known_or_read, found=found, beside=beside, cached=cached, limits=limits)
    with ThreadPoolExecutor(_THREADS if found.is_remote else 1, thread_name_prefix="shards") as pool:
        for place, answer in zip(found.places, pool.map(work, found.places), strict=True):
            if isinstance(answer, FileError):
                missing.append(Skipped(printable(place.rpartition("/")[2]), str(answer)))
            else:
                shard, table, is_new = answer
                shards.append((shard, table))
                wholes.append(_whole(table, beside.get(table.name) or cached.get(table.name)))
                fresh += is_new
                known = beside.get(table.name)
                if is_new and known is not None:
                    renewed += 1
                    lost += _lost(known, table)
            if progress is not None:
                progress(len(shards) + len(missing), len(found.places))
    notes = [problem] if problem else []
    if renewed:
        notes.append(f"{INDEX_NAME} is out of date for {renewed:,} shards, which were read anew")
    if fresh and (path := _cache_path(found, limits)) is not None and not beside:
        # Of a shard that was cut off what it held is kept: the next run must not take what is left for all there was.
        keep(path, index_bytes([whole or table for whole, (_, table) in zip(wholes, shards, strict=True)]))
    return Tables(
        shards=tuple(shards),
        held=tuple(None if whole is None else len(whole.labels) for whole in wholes),
        missing=tuple(missing),
        lost=tuple(lost),
        notes=tuple(notes),
    )


def _known_or_read(
    place: str, *, found: ShardSet, beside: dict[str, ShardTable], cached: dict[str, ShardTable], limits: Limits
) -> tuple[Shard, ShardTable, bool] | FileError:
    """Returns a shard as it is now, its table, and whether that was read anew."""
    name = place.rpartition("/")[2]
    try:
        shard = patiently(lambda: look_at(place) if found.is_remote else look_on_disk(Path(place), limits), name)
        state = shard.tag if isinstance(shard, RemoteShard) else shard.state
        packed, kept = beside.get(name), cached.get(name)
        # Beside the shards times say nothing: copying changes them. The header before each member is checked anyway.
        if packed is not None and packed.size == shard.size:
            return shard, packed, False
        if kept is not None and (kept.size, kept.state) == (shard.size, state):
            return shard, kept, False
        table = patiently(lambda: _scanned(shard, limits), name)
    except FileError as error:
        return error
    return shard, replace(table, state=state), True


def look_on_disk(path: Path, limits: Limits) -> LocalShard:
    """Returns a shard on disk as it is now, of any size.

    Raises:
        FileError: when it is no regular file, or cannot be looked at.
    """
    check_file(path, None, replace(limits, max_file_bytes=_ANY_SIZE))
    try:
        return LocalShard.of(path)
    except OSError as error:
        raise as_file_error(error) from error


def _scanned(shard: LocalShard | RemoteShard, limits: Limits) -> ShardTable:
    with open_whole(shard) as stream:
        return scan_shard(stream, shard.name, shard.size, limits)


def open_whole(shard: LocalShard | RemoteShard) -> io.BufferedIOBase:
    """Opens all of a shard."""
    if isinstance(shard, LocalShard):
        return shard.path.open("rb")
    ranges = Ranges(shard.url, shard.size, 0, shard.size, SCANNED_BYTES)
    return io.BufferedReader(ranges)


def index_beside(found: ShardSet, limits: Limits) -> tuple[dict[str, ShardTable], str]:
    """Returns the tables of the index that was packed with the shards, and what is wrong with it."""
    place = found.beside + INDEX_NAME
    try:
        if found.is_remote:
            return read_index(read_small(place, limits.max_shard_index_bytes, INDEX_LIMIT), limits), ""
        if not Path(place).is_file():
            return {}, ""
        size = check_file(Path(place), None, replace(limits, max_file_bytes=_ANY_SIZE))
        check_size(size, limits.max_shard_index_bytes, INDEX_LIMIT)
        return read_index(Path(place).read_bytes(), limits), ""
    except FileError as error:
        is_missing = found.is_remote and "no such file" in str(error)
        return {}, "" if is_missing else f"{INDEX_NAME} is not used: {error}"


def _cached(found: ShardSet, limits: Limits) -> dict[str, ShardTable]:
    path = _cache_path(found, limits)
    try:
        return {} if path is None else read_index(path.read_bytes(), limits)
    except (OSError, FileError):
        return {}


def _cache_path(found: ShardSet, limits: Limits) -> Path | None:
    """Returns where the tables of a set are kept: other limits refuse other members."""
    folder = user_cache("shards")
    places = (place if found.is_remote else str(Path(place).absolute()) for place in found.places)
    key = "\0".join((repr(limits), *places))
    digest = hashlib.blake2b(key.encode("utf-8", "surrogateescape"), digest_size=20).hexdigest()
    return None if folder is None else folder / f"{digest}.jsonl"


def _whole(table: ShardTable, known: ShardTable | None) -> ShardTable | None:
    """Returns the table of a shard before it was cut off; None: nobody knows it.

    Args:
        known: what the index beside the shard, or the user's cache, says of a shard of this name. It is the same shard
            if it was whole and larger, and what is left stands where it stood.
    """
    if not table.problem:
        return table
    if known is None or known.problem or known.size <= table.size:
        return None
    return known if _members(table) <= _members(known) else None


def _members(table: ShardTable) -> set[tuple[str, int, int]]:
    return set(zip(table.names, table.offsets, table.sizes, strict=True))


def _lost(known: ShardTable, table: ShardTable) -> list[Skipped]:
    """Returns what an index lists and a shard that lost its end no longer holds; another shard has lost nothing."""
    if not table.problem:
        return []
    there = set(table.names)
    return [
        Skipped(printable(name), f"lost: its shard {table.name} is {table.problem}")
        for name in known.names
        if name not in there
    ]
