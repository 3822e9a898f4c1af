"""Samples by key, for a map-style loader: what a sample looks like depends on its key alone."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np
from torch.utils.data import Dataset

from perceptio.data.items import Item
from perceptio.data.order import SampleKey
from perceptio.data.records import Record, Skipped, Source
from perceptio.errors import FileError
from perceptio.randomness import generator

MAX_STAND_INS = 20

View: TypeAlias = Mapping[str, np.ndarray]
"""What the model sees of a sample: an array with channels last for each stream that the sample has."""


@runtime_checkable
class Reader(Protocol):
    """How the files of a sample become what the model sees."""

    def training_view(self, items: Mapping[str, Item], random: np.random.Generator) -> View:
        """Returns an augmented view of a sample, given its parts; raises FileError."""

    def evaluation_views(self, items: Mapping[str, Item]) -> Sequence[View]:
        """Returns the views, at least one, over which evaluation and prediction average; raises FileError."""


@dataclass(frozen=True)
class Sample:
    """One sample as the model sees it.

    Attributes:
        index: index of the record that the views show. In training that may be a stand-in's.
        views: one in training, one or several in evaluation; none where the file could not be read and, in training,
            no stand-in.
        failures: files that could not be read on the way.
    """

    index: int
    views: tuple[View, ...]
    failures: tuple[Skipped, ...] = ()


class TrainingSamples(Dataset[Sample]):
    """Augmented samples; a file that cannot be read is replaced by one drawn from the others.

    Everything random about a sample comes from (seed, epoch, index): workers and restarts change nothing.
    """

    def __init__(self, source: Source, records: Sequence[Record], reader: Reader, seed: int) -> None:
        self.source = source
        self.records = tuple(records)
        self.reader = reader
        self.seed = seed

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, key: SampleKey) -> Sample:
        epoch, index = key
        failures: list[Skipped] = []
        stand_ins: Iterator[int] | None = None
        while len(failures) < MAX_STAND_INS:
            record = self.records[index]
            try:
                random = generator(self.seed, "sample", epoch, index)
                view = self.reader.training_view(self.source.load(record), random)
            except FileError as error:
                failures.append(Skipped(name=record.name, reason=str(error)))
                # Not drawn before it is needed: making a generator takes a tenth of the time of a small picture.
                stand_ins = stand_ins or self._stand_ins(epoch, index)
                index = next(stand_ins)
                continue
            return Sample(index, (view,), tuple(failures))
        # Not raised here: an error from a worker process would reach the user wrapped in a traceback.
        return Sample(index, (), tuple(failures))

    def _stand_ins(self, epoch: int, index: int) -> Iterator[int]:
        random = generator(self.seed, "stand-in", epoch, index)
        while True:
            yield int(random.integers(len(self.records)))


class EvaluationSamples(Dataset[Sample]):
    """Samples without augmentation; a file that cannot be read has no views and says why."""

    def __init__(self, source: Source, records: Sequence[Record], reader: Reader) -> None:
        self.source = source
        self.records = tuple(records)
        self.reader = reader

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Sample:
        record = self.records[index]
        try:
            return Sample(index, tuple(self.reader.evaluation_views(self.source.load(record))))
        except FileError as error:
            return Sample(index, (), (Skipped(name=record.name, reason=str(error)),))
