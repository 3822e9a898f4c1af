"""Reads IDX files, the format of MNIST and its relatives: images and labels as arrays of bytes, gzipped or plain."""

import gzip
import hashlib
import io
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from perceptio.data.failures import as_file_error
from perceptio.data.limits import Limits, check_file
from perceptio.data.names import Split, check_classes
from perceptio.data.records import Record, sort_records
from perceptio.errors import DataError, FileError

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
_UNSIGNED_BYTES = 0x0800
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
    root: Path | None = None

    def load(self, record: Record) -> np.ndarray:
        """Returns the image of a record: bytes (height, width)."""
        split, _, number = record.name.partition("/")
        image: np.ndarray = self._images[split][int(number)]
        return image

    @cached_property
    def _images(self) -> dict[str, np.ndarray]:
        images: dict[str, np.ndarray] = {}
        for part, split in _PARTS:
            path = find_idx(self.folder, f"{part}-images-idx3-ubyte")
            if path is not None:
                images[split] = _read(path, 3, self.limits)
        return images

    def __getstate__(self) -> dict[str, Any]:
        """Leaves the images out: a worker process reads them itself, for less than sending them costs."""
        return {name: value for name, value in self.__dict__.items() if name != "_images"}


def is_idx_folder(folder: Path) -> bool:
    """True if the folder holds training images under the name that MNIST gave them."""
    return find_idx(folder, "train-images-idx3-ubyte") is not None


def find_idx(folder: Path, stem: str) -> Path | None:
    """Returns the IDX file of that name, gzipped or plain, or None."""
    for name in (f"{stem}.gz", stem, stem.replace("-idx", ".idx")):
        if (folder / name).is_file():
            return folder / name
    return None


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
        values[split] = _read(labels, 1, limits)
        num_images = _count(images, limits)
        if num_images != len(values[split]):
            raise DataError(
                f"{images.name} holds {num_images:,} images and {labels.name} {len(values[split]):,} labels; they must "
                "be as many"
            )
    names, note = _class_names(folder, values, class_names)
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
    folder: Path, values: dict[Split, np.ndarray], given: Sequence[str] | None
) -> tuple[Sequence[str], str]:
    """Returns the names of the classes by number, and a note on where they come from."""
    num_classes = 1 + max(int(labels.max(initial=0)) for labels in values.values())
    names: Sequence[str]
    note = ""
    if given is not None:
        names, origin = given, "class_names"
    elif (folder / "classes.txt").is_file():
        text = (folder / "classes.txt").read_text(encoding="utf-8")
        names, origin = [line.strip() for line in text.splitlines() if line.strip()], "classes.txt"
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


def _count(path: Path, limits: Limits) -> int:
    """Returns how many images a file declares, from its header alone."""
    with _open(path, limits) as file:
        return _sizes(file, path.name, 3, limits)[0]


def _read(path: Path, num_axes: int, limits: Limits) -> np.ndarray:
    """Reads a whole IDX file: bytes of the declared shape."""
    try:
        with _open(path, limits) as file:
            sizes = _sizes(file, path.name, num_axes, limits)
            size = int(np.prod(sizes, dtype=np.int64))
            # One byte more than declared, so that surplus is seen without unpacking a bomb.
            content = file.read(size + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path.name}: truncated or damaged gzip file ({error})") from error
    if len(content) != size:
        found = "more" if len(content) > size else f"{len(content):,}"
        raise DataError(f"{path.name}: its header declares {size:,} bytes of content, but it holds {found}")
    return np.frombuffer(content, np.uint8).reshape(sizes)


def _open(path: Path, limits: Limits) -> io.BufferedIOBase:
    try:
        check_file(path, None, limits)
        return gzip.GzipFile(path) if path.suffix == ".gz" else path.open("rb")
    except FileError as error:
        raise DataError(f"{path.name}: {error}") from error
    except OSError as error:
        raise DataError(f"{path.name}: {as_file_error(error)}") from error


def _sizes(file: io.BufferedIOBase, name: str, num_axes: int, limits: Limits) -> tuple[int, ...]:
    length = 4 * (1 + num_axes)
    try:
        header = file.read(length)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{name}: truncated or damaged gzip file ({error})") from error
    if len(header) < length:
        raise DataError(f"{name}: truncated, its header needs {length} bytes and it has {len(header)}")
    magic, *sizes = struct.unpack(f">{1 + num_axes}I", header)
    if magic != _UNSIGNED_BYTES + num_axes:
        raise DataError(f"{name}: not an IDX file of bytes with {num_axes} axes; it begins with {header[:4].hex(' ')}")
    if 0 in sizes:
        raise DataError(f"{name}: declares the shape {' x '.join(map(str, sizes))}; it holds nothing")
    # Python's integers, since a product of hostile sizes overflows numpy's.
    num_bytes = 1
    for size in sizes:
        num_bytes *= size
    if num_bytes > limits.max_file_bytes or sizes[0] > limits.max_manifest_rows:
        raise DataError(
            f"{name}: declares {' x '.join(f'{size:,}' for size in sizes)} bytes; the limits are "
            f"{limits.max_file_bytes:,} bytes (max_file_bytes) and {limits.max_manifest_rows:,} rows"
        )
    return tuple(sizes)
