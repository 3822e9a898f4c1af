from pathlib import Path

import numpy as np

from perceptio.data import duplicates
from perceptio.data.duplicates import find_duplicates, leaks
from perceptio.data.folder import read_folder
from perceptio.data.idx import IdxSource
from perceptio.data.limits import Limits
from perceptio.data.records import Record


def test_equal_bytes_are_found_across_classes_and_names(make_tree, limits: Limits, monkeypatch) -> None:
    make_tree("cat/1.png", "dog/9.jpg", "cat/sub/x", content=b"same bytes")
    make_tree("cat/2.png", "dog/2.png", content=b"other ones")
    root = make_tree("dog/alone.png", content=b"just this!")
    make_tree("dog/longer.png", content=b"a longer file than the others")
    hashed: list[Path] = []
    real = duplicates._hash_file
    monkeypatch.setattr(duplicates, "_hash_file", lambda path: hashed.append(path) or real(path))
    source = read_folder(root, limits)
    assert find_duplicates(source, source.records) == (
        ("cat/1.png", "cat/sub/x", "dog/9.jpg"),
        ("cat/2.png", "dog/2.png"),
    )
    assert root / "dog/longer.png" not in hashed  # no other file has its size


def test_only_the_given_records_count(make_tree, limits: Limits) -> None:
    source = read_folder(make_tree("cat/1", "dog/1", content=b"same"), limits)
    assert find_duplicates(source, source.records[:1]) == ()


def test_arrays_by_content_and_shape(tmp_path: Path) -> None:
    records = tuple(Record(name=f"train/{n:05d}", labels=("a",), split="train") for n in range(4))
    source = IdxSource(folder=tmp_path, records=records, classes=("a", "b"), notes=(), limits=Limits())
    row = np.arange(6, dtype=np.uint8)
    vars(source)["_images"] = {
        "train": [row.reshape(2, 3), row.reshape(3, 2), row.reshape(2, 3), row[::-1].reshape(2, 3)]
    }
    assert find_duplicates(source, records) == (("train/00000", "train/00002"),)


def test_leaks_are_groups_in_more_than_one_split() -> None:
    groups = (("a", "b"), ("c", "d"), ("e", "f"))
    splits = {"a": "train", "b": "test", "c": "train", "d": "train", "e": "train"}
    assert leaks(groups, splits) == (("a", "b"),)
