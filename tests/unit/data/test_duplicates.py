from pathlib import Path

import numpy as np

from perceptio.data import duplicates
from perceptio.data.duplicates import find_duplicates, leaks, mislabelled
from perceptio.data.folder import read_folder
from perceptio.data.idx import IdxSource
from perceptio.data.limits import Limits
from perceptio.data.records import FileSource, Record


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


def pair(name: str, left: str, right: str | None) -> Record:
    parts = (("left", left),) if right is None else (("left", left), ("right", right))
    return Record(name=name, labels=("a",), parts=parts)


def test_samples_of_several_files_are_equal_when_all_their_files_are(make_tree) -> None:
    root = make_tree("1.l", "2.l", "3.l", "4.l", content=b"same")
    make_tree("1.r", "2.r", content=b"ones")
    make_tree("3.r", content=b"twos")
    records = (pair("1", "1.l", "1.r"), pair("2", "2.l", "2.r"), pair("3", "3.l", "3.r"), pair("4", "4.l", None))
    source = FileSource(records=records, classes=("a", "b"), multi_label=False, notes=(), root=root)
    assert find_duplicates(source, records) == (("1", "2"),)


def test_the_same_bytes_as_another_part_are_no_copy(make_tree) -> None:
    root = make_tree("1.l", "2.l", "1.r", "2.r", content=b"same")
    records = (
        Record(name="1", labels=("a",), parts=(("left", "1.l"),)),
        Record(name="2", labels=("a",), parts=(("right", "2.r"),)),
    )
    source = FileSource(records=records, classes=("a", "b"), multi_label=False, notes=(), root=root)
    assert find_duplicates(source, records) == ()


def test_leaks_are_groups_in_more_than_one_split() -> None:
    groups = (("a", "b"), ("c", "d"), ("e", "f"))
    splits = {"a": "train", "b": "test", "c": "train", "d": "train", "e": "train"}
    assert leaks(groups, splits) == (("a", "b"),)


def test_mislabelled_are_groups_with_different_labels() -> None:
    groups = (("a", "b", "c"), ("d", "e"), ("f", "g"), ("h", "i"))
    labels = {"a": ("cat",), "b": ("cat",), "c": ("dog",), "d": ("cat",), "e": ("cat",), "f": ("x", "y")}
    (found,) = mislabelled(groups, {**labels, "g": ("y", "x"), "h": ()})
    assert list(found.items()) == [("a", ("cat",)), ("c", ("dog",)), ("b", ("cat",))], "one of each label first"
    assert mislabelled((("f", "g"),), {"f": ("x", "y"), "g": ("x",)}) == ({"f": ("x", "y"), "g": ("x",)},)
