"""The index of a set of shards: JSON lines, the first with the shards' names, then one with the columns of each."""

import json
from collections.abc import Iterable, Sequence
from typing import Any, get_type_hints

from perceptio.data.limits import Limits
from perceptio.data.names import printable
from perceptio.data.shards.scan import ShardTable, why_refused
from perceptio.data.shards.tar import BLOCK_BYTES
from perceptio.errors import FileError

FORMAT = 1
_TYPES: dict[str, type] = {name: getattr(hint, "__origin__", hint) for name, hint in get_type_hints(ShardTable).items()}


def index_bytes(tables: Sequence[ShardTable]) -> bytes:
    """Returns an index as the bytes of its file; the same tables give the same bytes."""
    lines: Iterable[object] = ({"format": FORMAT, "shards": [table.name for table in tables]}, *map(vars, tables))
    return "".join(f"{json.dumps(line, separators=(',', ':'))}\n" for line in lines).encode()


def shard_names(content: bytes, limits: Limits) -> list[str]:
    """Returns the names of the shards that an index lists.

    Raises:
        FileError: it is no index, or one of another format.
    """
    first = _parsed(content.split(b"\n", 1)[0])
    if first.get("format") != FORMAT:
        raise FileError(f"is an index of format {printable(str(first.get('format')))[:20]}; {FORMAT} is read")
    names = first.get("shards")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise FileError("does not list its shards")
    if len(names) > limits.max_shards or len(set(names)) != len(names):
        raise FileError(f"lists shards twice, or more than {limits.max_shards:,} (--source.limits.max-shards)")
    if any("/" in name or why_refused(name, 0, limits) is not None for name in names):
        raise FileError("lists shards that do not lie beside it")
    return names


def read_index(content: bytes, limits: Limits) -> dict[str, ShardTable]:
    """Returns the tables of an index by the shard's name. Every value is checked: an index may come from anybody.

    Raises:
        FileError: it is no index, damaged, or names places outside of its shards.
    """
    names = shard_names(content, limits)
    lines = content.rstrip(b"\n").split(b"\n")[1:]
    if len(lines) != len(names):
        raise FileError(f"truncated index: it lists {len(names):,} shards and describes {len(lines):,}")
    tables = [_table(_parsed(line), limits) for line in lines]
    if [table.name for table in tables] != names:
        raise FileError("damaged index: it describes other shards than it lists")
    return {table.name: table for table in tables}


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise FileError("damaged index: a line is no JSON") from error
    if not isinstance(found, dict):
        raise FileError("damaged index: a line is no JSON object")
    return found


def _table(values: dict[str, Any], limits: Limits) -> ShardTable:
    if values.keys() != _TYPES.keys() or any(type(value) is not _TYPES[name] for name, value in values.items()):
        raise FileError("damaged index: a shard is described by other values than it should be")
    names, sizes = values["names"], values["sizes"]
    columns = (values["offsets"], sizes, values["samples"])
    if len(names) > limits.max_shard_members:
        raise FileError(
            f"lists {len(names):,} members of a shard; the limit is {limits.max_shard_members:,} "
            "(--source.limits.max-shard-members)"
        )
    if any(len(column) != len(names) for column in columns):
        raise FileError("damaged index: its columns differ in length")
    if any(type(value) is not int for column in columns for value in column):
        raise FileError("damaged index: a place is no number")
    if any(type(name) is not str for name in names) or len(set(names)) < len(names):
        raise FileError("damaged index: it names a member twice, or by no text")
    if any(why_refused(name, size, limits) is not None for name, size in zip(names, sizes, strict=True)):
        raise FileError("damaged index: it names a member that no shard may have")
    if not all(_is_label(label) for label in values["labels"]):
        raise FileError("damaged index: a label is neither a name nor a list of names")
    pairs = [row for row in values["refused"] if type(row) is list and len(row) == 2]
    if len(pairs) < len(values["refused"]) or any(type(cell) is not str for row in pairs for cell in row):
        raise FileError("damaged index: a refused member has no name and reason")
    if not all(type(fact) is dict for fact in values["facts"].values()) or not all(
        type(count) is int for count in values["left_out"].values()
    ):
        raise FileError("damaged index: what it says about samples is no table")
    table = ShardTable(**values)
    _check_places(table)
    return table


def _check_places(table: ShardTable) -> None:
    for offset, size in zip(table.offsets, table.sizes, strict=True):
        if offset < BLOCK_BYTES or offset % BLOCK_BYTES or size < 0 or offset + size > table.size:
            raise FileError("damaged index: a member lies outside of its shard")
    if table.samples and not 0 <= min(table.samples) <= max(table.samples) < len(table.labels):
        raise FileError("damaged index: a file belongs to no sample")


def _is_label(label: object) -> bool:
    if isinstance(label, list):
        return all(type(name) is str for name in label)
    return label is None or type(label) is str
