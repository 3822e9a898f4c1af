"""Samples by key, for a map-style loader: what a sample looks like depends on its key alone."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeAlias, TypeVar, runtime_checkable

import numpy as np
from torch.utils.data import Dataset

from perceptio.data.failures import ran_out_of_memory
from perceptio.data.items import Item
from perceptio.data.order import SampleKey
from perceptio.data.records import Record, Skipped, Source
from perceptio.errors import FileError
from perceptio.randomness import generator

MAX_STAND_INS = 20

Key = TypeVar("Key")

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


class Samples(Dataset[Sample], Generic[Key]):
    """Samples by key. Each is made of one record, or of the first of several candidates that can be read.

    Attributes:
        quarantine: reason by name of the records that are not to be read again, since they harmed who read them. They
            count as files that cannot be read.
    """

    def __init__(self, source: Source, records: Sequence[Record], reader: Reader) -> None:
        self.source = source
        self.records = tuple(records)
        self.reader = reader
        self.quarantine: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, key: Key) -> Sample:
        failures: list[Skipped] = []
        index = 0
        for index in self.candidates(key):
            record = self.records[index]
            try:
                if record.name in self.quarantine:
                    raise FileError(self.quarantine[record.name])
                return Sample(index, self.views(key, index), tuple(failures))
            except (FileError, MemoryError) as error:
                if ran_out_of_memory(error):
                    # Whether it is the file's fault is found out elsewhere, with a limit that is the same every time.
                    raise MemoryError(record.name) from None
                failures.append(Skipped(name=record.name, reason=str(error)))
        # Not raised here: an error from a worker process would reach the user wrapped in a traceback.
        return Sample(index, (), tuple(failures))

    @abstractmethod
    def candidates(self, key: Key) -> Iterator[int]:
        """Yields the records that may become the sample of a key, in the order in which they are tried."""

    @abstractmethod
    def views(self, key: Key, index: int) -> tuple[View, ...]:
        """Returns the views that a record gives under a key; raises FileError."""


class TrainingSamples(Samples[SampleKey]):
    """Augmented samples; a file that cannot be read is replaced by one drawn from the others.

    Everything random about a sample comes from (seed, epoch, index): workers and restarts change nothing.
    """

    def __init__(self, source: Source, records: Sequence[Record], reader: Reader, seed: int) -> None:
        super().__init__(source, records, reader)
        self.seed = seed

    def candidates(self, key: SampleKey) -> Iterator[int]:
        """Yields the record of the key and then stand-ins, which are drawn from all records."""
        epoch, index = key
        yield index
        # Not made before it is needed: that takes a tenth of the time of a small picture.
        random = generator(self.seed, "stand-in", epoch, index)
        for _ in range(MAX_STAND_INS - 1):
            yield int(random.integers(len(self.records)))

    def views(self, key: SampleKey, index: int) -> tuple[View, ...]:
        """Returns one augmented view."""
        random = generator(self.seed, "sample", key[0], index)
        return (self.reader.training_view(self.source.load(self.records[index]), random),)


class EvaluationSamples(Samples[int]):
    """Samples without augmentation; a file that cannot be read has no views and says why."""

    def candidates(self, key: int) -> Iterator[int]:
        """Yields the record of the key: evaluation has no stand-ins."""
        yield key

    def views(self, key: int, index: int) -> tuple[View, ...]:
        """Returns all views of the record."""
        return tuple(self.reader.evaluation_views(self.source.load(self.records[index])))
