"""What a source of samples is: a fixed, sorted list of records, and a way to the content of each."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np

from perceptio.data.names import bytewise


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


@dataclass(frozen=True)
class Skipped:
    """A sample that cannot be used. The name is made safe to print; the reason is one line."""

    name: str
    reason: str


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
    def root(self) -> Path | None:
        """The folder that every file must lie in. None: the samples are not files."""
        ...

    def load(self, record: Record) -> Path | np.ndarray:
        """Returns the path of the sample's file, or its array if it is no file."""
        ...


@dataclass(frozen=True, kw_only=True)
class FileSource:
    """Samples that are files below one folder."""

    records: tuple[Record, ...]
    classes: tuple[str, ...]
    multi_label: bool
    notes: tuple[str, ...]
    root: Path

    def load(self, record: Record) -> Path:
        """Returns the path of the record's file. It is not checked here: see `limits.check_file`."""
        return self.root / record.name


def sort_records(records: list[Record]) -> tuple[Record, ...]:
    """Returns the records sorted bytewise by name."""
    return tuple(sorted(records, key=lambda record: bytewise(record.name)))
