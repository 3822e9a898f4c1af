"""Looks at every sample once before training, so that bad ones are named at the start and not met in the middle.

In child processes: a file that kills, hangs or exhausts its decoder costs itself alone.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeAlias, TypeVar

import numpy as np

from perceptio.data.children import Allowance, Children
from perceptio.data.failures import patiently
from perceptio.data.items import Item, version_of
from perceptio.data.limits import Limits, check_file
from perceptio.data.names import check_record_name, printable
from perceptio.data.records import Record, Skipped, Source, error_of_part
from perceptio.data.verdicts import VerdictCache, digest
from perceptio.errors import FileError

_Facts = TypeVar("_Facts")

Look: TypeAlias = Callable[[Mapping[str, Item], bool], _Facts]
"""Takes the parts of a sample and whether to decode them whole; returns what is learnt, or raises FileError."""

_JOBS_A_MESSAGE = 16
_PROGRESS_STEP = 64


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
class Looking(Generic[_Facts]):
    """How samples are looked at.

    Attributes:
        look: what to do with the parts of one sample. It is sent to other processes by pickle; what it returns comes
            back as JSON would: tuples as lists.
        full: also decode every file, which finds truncated ones; else only headers are read.
        allowance: what looking at one sample may take.
        settings: all that decides what is found besides the files, as a text, for the cache.
    """

    look: Look[_Facts]
    limits: Limits
    full: bool
    allowance: Allowance
    settings: str = ""


@dataclass(frozen=True)
class _Work(Generic[_Facts]):
    """What is done to one sample in a child."""

    looking: Looking[_Facts]
    root: Path | None

    def __call__(self, job: tuple[str, Mapping[str, Item]]) -> _Facts:
        name, items = job
        return patiently(lambda: self._look(items), name)

    def _look(self, items: Mapping[str, Item]) -> _Facts:
        for part, item in items.items():
            assert not isinstance(item, np.ndarray), "a source of files gives files"
            try:
                check_file(item, self.root, self.looking.limits)
            except FileError as error:
                raise error_of_part(error, part, item) from error
        return self.looking.look(items, self.looking.full)


def probe(
    source: Source,
    looking: Looking[_Facts],
    *,
    cache: VerdictCache | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ProbeResult[_Facts]:
    """Looks at every sample of a source in child processes.

    A source of arrays has nothing to look at: all its records are good, and no facts are told.

    Args:
        cache: remembers good samples from one start to the next; None: nothing is remembered.
        progress: called with (samples done, samples in all), now and then and at the end, from the calling thread.

    Raises:
        DataError: the disk or network fails again and again.
        MissingExtraError: a decoder is not installed.
    """
    records = source.records
    if not source.holds_files:
        return ProbeResult(good=records, skipped=(), facts={})
    progress = progress or (lambda done, total: None)
    key = digest(str(source.root), repr(looking.limits), str(looking.full), looking.settings)
    known = cache.read(key) if cache is not None else {}
    versions = {record.name: _version(source, record) for record in records} if cache is not None else {}
    verdicts: dict[str, Any] = {
        name: known[version] for name, version in versions.items() if version and version in known
    }
    new = [record for record in records if record.name not in verdicts]
    for record, verdict in _looked_at(source, new, looking):
        verdicts[record.name] = verdict
        if len(verdicts) % _PROGRESS_STEP == 0:
            progress(len(verdicts), len(records))
    progress(len(records), len(records))
    result = _result(records, verdicts)
    if cache is not None and new:
        cache.write(key, {versions[name]: facts for name, facts in result.facts.items() if versions[name]})
    return result


def _looked_at(source: Source, records: list[Record], looking: Looking[Any]) -> Iterator[tuple[Record, Any]]:
    """Yields each record with what was found, or with what is wrong with it."""
    sound = []
    for record in records:
        try:
            check_record_name(record.name)
            sound.append(record)
        except FileError as error:
            yield record, error
    if not sound:
        return
    jobs = ((printable(record.name), source.load(record)) for record in sound)
    with Children(_Work(looking, source.root), looking.allowance, jobs_a_message=_JOBS_A_MESSAGE) as children:
        yield from zip(sound, children.map(jobs), strict=True)


def _result(records: tuple[Record, ...], verdicts: Mapping[str, Any]) -> ProbeResult[Any]:
    good, skipped, facts = [], [], {}
    for record in records:
        verdict = verdicts[record.name]
        if isinstance(verdict, FileError):
            skipped.append(Skipped(name=printable(record.name), reason=str(verdict)))
        else:
            good.append(record)
            facts[record.name] = verdict
    return ProbeResult(good=tuple(good), skipped=tuple(skipped), facts=facts)


def _version(source: Source, record: Record) -> str:
    """Returns another text when a file of the record may have changed; empty where one is not there."""
    try:
        files = [item for item in source.load(record).values() if not isinstance(item, np.ndarray)]
        return digest(*map(version_of, files))
    except (OSError, RuntimeError, ValueError):
        return ""
