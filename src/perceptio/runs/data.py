"""From --data to the samples of each split: open, probe, find copies, split."""

import hashlib
import os
import re
import shlex
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from perceptio.data.audioset import SEGMENT_KINDS
from perceptio.data.duplicates import find_duplicates, leaks, mislabelled
from perceptio.data.items import size_of
from perceptio.data.names import Split, printable
from perceptio.data.probe import Looking, probe
from perceptio.data.records import Record, Skipped, Source
from perceptio.data.skipped_file import write_skipped
from perceptio.data.sources import open_source
from perceptio.data.split_file import write_split
from perceptio.data.split_units import related
from perceptio.data.splits import assign_splits
from perceptio.data.verdicts import VerdictCache
from perceptio.errors import DataError, FileError, UsageError
from perceptio.modalities.registry import MODALITIES
from perceptio.modalities.streams import StreamFacts, StreamReader, Streams
from perceptio.modalities.telling import join_files, media_of, suffixes_of, tell_streams
from perceptio.runs.config import RunConfig, SourceConfig
from perceptio.runs.folder import RunFolder

FULL_CHECK_FILES = 5_000
SPLITS = ("train", "validation", "test")

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What a source holds, before anything is decided about it.

    Attributes:
        usable: records whose file can be read.
        skipped: the others, with reasons.
        streams: what the samples hold: as the config says, or as their files' names tell.
        facts: what the headers of each sample's files say, by name; empty where samples are no files.
        copies: groups of names with equal content.
        whole: whether files were decoded, and not only their headers read.
        seconds: what reading them took.
    """

    source: Source
    data: str
    usable: tuple[Record, ...]
    skipped: tuple[Skipped, ...]
    streams: Streams
    facts: Mapping[str, StreamFacts]
    copies: tuple[tuple[str, ...], ...]
    whole: bool = True
    seconds: float = 0.0

    @property
    def fingerprint(self) -> str:
        """Hash of all names, labels, file sizes and skipped files. Same-sized changes of content go unnoticed."""
        lines = [
            f"{record.name}\t{record.labels}\t{record.split}\t{record.group}\t{self.size_of(record)}"
            for record in self.usable
        ]
        lines += [f"skipped\t{skipped.name}" for skipped in self.skipped]
        return hashlib.blake2b("\n".join(lines).encode(), digest_size=16).hexdigest()

    @property
    def notes(self) -> tuple[str, ...]:
        """What was decided while looking, a sentence each."""
        return self.source.notes

    @property
    def mislabelled(self) -> tuple[Mapping[str, tuple[str, ...]], ...]:
        """Groups of equal samples with different labels, which they bear by name."""
        return mislabelled(self.copies, {record.name: record.labels for record in self.usable})

    def size_of(self, record: Record) -> str:
        """Returns a sample's size in bytes: of each of its files, joined by "+"; "0" where it is no file."""
        items = self.source.load(record).values() if self.source.holds_files else ()
        return "+".join(str(size_of(item)) for item in items if not isinstance(item, np.ndarray)) or "0"


@dataclass(frozen=True, kw_only=True)
class PreparedData:
    """Samples by split.

    Attributes:
        splits: split by name of record.
        leaks: groups of equal files that stand in more than one split.
        parted: the same of samples that belong together otherwise (`split_units.related`), as given splits have them.
    """

    survey: Survey
    splits: Mapping[str, Split]
    leaks: tuple[tuple[str, ...], ...] = ()
    parted: tuple[tuple[str, ...], ...] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the model's outputs."""
        return self.survey.source.classes

    def records(self, split: str) -> tuple[Record, ...]:
        """Returns the records of a split, in the source's order."""
        return tuple(record for record in self.survey.usable if self.splits[record.name] == split)

    def counts(self) -> dict[str, dict[str, int]]:
        """Returns samples of each class in each split."""
        return {
            split: dict(Counter(label for record in self.records(split) for label in record.labels)) for split in SPLITS
        }


def survey_data(
    data: str | None,
    config: SourceConfig,
    *,
    streams: Streams | None = None,
    laid_out: Callable[[Streams], Streams] | None = None,
    copies: bool = True,
    judged: bool = True,
    progress: Progress | None = None,
) -> Survey:
    """Opens a source, reads its files' headers (or all of them) and looks for copies.

    Args:
        streams: what the samples hold; None: as their files' names tell.
        laid_out: gives streams that were told from names those settings that must hold before files are looked at.
        copies: False leaves out the search for files of equal content, which reads every file that shares its size
            with another; a split that is already made does not need it.
        judged: False lets any share of the files be unusable, even all: who asks what is wrong with them is told.

    Raises:
        UsageError: without data.
        DataError: when the source holds nothing usable, or too many of its files are unusable.
    """
    if data is None and config.format != "sample":
        raise UsageError("--data is missing: a folder with one sub-folder a class, or a CSV, JSONL or Parquet table")
    began = time.monotonic()
    limits = config.limits
    kinds = config.kinds if streams is None else tuple(modality.kind for modality in streams.by_name.values())
    source = open_source(
        data or "",
        config.format,
        limits,
        tuple(MODALITIES),
        progress,
        asked=suffixes_of(config.kinds),
        media=media_of(kinds or SEGMENT_KINDS),
    )
    full = config.check == "full" or (config.check == "auto" and len(source.records) <= FULL_CHECK_FILES)
    source, streams = _with_streams(source, streams, config, laid_out)
    reader = StreamReader(streams, limits)
    looking = Looking(
        look=reader.look, limits=limits, full=full, allowance=reader.allowance(whole=full), settings=repr(streams)
    )
    cache = VerdictCache.of_user() if config.remember else None
    probed = probe(source, looking, cache=cache, progress=progress)
    skipped = (*source.skipped, *probed.skipped)
    if judged:
        check_share(skipped, len(probed.good), config.max_skipped, data)
    return Survey(
        source=source,
        data=data or "embedded sample",
        usable=_validation_as_test(probed.good) if config.validation_is_test else probed.good,
        skipped=skipped,
        streams=streams,
        facts=probed.facts,
        copies=find_duplicates(source, probed.good) if copies else (),
        whole=full,
        seconds=time.monotonic() - began,
    )


