import gzip
import hashlib
import os
import pickle
import struct
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from perceptio.data.fashion_sample import FASHION_SAMPLE, read_fashion_sample
from perceptio.data.idx import FASHION_CLASSES, IdxSource, read_idx
from perceptio.data.limits import Limits
from perceptio.data.records import MAIN
from perceptio.errors import DataError


def idx_bytes(values: np.ndarray) -> bytes:
    return struct.pack(f">{1 + values.ndim}I", 0x0800 + values.ndim, *values.shape) + values.tobytes()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three train images of 2 x 5 pixels, gzipped, and two test images, plain."""
    images = np.arange(5 * 2 * 5, dtype=np.uint8).reshape(5, 2, 5)
    labels = np.array([2, 0, 1, 0, 2], np.uint8)
    for name, values in (("images-idx3", images), ("labels-idx1", labels)):
        (tmp_path / f"train-{name}-ubyte.gz").write_bytes(gzip.compress(idx_bytes(values[:3])))
        (tmp_path / f"t10k-{name}-ubyte").write_bytes(idx_bytes(values[3:]))
    return tmp_path


def picture(source: IdxSource, number: int) -> np.ndarray:
    """The only part of a record: its picture."""
    parts = source.load(source.records[number])
    assert set(parts) == {MAIN}
    return parts[MAIN]


def test_records_and_arrays(folder: Path) -> None:
    source = read_idx(folder)
    assert [(r.name, r.labels, r.split) for r in source.records] == [
        ("test/00000", ("0",), "test"),
        ("test/00001", ("2",), "test"),
        ("train/00000", ("2",), "train"),
        ("train/00001", ("0",), "train"),
        ("train/00002", ("1",), "train"),
    ]
    assert source.classes == ("0", "1", "2")
    assert (source.root, source.kind) == (None, "image")
    np.testing.assert_array_equal(picture(source, 4), np.arange(20, 30, dtype=np.uint8).reshape(2, 5))
    np.testing.assert_array_equal(picture(source, 0), np.arange(30, 40, dtype=np.uint8).reshape(2, 5))


def test_class_names_by_argument_and_by_file(folder: Path) -> None:
    assert read_idx(folder, ("ant", "bee", "cow")).records[0].labels == ("ant",)
    (folder / "classes.txt").write_text("x\ny\nz\n")
    source = read_idx(folder)
    assert source.records[1].labels == ("z",)
    assert "class names from classes.txt" in source.notes
    assert "2 images taken as test" in source.notes


def test_a_pickled_source_carries_no_images(folder: Path) -> None:
    source = read_idx(folder)
    before = picture(source, 2)
    again = pickle.loads(pickle.dumps(source))  # noqa: S301 (our own bytes)
    assert "_images" in vars(source)
    assert "_images" not in vars(again)
    np.testing.assert_array_equal(picture(again, 2), before)


def _cut_gzip(folder: Path) -> None:
    path = folder / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-9])


def _short(folder: Path) -> None:
    path = folder / "t10k-labels-idx1-ubyte"
    path.write_bytes(path.read_bytes()[:-1])


def _long(folder: Path) -> None:
    path = folder / "t10k-labels-idx1-ubyte"
    path.write_bytes(path.read_bytes() + b"1")


def _bomb(folder: Path) -> None:
    (folder / "t10k-images-idx3-ubyte").write_bytes(struct.pack(">4I", 0x0803, 2**31, 2**16, 2**16))


def _wrong_magic(folder: Path) -> None:
    (folder / "t10k-labels-idx1-ubyte").write_bytes(b"<html>..........")


def _mismatch(folder: Path) -> None:
    (folder / "t10k-labels-idx1-ubyte").write_bytes(idx_bytes(np.zeros(3, np.uint8)))


def _empty_shape(folder: Path) -> None:
    (folder / "t10k-labels-idx1-ubyte").write_bytes(idx_bytes(np.zeros(0, np.uint8)))


def _sparse_names(folder: Path) -> None:
    (folder / "classes.txt").write_bytes(b"a")
    os.truncate(folder / "classes.txt", 2**40)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda folder: (folder / "t10k-labels-idx1-ubyte").unlink(),
            r"^.*/ must hold t10k-labels-idx1-ubyte\.gz \(or without \.gz\); it does not$",
        ),
        (
            lambda folder: (folder / "train-images-idx3-ubyte.gz").unlink(),
            r"^.*/ must hold train-images-idx3-ubyte\.gz \(or without \.gz\); it does not$",
        ),
        (_short, "^t10k-labels-idx1-ubyte: its header declares 2 bytes of content, but it holds 1$"),
        (_long, "^t10k-labels-idx1-ubyte: its header declares 2 bytes of content, but it holds more$"),
        (_bomb, r"^t10k-images-idx3-ubyte: declares 2,147,483,648 x 65,536 x 65,536 bytes; the limits are [\d,]+ bytes "
         r"\(--source\.limits\.max-file-bytes\) and [\d,]+ rows \(--source\.limits\.max-manifest-rows\)$"),
        (_wrong_magic, "^t10k-labels-idx1-ubyte: not an IDX file of bytes with 1 axes; it begins with 3c 68 74 6d$"),
        (_mismatch, "holds 2 images and t10k-labels-idx1-ubyte 3 labels; they must be as many$"),
        (_empty_shape, "^t10k-labels-idx1-ubyte: declares the shape 0; it holds nothing$"),
        (lambda folder: (folder / "classes.txt").write_text("a\nb\n"),
         "^classes.txt must name all 3 classes of .*/; it names 2$"),
        (lambda folder: (folder / "classes.txt").write_text("a\nb\na\n"),
         "^classes.txt names a class twice; every class needs its own name$"),
        (lambda folder: (folder / "classes.txt").write_bytes(b"a\nb\n\xff\n"),
         "^classes.txt is not valid UTF-8; save it as UTF-8$"),
        (_sparse_names, "^classes.txt has 1,099,511,627,776 bytes; the limit is 102,600,000 "),
        (lambda folder: (folder / "t10k-labels-idx1-ubyte").write_bytes(b""), r"^t10k-labels-idx1-ubyte: empty file"),
        (lambda folder: (folder / "t10k-labels-idx1-ubyte").write_bytes(b"\0\0"), "truncated, its header needs 8 "
                                                                                  "bytes and it has 2$"),
    ],
)  # fmt: skip
def test_broken_folders(folder: Path, spoil, message: str) -> None:
    spoil(folder)
    with pytest.raises(DataError, match=message):
        read_idx(folder)


def test_a_truncated_gzip_file_is_told_when_it_is_read(folder: Path) -> None:
    _cut_gzip(folder)
    source = read_idx(folder)
    with pytest.raises(DataError, match=r"^train-images-idx3-ubyte\.gz: truncated or damaged gzip file"):
        source.load(source.records[3])


def test_a_gzip_bomb_stops_at_the_declared_size(folder: Path) -> None:
    header = struct.pack(">2I", 0x0801, 3)
    (folder / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(header + b"\0" * 50_000_000))
    with pytest.raises(DataError, match=r"declares 3 bytes of content, but it holds more$"):
        read_idx(folder)


def test_the_fashion_sample_counts() -> None:
    source = read_fashion_sample()
    counts = Counter((record.split, record.labels) for record in source.records)
    assert counts == {
        (split, (name,)): number for split, number in (("train", 1200), ("test", 200)) for name in FASHION_CLASSES
    }
    assert source.classes == tuple(sorted(FASHION_CLASSES))


def test_the_fashion_samples_first_images_are_those_of_the_original() -> None:
    """The first image of each half is the original's first: its class had not had its share yet."""
    source = read_fashion_sample()
    by_name = {record.name: record for record in source.records}
    train, test = by_name["train/00000"], by_name["test/00000"]
    assert (train.labels, test.labels) == (("ankle boot",), ("ankle boot",))
    # Pixels (row 3, columns 12 to 16) of the original's image 0, and digests of both.
    assert source.load(train)[MAIN][3, 12:17].tolist() == [1, 0, 0, 13, 73]
    digests = [hashlib.blake2b(source.load(r)[MAIN].tobytes(), digest_size=8).hexdigest() for r in (train, test)]
    assert digests == ["0da2d786e0127ea2", "e379b7511e026f21"]


def test_the_fashion_sample_names_licence_and_origin() -> None:
    assert "Zalando SE" in (FASHION_SAMPLE / "LICENSE").read_text()
    assert "first 1,200 or 200 images of each class" in (FASHION_SAMPLE / "ORIGIN.md").read_text()
    assert sum(file.stat().st_size for file in FASHION_SAMPLE.iterdir() if file.is_file()) < 7_000_000


def test_limits_hold_for_idx(folder: Path) -> None:
    with pytest.raises(DataError, match=r"the limit"):
        read_idx(folder, limits=Limits(max_manifest_rows=1))
