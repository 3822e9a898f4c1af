"""Which shards a path, a pattern or a URL means."""

import re
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from perceptio.data.limits import Limits
from perceptio.data.names import bytewise, printable
from perceptio.data.shards.remote import list_shards, read_small, scheme_of
from perceptio.errors import DataError, FileError, UsageError

INDEX_NAME = "index.jsonl"
INDEX_LIMIT = "max-shard-index-bytes"
CLASSES_NAME = "classes.txt"
SUFFIX = ".tar"
COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d{1,18})\.\.(\d{1,18})")


@dataclass(frozen=True, kw_only=True)
class ShardSet:
    """Where the shards of a set lie, in the order of their names.

    Attributes:
        places: a path or a URL each.
        beside: folder or URL, ending in "/", where an index and class names may lie.
        is_remote: whether places are URLs.
    """

    places: tuple[str, ...]
    beside: str
    is_remote: bool


def looks_like_shards(text: str) -> bool:
    """Returns whether this is data in shards: a .tar, a pattern of them, a URL, or a folder with shards or an index."""
    if scheme_of(text) not in (None, "file"):
        return True
    plain = text.removeprefix("file://")
    if plain.endswith((SUFFIX, *COMPRESSED)):
        return True
    folder = Path(plain).expanduser()
    try:
        names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    except (OSError, ValueError):
        return False
    # Beside folders a .tar is an archive that somebody left there, and beside a table it is one of its files.
    return any(name.endswith((SUFFIX, *COMPRESSED)) for name in names) and not any(
        name.startswith("metadata.") or (folder / name).is_dir() for name in names if not name.startswith(".")
    )


def find_shards(text: str, limits: Limits) -> ShardSet:
    """Finds the shards that a user points at: a folder, a .tar, or a pattern such as a-{000..099}.tar; a path or a URL.

    Raises:
        UsageError: a scheme that is not opened, a pattern that is none, or a web folder, which cannot be listed.
        DataError: there is none, they are compressed or too many, or the index that lists them is too large.
        OSError: the network failed.
    """
    scheme = scheme_of(text)
    is_remote = scheme not in (None, "file")
    plain = text if is_remote else str(Path(text.removeprefix("file://")).expanduser())
    if plain.endswith(COMPRESSED):
        raise _compressed(plain.rpartition("/")[2])
    if plain.endswith(SUFFIX):
        places = expand_braces(plain, limits)
        return ShardSet(places=places, beside=places[0].rpartition("/")[0] + "/", is_remote=is_remote)
    beside = plain.rstrip("/") + "/"
    places = _listed_on_server(beside, limits) if is_remote else _listed_on_disk(Path(plain))
    if len(places) > limits.max_shards:
        raise DataError(
            f"{printable(beside)} holds more than {limits.max_shards:,} shards (--source.limits.max-shards)"
        )
    return ShardSet(places=places, beside=beside, is_remote=is_remote)


def expand_braces(pattern: str, limits: Limits) -> tuple[str, ...]:
    """Returns the names that a pattern stands for: {000..099} counts, with as many digits; {a,b} lists.

    Raises:
        UsageError: it counts backwards, or stands for more shards than the limits allow.
    """
    parts: list[list[str]] = []
    end = total = 0
    for match in _BRACES.finditer(pattern):
        choices = _choices(match[1], limits)
        parts += [[pattern[end : match.start()]], choices]
        end = match.end()
        total = max(total, 1) * len(choices)
        if total > limits.max_shards:
            raise _too_many(pattern, limits)
    return tuple("".join(chosen) for chosen in product(*parts, [pattern[end:]]))


def _choices(inner: str, limits: Limits) -> list[str]:
    counted = _RANGE.fullmatch(inner)
    if counted is None:
        return inner.split(",")
    first, last = int(counted[1]), int(counted[2])
    if last < first:
        raise UsageError(f"{{{inner}}} counts backwards; write {{{counted[2]}..{counted[1]}}}")
    if last - first >= limits.max_shards:
        raise _too_many(f"{{{inner}}}", limits)
    return [f"{number:0{len(counted[1])}d}" for number in range(first, last + 1)]


def _too_many(pattern: str, limits: Limits) -> UsageError:
    return UsageError(f"{pattern} stands for more than {limits.max_shards:,} shards (--source.limits.max-shards)")


def _listed_on_disk(folder: Path) -> tuple[str, ...]:
    names = sorted((entry.name for entry in folder.iterdir() if entry.is_file()), key=bytewise)
    found = tuple(str(folder / name) for name in names if name.endswith(SUFFIX) and not name.startswith("."))
    packed = [name for name in names if name.endswith(COMPRESSED)]
    if packed:
        raise _compressed(packed[0])
    if not found:
        raise _none(folder.name)
    return found


def _none(folder: str) -> DataError:
    return DataError(f"{folder} holds no .tar files; perceptio data pack makes them")


def _listed_on_server(folder: str, limits: Limits) -> tuple[str, ...]:
    from perceptio.data.shards.index import shard_names

    try:
        content = read_small(folder + INDEX_NAME, limits.max_shard_index_bytes, INDEX_LIMIT)
    except FileError as error:
        if INDEX_LIMIT in str(error):
            raise DataError(f"{INDEX_NAME} {error}") from error
        content = None
    if content is not None:
        return tuple(folder + name for name in shard_names(content, limits))
    if scheme_of(folder) in ("http", "https"):
        raise UsageError(
            f"{printable(folder)} holds no {INDEX_NAME}, and a web server cannot be asked for its files; name the "
            f"shards, as in {printable(folder)}photos-{{000000..000099}}.tar, or put {INDEX_NAME} beside them "
            "(perceptio data pack writes it)"
        )
    found = tuple(list_shards(folder))
    if not found:
        raise _none(printable(folder))
    return found


def _compressed(name: str) -> DataError:
    return DataError(
        f"{printable(name)} is compressed, so that none of its members can be reached without unpacking all before it; "
        "unpack it to a plain .tar: photos are compressed already"
    )
