"""Packing a data set into shards, and checking one without training on it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from perceptio.data.audioset import SEGMENT_KINDS
from perceptio.data.duplicates import find_duplicates
from perceptio.data.limits import Limits
from perceptio.data.shards.checking import check_index
from perceptio.data.shards.packing import SHARD_BYTES, Packed, pack
from perceptio.data.shards.patterns import find_shards, looks_like_shards
from perceptio.data.sources import open_source
from perceptio.data.splits import SplitConfig, assign_splits
from perceptio.errors import UsageError
from perceptio.modalities.registry import MODALITIES
from perceptio.modalities.telling import media_of, suffixes_of, tell_streams
from perceptio.runs.config import SourceConfig
from perceptio.runs.data import Survey, survey_data

Work = Callable[[str, int, int], None]
"""Is told what is being done, how much of it, of how much."""


def pack_data(
    data: str,
    out: Path,
    *,
    source: SourceConfig,
    split: SplitConfig | None = None,
    seed: int = 0,
    shard_bytes: int = SHARD_BYTES,
    work: Work = lambda what, done, total: None,
) -> Packed:
    """Packs whatever --data takes into shards.

    Args:
        split: how to draw the splits that the data does not give; None: only those that it gives are kept.

    Raises:
        PerceptioError: with the rule, the value and the way out.
    """
    limits = Limits()
    opened = open_source(
        data,
        source.format,
        limits,
        tuple(MODALITIES),
        asked=suffixes_of(source.kinds),
        media=media_of(source.kinds or SEGMENT_KINDS),
    )
    told, _ = tell_streams(opened, source.kinds, limits)
    if told.holds_files and out.absolute().is_relative_to(Path(data).absolute()):
        raise UsageError(f"{out} lies in the data itself, which is never written to; choose a folder beside it")
    splits = None
    if split is not None:
        splits = assign_splits(told.records, split, seed, find_duplicates(told, told.records))
    return pack(
        told,
        out,
        name=Path(data).stem or "samples",
        splits=splits,
        shard_bytes=shard_bytes,
        limits=limits,
        progress=lambda done, total: work("packing", done, total),
    )


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What a check found.

    Attributes:
        problems: what is wrong, a line each.
        lost_share: share of the samples that cannot be used, 0 to 1.
    """

    survey: Survey
    problems: tuple[str, ...]
    lost_share: float


def check_data(data: str, *, full: bool, work: Work = lambda what, done, total: None) -> Checked:
    """Looks at every sample of a data set as training would, and at its shards and their index if it has any.

    Args:
        full: decode every file, and compare the hash of every shard, instead of reading headers.

    Raises:
        PerceptioError: it cannot be opened, or the disk or network fails again and again.
    """
    problems: list[str] = []
    if looks_like_shards(data):
        found = find_shards(data, Limits())
        problems += check_index(
            found, Limits(), full=full, progress=lambda done, total: work("checking shards", done, total)
        )
    survey = survey_data(
        data,
        SourceConfig(check="full" if full else "header"),
        copies=False,
        judged=False,
        progress=lambda done, total: work("reading files", done, total),
    )
    problems += [f"{entry.name}: {entry.reason}" for entry in survey.skipped]
    lost = sum(entry.num_samples for entry in survey.skipped)
    return Checked(
        survey=survey,
        problems=tuple(dict.fromkeys(problems)),
        lost_share=lost / (lost + len(survey.usable)),
    )
