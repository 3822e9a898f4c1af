"""Which samples must not be parted: copies of each other, members of a group, files of one folder."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import Literal

from perceptio.data.names import SPLIT_NAMES, bytewise
from perceptio.data.records import Record
from perceptio.errors import DataError
from perceptio.randomness import derive


@dataclass(frozen=True)
class Unit:
    """Samples that stay in one split."""

    records: tuple[Record, ...]

    @cached_property
    def labels(self) -> Counter[str]:
        """How many of the samples bear each label."""
        return Counter(label for record in self.records for label in record.labels)

    @property
    def key(self) -> str:
        """What the unit is called: its first name. The draw depends on it and on nothing else of the data."""
        return self.records[0].name

    def place(self, seed: int) -> int:
        """The unit's place in the queue for the held-out splits: a number from the seed and the key alone."""
        return derive(seed, "split", self.key)


def find_units(
    records: Sequence[Record], by: Literal["file", "folder", "group"], duplicates: Iterable[tuple[str, ...]]
) -> list[Unit]:
    """Joins the samples that must stay together, in order of their first names.

    Raises:
        DataError: `by` asks for folders or groups and there are none.
    """
    leader = {record.name: record.name for record in records}

    def find(name: str) -> str:
        while leader[name] != name:
            leader[name] = leader[leader[name]]
            name = leader[name]
        return name

    def join(names: Iterable[str]) -> None:
        present = [find(name) for name in names if name in leader]
        for name in present[1:]:
            # The bytewise first name leads, so that a unit's key does not depend on the order of joining.
            one, other = sorted((find(present[0]), find(name)), key=bytewise)
            leader[other] = one

    for names in [*duplicates, *related(records), *(_folders(records) if by == "folder" else [])]:
        join(names)
    if by == "group" and not any(record.group for record in records):
        raise DataError("split.by group needs groups: add a column group to the manifest, or use split.by file")
    members: dict[str, list[Record]] = {}
    for record in sorted(records, key=lambda record: bytewise(record.name)):
        members.setdefault(find(record.name), []).append(record)
    return [Unit(tuple(unit)) for unit in members.values()]


def related(records: Sequence[Record]) -> list[list[str]]:
    """Returns the names of samples that belong together: those of a group, and those that share a file."""
    return [*_groups(records), *_sharing(records)]


def _sharing(records: Sequence[Record]) -> list[list[str]]:
    """Groups samples by their files, of which one may stand in several rows of a table.

    What more than half of the samples share, such as a silence that stands for missing sound, joins none.
    """
    sharing: dict[str, list[str]] = {}
    for record in records:
        for file in {file for _, file in record.parts}:
            sharing.setdefault(file, []).append(record.name)
    return [names for names in sharing.values() if 1 < len(names) <= len(records) / 2]


def _groups(records: Iterable[Record]) -> list[list[str]]:
    groups: dict[str, list[str]] = {}
    for record in records:
        if record.group is not None:
            groups.setdefault(record.group, []).append(record.name)
    return list(groups.values())


def _folders(records: Sequence[Record]) -> list[list[str]]:
    """Groups files by their folder, read without the split's and the class's own folder.

    Folders of equal name below different classes (kick/kit1, snare/kit1) count as one: they are usually one source, and
    if they are not, joining them does no harm.
    """
    folders: dict[str, list[str]] = {}
    for record in records:
        parts = list(PurePosixPath(record.name).parent.parts)
        if parts and parts[0].lower() in SPLIT_NAMES and record.split is not None:
            parts = parts[1:]
        if parts and parts[0] in record.labels:
            parts = parts[1:]
        if parts:
            folders.setdefault("/".join(parts), []).append(record.name)
    if len(folders) < 2:
        raise DataError(
            "split.by folder needs at least two folders inside the class folders, as in cat/visit1/a.jpg; else use "
            "split.by file"
        )
    return list(folders.values())
