"""The files that could be read before training and cannot be any more: each counted once, told, listed, and limited."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from perceptio.data.names import Split, printable
from perceptio.data.records import Skipped
from perceptio.data.skipped_file import write_skipped
from perceptio.errors import DataError
from perceptio.training.processes import Processes

SHOWN_FILES = 3


@dataclass(frozen=True, kw_only=True)
class FileLost:
    """The first file that went bad in mid-run; of later ones the evaluations tell how many there are.

    Attributes:
        listed_in: the file that lists all of them.
    """

    name: str
    reason: str
    listed_in: str


class LostFiles:
    """What was lost in mid-run, known alike to all processes.

    Args:
        splits: split by name of every sample that the run began with.
        skipped: what could not be used from the start; it counts towards the limit.
        allowed: share of all samples that may be unusable.
        path: skipped.csv of the run.
    """

    def __init__(self, splits: Mapping[str, Split], skipped: Sequence[Skipped], *, allowed: float, path: Path) -> None:
        self.splits = splits
        self.skipped = tuple(skipped)
        self.allowed = allowed
        self.path = path
        self._found: dict[str, Skipped] = {}
        self._is_told = False
        self._is_listed = True

    @property
    def found(self) -> tuple[Skipped, ...]:
        """The lost samples, in the order in which they were found."""
        return tuple(self._found.values())

    def count(self, split: str) -> int:
        """Returns how many samples of a split were lost."""
        return sum(self.splits[name] == split for name in self._found)

    def restore(self, found: Sequence[Skipped]) -> None:
        """Goes on with what a checkpoint knew, without samples that the data no longer has."""
        self._found = {entry.name: entry for entry in found if entry.name in self.splits}
        self._is_listed = False

    def add(self, own: Sequence[Skipped], processes: Processes, report: Callable[[FileLost], None]) -> bool:
        """Adds what each process found, and tells of the first. All processes call this.

        Returns:
            Whether any process found something, known before or not.

        Raises:
            DataError: more of the run's samples are unusable than may be.
        """
        if not processes.any(bool(own)):
            return False
        found = [entry for share in processes.gather(tuple(own)) for entry in share]
        if not self._is_told:
            self._is_told = True
            report(FileLost(name=printable(found[0].name), reason=found[0].reason, listed_in=str(self.path)))
        for entry in found:
            if entry.name not in self._found:
                self._found[entry.name] = entry
                self._is_listed = False
        with processes.agreed():
            self._check_share()
        return True

    def write(self) -> None:
        """Brings skipped.csv up to date.

        Raises:
            OSError: when the disk refuses; the next call tries again.
        """
        if not self._is_listed:
            write_skipped(self.path, (*self.skipped, *self._found.values()))
            self._is_listed = True

    def _check_share(self) -> None:
        unusable = len(self._found) + sum(entry.num_samples for entry in self.skipped)
        total = len(self.splits) + sum(entry.num_samples for entry in self.skipped)
        if unusable <= self.allowed * total:
            return
        first = "; ".join(f"{printable(entry.name)}: {entry.reason}" for entry in self.found[:SHOWN_FILES])
        raise DataError(
            f"{unusable} of {total} samples cannot be used, {len(self._found)} of them since training began: "
            f"{unusable / total:.1%}, the limit is {self.allowed:.0%} (--source.max-skipped). First: {first}; all: "
            f"{self.path}. Put the files back, then go on from the last checkpoint with perceptio train --resume "
            f"{shlex.quote(str(self.path.parent))}; with --accept-changes it goes on without those that are gone"
        )
