"""Samples in tar shards as a source like any other: each is found by its name, in any order, from any process."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np

from perceptio.data.items import Item, Member, Shard
from perceptio.data.limits import Limits
from perceptio.data.names import (
    CLASS_LIMITS,
    SPLIT_NAMES,
    Split,
    check_classes,
    class_lines,
    most_class_bytes,
    printable,
    read_class_lines,
)
from perceptio.data.records import MAIN, Record, Skipped, sort_records
from perceptio.data.shards.patterns import CLASSES_NAME, ShardSet, find_shards
from perceptio.data.shards.remote import read_small
from perceptio.data.shards.scan import ShardTable, split_key
from perceptio.data.shards.tables import Progress, Tables, read_tables
from perceptio.errors import DataError, FileError

_WORDS = "-_."


@dataclass(frozen=True, kw_only=True, eq=False)
class ShardSource:
    """The samples of a set of shards.

    Attributes:
        shards: where the shards lie.
        shard, offset, size: of each member, by its row.
        members: its name in the shard, by its row.
        rows: the row of each file by the name that records call it.
        skipped: samples that are lost with a shard, or whose members cannot be used.
    """

    records: tuple[Record, ...]
    classes: tuple[str, ...]
    multi_label: bool
    notes: tuple[str, ...]
    skipped: tuple[Skipped, ...]
    shards: tuple[Shard, ...]
    shard: np.ndarray
    offset: np.ndarray
    size: np.ndarray
    members: tuple[str, ...]
    rows: Mapping[str, int]
    root: None = None
    holds_files: bool = True
    kind: str | None = None

    def load(self, record: Record) -> Mapping[str, Item]:
        """Returns the record's members, which nothing has opened yet."""
        return {part: self._member(self.rows[name]) for part, name in record.parts or ((MAIN, record.name),)}

    def shards_of(self, records: Sequence[Record]) -> np.ndarray:
        """Returns the number of the shard that each sample's first file lies in, int64 (records,)."""
        firsts = [self.rows[record.parts[0][1] if record.parts else record.name] for record in records]
        return self.shard[firsts].astype(np.int64)

    def _member(self, row: int) -> Member:
        return Member(self.members[row], self.shards[self.shard[row]], int(self.offset[row]), int(self.size[row]))


def read_shards(place: str, limits: Limits, progress: Progress | None = None) -> ShardSource:
    """Opens a set of shards: a folder, a .tar or a pattern of them, as a path or a URL.

    Labels are those that .cls, .json or .txt members give, else the first folder in the members' names. A class given
    as a number is named by that line of classes.txt beside the shards, counted from 0, if there is one. Where every
    shard's name holds a split (photos-train-000000.tar), that is the split of its samples.

    Raises:
        UsageError, DataError: the place is none, or its shards cannot be used.
    """
    found = find_shards(place, limits)
    tables = read_tables(found, limits, progress)
    if not tables.shards:
        first = tables.missing[0]
        raise DataError(f"no shard of {printable(place)} can be read; {first.name}: {first.reason}")
    return _Gathering(found=found, tables=tables, limits=limits).source(printable(place))


