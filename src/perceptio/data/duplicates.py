"""Finds samples of equal content. Equal samples in two splits leak: the test asks what training has told."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

import numpy as np

from perceptio.data.failures import patiently
from perceptio.data.items import File, open_file, size_of
from perceptio.data.names import bytewise, printable
from perceptio.data.records import Record, Source

_DIGEST_BYTES = 16


def find_duplicates(source: Source, records: Iterable[Record]) -> tuple[tuple[str, ...], ...]:
    """Returns groups of names whose files (or arrays) hold the same bytes; names and groups are sorted bytewise.

    Samples of several files are equal when all their files are.

    Only files that share their size with another one are read.

    Args:
        records: those to compare, usually the good ones of a probe.

    Raises:
        FileNotFoundError, DataError: a file is gone since it was probed, or the disk fails.
    """
    by_size: dict[object, list[tuple[str, tuple[File, ...]]]] = defaultdict(list)
    groups: dict[tuple[object, bytes], list[str]] = defaultdict(list)
    for record in records:
        items = source.load(record)
        files = tuple(item for item in items.values() if not isinstance(item, np.ndarray))
        if files:
            by_size[tuple((part, size_of(file)) for part, file in zip(items, files, strict=True))].append(
                (record.name, files)
            )
            continue
        # Hashed at once: keeping the arrays until their sizes are known would keep all of them in memory.
        arrays = {part: item for part, item in items.items() if isinstance(item, np.ndarray)}
        shapes = tuple((part, array.shape, str(array.dtype)) for part, array in arrays.items())
        groups[shapes, b"".join(map(_hash_array, arrays.values()))].append(record.name)
    for size, sharing in by_size.items():
        for name, files in sharing if len(sharing) > 1 else ():
            digests = [patiently(partial(_hash_file, file), printable(name)) for file in files]
            groups[size, b"".join(digests)].append(name)
    found = [tuple(sorted(names, key=bytewise)) for names in groups.values() if len(names) > 1]
    return tuple(sorted(found, key=lambda names: bytewise(names[0])))


def leaks(groups: Sequence[tuple[str, ...]], splits: Mapping[str, str]) -> tuple[tuple[str, ...], ...]:
    """Returns the groups of equal samples that stand in more than one split.

    Args:
        groups: as `find_duplicates` returns them.
        splits: name -> split. Names that it does not hold are in no split and leak nothing.
    """
    return tuple(names for names in groups if len({splits[name] for name in names if name in splits}) > 1)


def mislabelled(
    groups: Sequence[tuple[str, ...]], labels: Mapping[str, tuple[str, ...]]
) -> tuple[Mapping[str, tuple[str, ...]], ...]:
    """Returns the groups of equal samples that bear different labels, with the labels by name: some must be wrong.

    In each group one name of each label comes first: of a thousand black pictures in two classes, two say enough.

    Args:
        groups: as `find_duplicates` returns them.
        labels: name -> labels, in any order. Names that it does not hold are left out.
    """
    known = [{name: labels[name] for name in names if name in labels} for names in groups]
    return tuple(_one_of_each_first(group) for group in known if len(set(map(frozenset, group.values()))) > 1)


def _one_of_each_first(group: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    firsts: dict[frozenset[str], str] = {}
    for name, labels in group.items():
        firsts.setdefault(frozenset(labels), name)
    return {name: group[name] for name in (*firsts.values(), *group)}


def _hash_array(array: np.ndarray) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(array).data, digest_size=_DIGEST_BYTES).digest()


def _hash_file(file: File) -> bytes:
    with open_file(file) as stream:
        return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=_DIGEST_BYTES)).digest()
