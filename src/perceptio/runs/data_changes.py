"""What became of the data since a run began: its split.csv against what is there now."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from perceptio.data.names import printable
from perceptio.data.records import Record
from perceptio.data.split_file import SplitRow, labels_cell
from perceptio.data.splits import assign_splits
from perceptio.errors import DataError
from perceptio.runs.config import RunConfig
from perceptio.runs.data import SPLITS, PreparedData, Survey

SHOWN_NAMES = 3


@dataclass(frozen=True, kw_only=True)
class DataChanges:
    """Names of samples, by what happened to them."""

    gone: tuple[str, ...] = ()
    new: tuple[str, ...] = ()
    resized: tuple[str, ...] = ()
    relabelled: tuple[str, ...] = ()

    def __str__(self) -> str:
        told = [
            f"{len(names)} {what} ({_first(names)})"
            for names, what in (
                (self.gone, "gone or unusable now"),
                (self.new, "new"),
                (self.resized, "of another size"),
                (self.relabelled, "with other labels"),
            )
            if names
        ]
        return ", ".join(told) or "split.csv says otherwise than the checkpoint"


def find_changes(rows: dict[str, SplitRow], survey: Survey) -> DataChanges:
    """Returns how the usable samples differ from the rows of a run's split.csv."""
    now = {record.name: record for record in survey.usable}
    both = [name for name in rows if name in now]
    return DataChanges(
        gone=tuple(name for name in rows if name not in now),
        new=tuple(name for name in now if name not in rows),
        resized=tuple(name for name in both if rows[name].size not in (None, survey.size_of(now[name]))),
        relabelled=tuple(name for name in both if rows[name].labels not in (None, labels_cell(now[name].labels))),
    )


def prepare_changed(rows: dict[str, SplitRow], survey: Survey, config: RunConfig) -> PreparedData:
    """Returns changed data, split: samples keep their split; new ones train, or follow their copies and groups.

    Raises:
        DataError: when what must stay together cannot, or nothing is left of a split: others have been trained on.
    """
    left = {rows[record.name].split for record in survey.usable if record.name in rows}
    for split in SPLITS:
        if split not in left:
            had = sum(row.split == split for row in rows.values())
            raise DataError(
                f"all {had} {split} samples of this run are gone from {survey.data}, and no other sample can stand for "
                "them: put some of them back, or start a new run"
            )
    records = [_with_split(record, rows) for record in survey.usable]
    return PreparedData(
        survey=survey, splits=assign_splits(records, config.split, config.seed, survey.copies), leaks=()
    )


def _with_split(record: Record, rows: dict[str, SplitRow]) -> Record:
    return replace(record, split=rows[record.name].split if record.name in rows else None)


def _first(names: Sequence[str]) -> str:
    shown = [printable(name) for name in names[:SHOWN_NAMES]]
    more = f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
    return ", ".join(shown) + more