@dataclass
class _Gathering:
    """Puts the tables of all shards together."""

    found: ShardSet
    tables: Tables
    limits: Limits
    records: list[Record] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    members: list[str] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)
    places: list[tuple[int, int, int]] = field(default_factory=list)

    def source(self, place: str) -> ShardSource:
        tables = [table for _, table in self.tables.shards]
        self.splits, notes = splits_of([table.name for table in tables])
        self.class_names = _class_names(self.found, self.limits)
        self.by_folder = not any(label is not None for table in tables for label in table.labels)
        self.multi_label = any(isinstance(label, list) for table in tables for label in table.labels)
        self.depth = _common_depth(tables) if self.by_folder else 0
        self.known = frozenset(self.class_names)
        self.by_place = _are_places(tables, self.class_names)
        names = Counter(name for table in tables for name in table.names)
        self.by_shard = any(count > 1 for count in names.values())
        for number, table in enumerate(tables):
            self._add(number, table)
        self._count_lost(tables)
        if not self.records:
            raise DataError(f"{place} holds no sample{self._hint(tables)}")
        labels = (label for record in self.records for label in record.labels)
        columns = np.array(self.places, dtype=np.int64).reshape(-1, 3).T
        return ShardSource(
            records=sort_records(self.records),
            classes=check_classes(self.class_names if self.class_names else labels, self.limits, where=place),
            multi_label=self.multi_label,
            notes=(*self._notes(tables), *notes, *self.tables.notes),
            skipped=tuple(self.skipped),
            shards=tuple(shard for shard, _ in self.tables.shards),
            shard=columns[0].astype(np.int32),
            offset=columns[1],
            size=columns[2],
            members=tuple(self.members),
            rows=self.rows,
        )

    def _add(self, number: int, table: ShardTable) -> None:
        prefix = f"{table.name}/" if self.by_shard else ""
        split = self.splits.get(table.name)
        files: dict[int, list[int]] = {}
        for row, sample in enumerate(table.samples):
            files.setdefault(sample, []).append(row)
        for sample, rows in files.items():
            facts = table.facts.get(str(sample), {})
            group = facts.get("group")
            named = [self._place(number, table, row, prefix) for row in rows]
            try:
                labels = self._labels(table, sample, rows[0])
            except FileError as error:
                self.skipped += [Skipped(printable(name), str(error)) for name in named]
                continue
            parts = _parts(facts.get("parts"), dict(zip((table.names[row] for row in rows), named, strict=True)))
            given = facts.get("name")
            if parts or (isinstance(given, str) and len(named) == 1):
                name = prefix + given if isinstance(given, str) else named[0]
                if not parts:
                    self.rows[name] = self.rows[named[0]]
                named = [name]
            for name in named:
                self.records.append(
                    Record(
                        name=name,
                        labels=labels,
                        split=SPLIT_NAMES.get(str(facts.get("split")), split),
                        group=None if group is None else str(group),
                        parts=parts,
                    )
                )
        self.skipped += [Skipped(printable(name), reason) for name, reason in table.refused]

    def _place(self, number: int, table: ShardTable, row: int, prefix: str) -> str:
        name = prefix + table.names[row]
        self.rows[name] = len(self.places)
        self.members.append(table.names[row])
        self.places.append((number, table.offsets[row], table.sizes[row]))
        return name

    def _labels(self, table: ShardTable, sample: int, row: int) -> tuple[str, ...]:
        label = table.labels[sample]
        if self.by_folder:
            folders = table.names[row].split("/")[self.depth : -1]
            if not folders:
                raise FileError("has no label: neither a .cls, .json or .txt member nor a folder in its name")
            return (folders[0],)
        if label is None:
            raise FileError("has no label: no .cls member, no label in a .json member, no .txt member")
        if not self.class_names:
            return (label,) if isinstance(label, str) else tuple(dict.fromkeys(label))
        if isinstance(label, str):
            return (self._class(label, is_place=self.by_place),)
        # Several labels are written by their names, and numbers may be names.
        return tuple(dict.fromkeys(self._class(value, is_place=value not in self.known) for value in label))

    def _class(self, value: str, *, is_place: bool) -> str:
        number = _number(value)
        if is_place and number is not None and number < len(self.class_names):
            return self.class_names[number]
        if value in self.known:
            return value
        raise FileError(f"has the label {printable(value)[:40]!r}, which {CLASSES_NAME} does not name")

    def _count_lost(self, tables: Sequence[ShardTable]) -> None:
        """Adds what is lost with its shard: by name where the index lists it, else as a number under the shard's name.

        Names that only a cache knows are not told: on another machine the data's fingerprint would be another one.
        """
        left = [len(table.labels) for table in tables]
        # Where no shard is known whole, the largest of those that are left says most.
        known = [number for number in self.tables.held if number is not None] or left
        held = [
            _probably_held(rest, known) if number is None else number
            for rest, number in zip(left, self.tables.held, strict=True)
        ]
        usual = _probably_held(0, held)
        self.skipped += [Skipped(entry.name, entry.reason, usual) for entry in self.tables.missing]
        self.skipped += self.tables.lost
        named = {entry.reason for entry in self.tables.lost}
        for number, table in enumerate(tables):
            if table.problem and not any(table.name in reason for reason in named):
                lost = max(1, held[number] - left[number])
                about = "an estimated " if self.tables.held[number] is None else ""
                rest = f"{left[number]:,} whole samples before that are used, {about}{lost:,} lost"
                self.skipped.append(Skipped(printable(table.name), f"{table.problem}; {rest}", lost))

    def _notes(self, tables: Sequence[ShardTable]) -> list[str]:
        total = sum(table.size for table in tables)
        notes = [f"{len(self.records):,} files in {len(tables):,} shards of {total / 10**6:,.1f} MB together"]
        if self.class_names:
            notes.append(f"class names from {CLASSES_NAME}")
        elif self.by_folder:
            notes.append("no member gives a label: classes are the folders in the members' names")
        if self.by_shard:
            notes.append("shards use the same names for different members: samples are called SHARD/NAME")
        left_out = sum((Counter(table.left_out) for table in tables), Counter())
        if left_out:
            kinds = ", ".join(f"{count:,} {printable(kind)}" for kind, count in left_out.most_common(4))
            notes.append(f"members left out: {kinds}{_pickle_note(left_out)}")
        return notes

    def _hint(self, tables: Sequence[ShardTable]) -> str:
        if self.skipped:
            return f": {self.skipped[0].name}: {self.skipped[0].reason}"
        return "".join(self._notes(tables)[-1:]).join((" (", ")"))


