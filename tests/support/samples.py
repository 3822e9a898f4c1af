"""Samples without files: arrays as records, and a reader that draws what tests want to see."""

import errno
from dataclasses import dataclass

import numpy as np

from perceptio.data.failures import NetworkError
from perceptio.data.records import MAIN, Record, Skipped
from perceptio.errors import FileError
from support.pictures import CLASSES, draw_picture


@dataclass(frozen=True)
class ArraySource:
    """Arrays by name; those named in `broken` cannot be read."""

    records: tuple[Record, ...]
    arrays: dict[str, np.ndarray]
    broken: frozenset[str] = frozenset()
    classes: tuple[str, ...] = CLASSES
    multi_label: bool = False
    notes: tuple[str, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    holds_files: bool = False
    root: None = None
    kind: str = "image"

    def load(self, record: Record) -> dict[str, np.ndarray]:
        """Returns the array of a record."""
        if record.name in self.broken:
            raise FileError("broken on purpose")
        return {MAIN: self.arrays[record.name]}


def make_source(count: int, *, broken: tuple[int, ...] = (), seed: int = 0) -> ArraySource:
    """Returns pictures named "0", "1", .. of the three classes in turn."""
    random = np.random.default_rng(seed)
    names = [str(number) for number in range(count)]
    labels = [CLASSES[number % len(CLASSES)] for number in range(count)]
    return ArraySource(
        records=tuple(Record(name=name, labels=(label,)) for name, label in zip(names, labels, strict=True)),
        arrays={name: draw_picture(label, random) for name, label in zip(names, labels, strict=True)},
        broken=frozenset(str(number) for number in broken),
    )


class NoisyReader:
    """Adds noise to the training view, so that each (seed, epoch, index) shows something else."""

    def training_view(self, items: dict[str, np.ndarray], random: np.random.Generator) -> dict[str, np.ndarray]:
        """Returns the array with noise of at most 9."""
        noise = random.integers(0, 10, items[MAIN].shape)
        return {"image": np.minimum(items[MAIN].astype(np.int64) + noise, 255).astype(np.uint8)}

    def evaluation_views(self, items: dict[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
        """Returns the array as it is."""
        return [{"image": items[MAIN]}]


@dataclass(frozen=True)
class UnreachableSource:
    """A source whose server is gone since it was looked at."""

    source: ArraySource

    def load(self, record: Record) -> dict[str, np.ndarray]:
        """Fails as a server does that has been asked again and again."""
        raise NetworkError(errno.EIO, "a.tar, tried 6 times")
