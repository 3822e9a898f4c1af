"""Looks at every file once before training, so that bad ones are named at the start and not met in the middle."""

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from perceptio.data.failures import patiently
from perceptio.data.limits import Limits, check_file
from perceptio.data.names import check_record_name, printable
from perceptio.data.records import Record, Skipped, Source
from perceptio.errors import FileError

_Shape = TypeVar("_Shape")

_MAX_THREADS = 16
_FILES_A_ROUND = 512


@dataclass(frozen=True, kw_only=True)
class ProbeResult(Generic[_Shape]):
    """Which samples can be used, and what was learnt about them."""

    good: tuple[Record, ...]
    """In the source's order."""
    skipped: tuple[Skipped, ...]
    """In the source's order."""
    shapes: Mapping[str, _Shape]
    """Name of each good sample -> what the reader's probe returned; empty if there was nothing to probe."""


@dataclass(frozen=True, kw_only=True)
class _Probe(Generic[_Shape]):
    """What is done to one record."""

    source: Source
    reader_probe: Callable[[Path], _Shape]
    decode: Callable[[Path], object] | None
    limits: Limits

    def __call__(self, record: Record) -> Skipped | tuple[_Shape]:
        try:
            check_record_name(record.name)
            path = self.source.load(record)
            assert isinstance(path, Path), "a source with a root holds files"
            return (patiently(lambda: self._look(path), printable(record.name)),)
        except FileError as error:
            return Skipped(name=printable(record.name), reason=str(error))

    def _look(self, path: Path) -> _Shape:
        check_file(path, self.source.root, self.limits)
        shape = self.reader_probe(path)
        if self.decode is not None:
            self.decode(path)
        return shape


def probe(
    source: Source,
    reader_probe: Callable[[Path], _Shape],
    *,
    limits: Limits,
    full: bool,
    decode: Callable[[Path], object] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ProbeResult[_Shape]:
    """Probes every file of a source in threads (decoders let go of Python's lock).

    A source of arrays has nothing to probe: all its records are good, and no shape is told.

    Args:
        reader_probe: returns what the header of a file says, such as (height, width), or raises FileError.
        full: also decode every file, which finds truncated ones; else only headers are read.
        decode: decodes a file or raises FileError; needed for, and only used with, `full`.
        progress: called with (files done, files in all), now and then and at the end, always from the calling thread.

    Raises:
        ValueError: `full` without `decode`.
        DataError: the disk or network fails again and again.
    """
    if full and decode is None:
        raise ValueError("a full probe needs decode: pass the reader's decode function, or full=False")
    records = source.records
    if source.root is None:
        return ProbeResult(good=records, skipped=(), shapes={})
    look = _Probe(source=source, reader_probe=reader_probe, decode=decode if full else None, limits=limits)
    good: list[Record] = []
    skipped: list[Skipped] = []
    shapes: dict[str, _Shape] = {}
    threads = min(_MAX_THREADS, 2 * (os.cpu_count() or 1))
    with ThreadPoolExecutor(threads, thread_name_prefix="probe") as pool:
        # In rounds, since a pool would take a million records as a million waiting calls.
        for start in range(0, len(records), _FILES_A_ROUND):
            for record, verdict in zip(
                records[start : start + _FILES_A_ROUND],
                pool.map(look, records[start : start + _FILES_A_ROUND]),
                strict=True,
            ):
                if isinstance(verdict, Skipped):
                    skipped.append(verdict)
                else:
                    good.append(record)
                    (shapes[record.name],) = verdict
            if progress is not None:
                progress(len(good) + len(skipped), len(records))
    return ProbeResult(good=tuple(good), skipped=tuple(skipped), shapes=shapes)