def _number(label: str) -> int | None:
    return int(label) if label.isdecimal() and len(label) < 10 else None


def _are_places(tables: Sequence[ShardTable], class_names: Sequence[str]) -> bool:
    """Returns whether labels that are numbers are lines of classes.txt, and not the names of classes.

    Decided for all of a set at once, since the names may be numbers themselves, in another order (1, 10, 11, 2): where
    one number is a name and no line, all are names.
    """
    labels = {label for table in tables for label in table.labels if isinstance(label, str)}
    names = labels & set(class_names)
    return all(number < len(class_names) for number in map(_number, names) if number is not None)


def _probably_held(left: int, known: Sequence[int]) -> int:
    """Returns how many samples a shard held of which some are left, at least one more.

    The median of the shards that hold more than what is left: others tell nothing about this one. Where none does,
    twice what is left: a cut is as likely before the middle as behind it.
    """
    larger = [number for number in known if number > left]
    return round(median(larger)) if larger else max(1, 2 * left)


def _pickle_note(left_out: Mapping[str, int]) -> str:
    return " (pickles are never read: they run what they say)" if left_out.get("pickle") else ""


def _parts(given: object, named: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Returns the parts of a sample by column, where its description names them by extension."""
    if not isinstance(given, dict):
        return ()
    by_extension = {split_key(name)[1]: called for name, called in named.items()}
    parts = [(str(column), by_extension.get(str(extension))) for column, extension in sorted(given.items())]
    return tuple((column, name) for column, name in parts if name is not None)


def splits_of(names: Sequence[str]) -> tuple[dict[str, Split], list[str]]:
    """Returns the split that each shard's name holds, if all of them do, and a note on it.

    Where only some do, the word means something else: nothing is taken for a split.
    """
    found: dict[str, Split] = {}
    for name in names:
        words = "".join(" " if letter in _WORDS else letter for letter in name.lower()).split()
        splits = {SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES}
        if len(splits) == 1:
            found[name] = splits.pop()
    if len(found) < len(names):
        return {}, []
    shown = ", ".join(sorted(set(found.values())))
    return found, [f"splits from the shards' names: {shown}"]


def _common_depth(tables: Sequence[ShardTable]) -> int:
    """Returns how many folders all names begin with: the one that was packed, and what lies above it."""
    folders: list[str] | None = None
    for table in tables:
        for name in table.names:
            parts = name.split("/")[:-1]
            if folders is None:
                folders = parts
            same = 0
            while same < min(len(folders), len(parts)) and folders[same] == parts[same]:
                same += 1
            folders = folders[:same]
            if not folders:
                return 0
    return len(folders or ())


def _class_names(found: ShardSet, limits: Limits) -> list[str]:
    """Returns the lines of classes.txt beside the shards; none if there is no such file."""
    place = found.beside + CLASSES_NAME
    try:
        if found.is_remote:
            names = class_lines(read_small(place, most_class_bytes(limits), CLASS_LIMITS), CLASSES_NAME)
        elif Path(place).is_file():
            names = read_class_lines(Path(place), limits)
        else:
            return []
    except FileError as error:
        if CLASS_LIMITS in str(error):
            raise DataError(f"{CLASSES_NAME} {error}") from error
        return []
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(f"{CLASSES_NAME} names {printable(twice[0])!r} twice; every class needs its own name")
    return names
