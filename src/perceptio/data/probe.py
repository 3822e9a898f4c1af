"""Looks at every sample once before training, so that bad ones are named at the start and not met in the middle."""

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

import numpy as np

from perceptio.data.failures import patiently
from perceptio.data.items import Item
from perceptio.data.limits import Limits, check_file
from perceptio.data.names import check_record_name, printable
from perceptio.data.records import Record, Skipped, Source, error_of_part
from perceptio.errors import FileError

_Facts = TypeVar("_Facts")

Look: TypeAlias = Callable[[Mapping[str, Item], bool], _Facts]
"""Takes the parts of a sample and whether to decode them whole; returns what is learnt, or raises FileError."""

_MAX_THREADS = 16
_FILES_A_ROUND = 512


@dataclass(frozen=True, kw_only=True)
class ProbeResult(Generic[_Facts]):
    """Which samples can be used, and what was learnt about them."""

    good: tuple[Record, ...]
    """In the source's order."""
    skipped: tuple[Skipped, ...]
    """In the source's order."""
    facts: Mapping[str, _Facts]
    """Name of each good sample -> what looking at it returned; empty if there was nothing to look at."""


@dataclass(frozen=True, kw_only=True)
class _Probe(Generic[_Facts]):
    """What is done to one record."""

    source: Source
    look: "Look[_Facts]"
    limits: Limits
    full: bool

    def __call__(self, record: Record) -> Skipped | tuple[_Facts]:
        try:
            check_record_name(record.name)
            return (patiently(lambda: self._look(self.source.load(record)), printable(record.name)),)
        except FileError as error:
            return Skipped(name=printable(record.name), reason=str(error))

    def _look(self, items: Mapping[str, Item]) -> _Facts:
        for part, item in items.items():
            assert not isinstance(item, np.ndarray), "a source of files gives files"
            try:
                check_file(item, self.source.root, self.limits)
            except FileError as error:
                raise error_of_part(error, part, item) from error
        return self.look(items, self.full)


def probe(
    source: Source,
    look: "Look[_Facts]",
    *,
    limits: Limits,
    full: bool,
    progress: Callable[[int, int], None] | None = None,
) -> ProbeResult[_Facts]:
    """Looks at every sample of a source in threads (decoders let go of Python's lock).

    A source of arrays has nothing to look at: all its records are good, and no facts are told.

    Args:
        look: what to do with the parts of one sample.
        full: also decode every file, which finds truncated ones; else only headers are read.
        progress: called with (samples done, samples in all), now and then and at the end, from the calling thread.

    Raises:
        DataError: the disk or network fails again and again.
    """
    records = source.records
    if not source.holds_files:
        return ProbeResult(good=records, skipped=(), facts={})
    work = _Probe(source=source, look=look, limits=limits, full=full)
    good: list[Record] = []
    skipped: list[Skipped] = []
    facts: dict[str, _Facts] = {}
    threads = min(_MAX_THREADS, 2 * (os.cpu_count() or 1))
    with ThreadPoolExecutor(threads, thread_name_prefix="probe") as pool:
        # In rounds, since a pool would take a million records as a million waiting calls.
        for start in range(0, len(records), _FILES_A_ROUND):
            chosen = records[start : start + _FILES_A_ROUND]
            for record, verdict in zip(chosen, pool.map(work, chosen), strict=True):
                if isinstance(verdict, Skipped):
                    skipped.append(verdict)
                else:
                    good.append(record)
                    (facts[record.name],) = verdict
            if progress is not None:
                progress(len(good) + len(skipped), len(records))
    return ProbeResult(good=tuple(good), skipped=tuple(skipped), facts=facts)
