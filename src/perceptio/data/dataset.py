"""Samples by key, for a map-style loader: what a sample looks like depends on its key alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from torch.utils.data import Dataset

from perceptio.data.order import SampleKey
from perceptio.data.records import Record, Skipped, Source
from perceptio.errors import FileError
from perceptio.randomness import generator

MAX_STAND_INS = 20


@runtime_checkable
class Reader(Protocol):
    """How a file of one modality becomes an array: decode once, then a view of it."""

    def decode(self, item: Any) -> Any:
        """Returns the decoded content of a file or array, or raises FileError."""

    def training_view(self, decoded: Any, random: np.random.Generator) -> np.ndarray:
        """Returns an augmented view, uint8 (\\*axes, channels)."""

    def evaluation_view(self, decoded: Any) -> np.ndarray:
        """Returns the view that evaluation and prediction use."""


@dataclass(frozen=True)
class Sample:
    """One sample as the model sees it.

    Attributes:
        index: index of the record that `values` show. In training that may be a stand-in's.
        values: uint8 (\\*axes, channels), or None where the file could not be read and, in training, no stand-in.
        failures: files that could not be read on the way.
    """

    index: int
    values: np.ndarray | None
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
        stand_ins = generator(self.seed, "stand-in", epoch, index)
        while len(failures) < MAX_STAND_INS:
            record = self.records[index]
            try:
                decoded = self.reader.decode(self.source.load(record))
            except FileError as error:
                failures.append(Skipped(name=record.name, reason=str(error)))
                index = int(stand_ins.integers(len(self.records)))
                continue
            random = generator(self.seed, "sample", epoch, index)
            return Sample(index, self.reader.training_view(decoded, random), tuple(failures))
        # Not raised here: an error from a worker process would reach the user wrapped in a traceback.
        return Sample(index, None, tuple(failures))


class EvaluationSamples(Dataset[Sample]):
    """Samples without augmentation; a file that cannot be read has no values and says why."""

    def __init__(self, source: Source, records: Sequence[Record], reader: Reader) -> None:
        self.source = source
        self.records = tuple(records)
        self.reader = reader

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Sample:
        record = self.records[index]
        try:
            decoded = self.reader.decode(self.source.load(record))
            return Sample(index, self.reader.evaluation_view(decoded))
        except FileError as error:
            return Sample(index, None, (Skipped(name=record.name, reason=str(error)),))
