"""Reads IDX files, the format of MNIST and its relatives: images and labels as arrays of bytes, gzipped or plain."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from perceptio.data.idx_format import count_images, find_idx, read_array
from perceptio.data.items import Item
from perceptio.data.limits import Limits
from perceptio.data.names import Split, check_classes, read_class_lines
from perceptio.data.records import MAIN, Record, Skipped, sort_records
from perceptio.errors import DataError

FASHION_CLASSES = (
    "t-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)

_PARTS: tuple[tuple[str, Split], ...] = (("train", "train"), ("t10k", "test"))
_KNOWN_LABELS = {
    # blake2b (16 bytes) of the 10,000 test labels.
    "36a6875013fe680369ab320bd2ad1fe9": ("Fashion-MNIST", FASHION_CLASSES),
}


@dataclass(frozen=True, eq=False)
class IdxSource:
    """The samples of a folder of IDX files. Images are read when the first is asked for, in each process anew."""

    folder: Path
    records: tuple[Record, ...]
    classes: tuple[str, ...]
    notes: tuple[str, ...]
    limits: Limits
    multi_label: bool = False
    skipped: tuple[Skipped, ...] = ()
    holds_files: bool = False
    root: Path | None = None
    kind: str | None = "image"

    def load(self, record: Record) -> Mapping[str, Item]:
        """Returns the image of a record: bytes (height, width)."""
        split, _, number = record.name.partition("/")
        return {MAIN: self._images[split][int(number)]}

    @cached_property
    def _images(self) -> dict[str, np.ndarray]:
        images: dict[str, np.ndarray] = {}
        for part, split in _PARTS:
            path = find_idx(self.folder, f"{part}-images-idx3-ubyte")
            if path is not None:
                images[split] = read_array(path, 3, self.limits)
        return images

    def __getstate__(self) -> dict[str, Any]:
        """Leaves the images out: a worker process reads them itself, for less than sending them costs."""
        return {name: value for name, value in self.__dict__.items() if name != "_images"}


def is_idx_folder(folder: Path) -> bool:
    """True if the folder holds training images under the name that MNIST gave them."""
    return find_idx(folder, "train-images-idx3-ubyte") is not None


def read_idx(folder: Path, class_names: Sequence[str] | None = None, limits: Limits | None = None) -> IdxSource:
    """Reads a folder with train-images-idx3-ubyte, train-labels-idx1-ubyte and, if there, the same for t10k (test).

    Samples are called "train/00017": the split and the place in its file. Class names come from the argument, else
    from classes.txt in the folder (one a line), else from knowing the data set (Fashion-MNIST), else they are the
    numbers.

    Raises:
        DataError: a file is missing, damaged or too large, images and labels do not match, or a class has no name.
    """
    limits = limits or Limits()
    records: list[Record] = []
    notes = []
    values: dict[Split, np.ndarray] = {}
    for part, split in _PARTS:
        images, labels = (find_idx(folder, f"{part}-{kind}-ubyte") for kind in ("images-idx3", "labels-idx1"))
        if images is None and labels is None and split != "train":
            continue
        if images is None or labels is None:
            missing = "images-idx3" if images is None else "labels-idx1"
            raise DataError(f"{folder.name}/ must hold {part}-{missing}-ubyte.gz (or without .gz); it does not")
        values[split] = read_array(labels, 1, limits)
        num_images = count_images(images, limits)
        if num_images != len(values[split]):
            raise DataError(
                f"{images.name} holds {num_images:,} images and {labels.name} {len(values[split]):,} labels; they must "
                "be as many"
            )
    names, note = _class_names(folder, values, class_names, limits)
    for split, labels_of_split in values.items():
        digits = max(5, len(str(len(labels_of_split) - 1)))
        records += [
            Record(name=f"{split}/{row:0{digits}d}", labels=(names[label],), split=split)
            for row, label in enumerate(labels_of_split.tolist())
        ]
        notes.append(f"{len(labels_of_split):,} images taken as {split}")
    classes = check_classes((record.labels[0] for record in records), limits, where=f"{folder.name}/")
    return IdxSource(
        folder=folder,
        records=sort_records(records),
        classes=classes,
        notes=(*notes, *([note] if note else [])),
        limits=limits,
    )


def _class_names(
    folder: Path, values: dict[Split, np.ndarray], given: Sequence[str] | None, limits: Limits
) -> tuple[Sequence[str], str]:
    """Returns the names of the classes by number, and a note on where they come from."""
    num_classes = 1 + max(int(labels.max(initial=0)) for labels in values.values())
    names: Sequence[str]
    note = ""
    if given is not None:
        names, origin = given, "class_names"
    elif (folder / "classes.txt").is_file():
        names, origin = read_class_lines(folder / "classes.txt", limits), "classes.txt"
        note = "class names from classes.txt"
    else:
        test = values.get("test", np.empty(0, np.uint8))
        digest = hashlib.blake2b(test.tobytes(), digest_size=16).hexdigest()
        data_set, names = _KNOWN_LABELS.get(digest, ("", tuple(str(number) for number in range(num_classes))))
        origin = data_set
        note = f"class names of {data_set}, recognised by its test labels" if data_set else ""
    if len(names) < num_classes:
        raise DataError(f"{origin} must name all {num_classes} classes of {folder.name}/; it names {len(names)}")
    if len(set(names)) != len(names):
        raise DataError(f"{origin} names a class twice; every class needs its own name")
    return names, note