def _with_streams(
    source: Source, streams: Streams | None, config: SourceConfig, laid_out: Callable[[Streams], Streams] | None
) -> tuple[Source, Streams]:
    if streams is not None:
        return join_files(source, streams), streams
    source, told = tell_streams(source, config.kinds, config.limits)
    return source, told if laid_out is None else laid_out(told)


def admitted(survey: Survey, config: RunConfig) -> Survey:
    """Returns the survey without the samples that the config's settings cannot read; they are among the skipped.

    Raises:
        DataError: when there are too many of them.
    """
    usable, refused = [], []
    for record in survey.usable:
        try:
            config.streams.admit(survey.facts.get(record.name, {}))
            usable.append(record)
        except FileError as error:
            refused.append(Skipped(name=printable(record.name), reason=str(error)))
    skipped = (*survey.skipped, *refused)
    check_share(skipped, len(usable), config.source.max_skipped, survey.data)
    return replace(survey, usable=tuple(usable), skipped=skipped)


def _validation_as_test(records: tuple[Record, ...]) -> tuple[Record, ...]:
    return tuple(replace(record, split="test") if record.split == "validation" else record for record in records)


def check_share(skipped: Sequence[Skipped], num_usable: int, allowed: float, data: str | None) -> None:
    """Checks that no more files are unusable than may be.

    Raises:
        DataError: with the most frequent reasons; sizes and offsets in them count as equal.
    """
    lost = sum(entry.num_samples for entry in skipped)
    total = num_usable + lost
    if lost <= allowed * total:
        return
    alike: dict[str, list[Skipped]] = {}
    for entry in skipped:
        alike.setdefault(re.sub(r"\d[\d,.]*", "N", entry.reason), []).append(entry)
    frequent = sorted(alike.values(), key=len, reverse=True)[:3]
    examples = "".join(f"\n       {len(entries)} x {entries[0].reason}" for entries in frequent)
    shown = shlex.quote(str(data))  # a pattern such as a-{000..099}.tar means another thing to a shell
    raise DataError(
        f"{lost} of {total} files in {data} cannot be used: {lost / total:.0%}, the limit is "
        f"{allowed:.0%} (--source.max-skipped){examples}\n       first: {skipped[0].name}; all: perceptio info {shown}"
    )


def prepare_data(survey: Survey, config: RunConfig) -> PreparedData:
    """Splits the usable samples and looks for copies that stand on both sides.

    Raises:
        DataError: when a split that is needed stays empty, or a class has no training sample.
    """
    splits = assign_splits(survey.usable, config.split, config.seed, survey.copies)
    prepared = PreparedData(
        survey=survey,
        splits=splits,
        leaks=leaks(survey.copies, splits),
        parted=leaks([tuple(names) for names in related(survey.usable)], splits),
    )
    for split in SPLITS:
        if not prepared.records(split):
            copies = sum(len(names) for names in survey.copies)
            why = f"; {copies} of them are exact copies of each other, which stay on one side" if copies else ""
            other = "a smaller --split.validation and --split.test" if split == "train" else f"a larger --split.{split}"
            raise DataError(
                f"the {split} split of {survey.data} is empty: {len(survey.usable)} samples, "
                f"--split.validation {config.split.validation}, --split.test {config.split.test}{why}. A run needs all "
                f"three, train, validation and test: give {other}, or more files"
            )
    trained = prepared.counts()["train"]
    missing = [name for name in prepared.classes if name not in trained]
    # Of a set with several labels a sample, such as AudioSet, people often hold a part that lacks some classes.
    if missing and not survey.source.multi_label:
        raise DataError(
            f"no training sample has the class {missing[0]!r} ({len(missing)} such classes); give it files that can be "
            "read, or take it out of the data"
        )
    return prepared


def write_data_files(folder: RunFolder, prepared: PreparedData) -> None:
    """Writes split.csv and skipped.csv."""
    write_split(folder.split, prepared.survey.usable, prepared.splits, prepared.survey.size_of)
    write_skipped(folder.skipped, prepared.survey.skipped)


def choose_workers(asked: int | None, source: Source) -> int:
    """Returns the number of loader workers: as asked, or one per spare core for files and none for arrays.

    Several training processes on a machine share its cores; their launcher says how many there are.
    """
    if asked is not None:
        return asked
    if not source.holds_files:
        return 0
    processes_here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(1, min(8, (os.cpu_count() or 2) // processes_here - 1))
