"""Draws which samples train, which choose the epoch and which are kept for the test."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from perceptio.data.names import Split
from perceptio.data.records import Record
from perceptio.data.split_draw import draw
from perceptio.data.split_units import Unit, find_units
from perceptio.errors import DataError, UsageError

_DRAWN: tuple[Split, ...] = ("test", "validation")


@dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """How samples without a given split are divided.

    Raises:
        UsageError: a share is out of range, or nothing is left to train on.
    """

    validation: float = 0.15
    """Share of the samples that choose the epoch, 0 to 1. A run needs some: 0 is for data that gives them, and for
    packing."""
    test: float = 0.15
    """Share of the samples kept for the test at the end, 0 to 1. A run needs some: 0 is for data that gives them, and
    for packing."""
    by: Literal["file", "folder", "group"] = "file"
    """What stays on one side: folder keeps the files of a sub-folder of a class together, group needs a manifest's
    column group. Copies, and groups where given, stay together in any case."""

    def __post_init__(self) -> None:
        for name in ("validation", "test"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise UsageError(f"split.{name} must be at least 0 and below 1: got {getattr(self, name)}")
        if self.validation + self.test >= 1.0:
            raise UsageError(
                f"split.validation and split.test must leave something to train on: {self.validation} + {self.test} "
                "is not below 1"
            )
        if self.by not in ("file", "folder", "group"):
            raise UsageError(f"split.by must be file, folder or group: got {self.by!r}")


def assign_splits(
    records: Sequence[Record], config: SplitConfig, seed: int, duplicates: Iterable[tuple[str, ...]]
) -> dict[str, Split]:
    """Returns name -> split for every record, in the records' order.

    Given splits stay. A split that is given to no record is drawn: from the records without a split, or, if all have
    one, from those in train. So a folder with train and test gets a validation split out of train, and one with train
    and validation a test split. The shares are of what is drawn from.

    What must stay together (`find_units`) does. If a given split already holds one of them, the others follow it;
    where two given splits hold copies of each other, that is for `duplicates.leaks` to tell. How the draw goes:
    `split_draw.draw`.

    Args:
        duplicates: groups of names with equal content, as `find_duplicates` returns them.

    Raises:
        DataError: nothing is left to train on, or `config.by` asks for what the records do not have.
    """
    given: dict[str, Split] = {record.name: record.split for record in records if record.split is not None}
    free = [record.name for record in records if record.split is None]
    pool = set(free or [name for name, split in given.items() if split == "train"])
    if not pool:
        kinds = " and ".join(sorted(set(given.values())))
        raise DataError(f"no sample is left to train on: all {len(records):,} are given to {kinds or 'nothing'}")
    shares = {split: getattr(config, split) for split in _DRAWN if split not in given.values()}
    splits = dict(given)
    loose: list[Unit] = []
    for unit in find_units(records, config.by, duplicates):
        fixed = [record for record in unit.records if record.name not in pool]
        if not fixed:
            loose.append(unit)
            continue
        for record in unit.records:
            splits.setdefault(record.name, splits[fixed[0].name])
    in_loose = {record.name for unit in loose for record in unit.records}
    trained = [record for record in records if record.name not in in_loose and splits.get(record.name) == "train"]
    splits |= draw(loose, {split: share for split, share in shares.items() if share > 0.0}, seed, trained)
    return {record.name: splits[record.name] for record in records}
