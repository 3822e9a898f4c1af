"""What a source of samples is: a fixed, sorted list of records, and a way to the content of each."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np

from perceptio.data.items import Item
from perceptio.data.names import bytewise, printable
from perceptio.errors import FileError

MAIN = ""
"""Name of the only part of a sample that has one part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One sample: which it is, what it shows, and where the user wants it."""

    name: str
    """Path relative to the source's root, with "/"; the sample's identity."""
    labels: tuple[str, ...]
    """Exactly one, unless the source is multi-label; then any number, also none."""
    split: Literal["train", "validation", "test"] | None = None
    """None: not given, to be drawn."""
    group: str | None = None
    """Samples of one group (a patient, a recording) must stay in one split. None: the sample is on its own."""
    parts: tuple[tuple[str, str], ...] = ()
    """Where a sample is made of several files: the name of each part and its path. Empty: one file, `name`."""


@dataclass(frozen=True)
class Skipped:
    """A sample that cannot be used. The name is made safe to print; the reason is one line."""

    name: str
    reason: str
    num_samples: int = 1
    """How many samples that costs: more than one where a shard is lost."""


@runtime_checkable
class Source(Protocol):
    """Where samples come from. Sources are sent to worker processes by pickle and must be cheap to send."""

    @property
    def records(self) -> tuple[Record, ...]:
        """All samples, sorted bytewise by name."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """All class names, sorted bytewise."""
        ...

    @property
    def multi_label(self) -> bool:
        """True if a sample may bear several labels, or none."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What was decided while reading, a sentence each, for the screen."""
        ...

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """What the source itself found to be unusable, beside the records."""
        ...

    @property
    def holds_files(self) -> bool:
        """True: samples are files, which may be unusable; False: arrays."""
        ...

    @property
    def root(self) -> Path | None:
        """The folder that every file must lie in. None: there is none."""
        ...

    @property
    def kind(self) -> str | None:
        """What kind of samples these are, where the source knows; None: their files tell."""
        ...

    def load(self, record: Record) -> Mapping[str, Item]:
        """Returns each part of a sample by its name, `MAIN` where there is only one: its file, or its array."""
        ...


@dataclass(frozen=True, kw_only=True)
class FileSource:
    """Samples that are files below one folder."""

    records: tuple[Record, ...]
    classes: tuple[str, ...]
    multi_label: bool
    notes: tuple[str, ...]
    root: Path
    skipped: tuple[Skipped, ...] = ()
    holds_files: bool = True
    kind: str | None = None

    def load(self, record: Record) -> Mapping[str, Item]:
        """Returns the paths of the record's files. They are not checked here: see `limits.check_file`."""
        return {part: self.root / name for part, name in record.parts or ((MAIN, record.name),)}


def error_of_part(error: FileError, part: str, item: Item) -> FileError:
    """Returns an error about one part of a sample, which says so where the sample has several."""
    if part == MAIN or isinstance(item, np.ndarray):
        return error
    return type(error)(f"{part} ({printable(item.name)}): {error}")


def sort_records(records: list[Record]) -> tuple[Record, ...]:
    """Returns the records sorted bytewise by name."""
    return tuple(sorted(records, key=lambda record: bytewise(record.name)))
