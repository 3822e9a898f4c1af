import os
from pathlib import Path

import pytest

from perceptio.data.folder import read_folder
from perceptio.data.limits import Limits
from perceptio.data.records import MAIN
from perceptio.errors import DataError


def test_class_folders(make_tree, limits: Limits) -> None:
    root = make_tree("dog/2.png", "cat/b.jpg", "cat/a.jpg", "cat/deep/er/c.webp", "dog/no_suffix")
    source = read_folder(root, limits)
    assert [r.name for r in source.records] == [
        "cat/a.jpg",
        "cat/b.jpg",
        "cat/deep/er/c.webp",
        "dog/2.png",
        "dog/no_suffix",
    ]
    assert [r.labels for r in source.records] == [("cat",)] * 3 + [("dog",)] * 2
    assert all(r.split is None and r.group is None for r in source.records)
    assert source.classes == ("cat", "dog")
    assert source.notes == ()
    assert source.load(source.records[0]) == {MAIN: root / "cat/a.jpg"}


def test_records_are_sorted_bytewise_not_by_folder(make_tree, limits: Limits) -> None:
    root = make_tree("a/1.png", "a-b/1.png", "é/1.png", "B/1.png")
    assert [r.name for r in read_folder(root, limits).records] == ["B/1.png", "a-b/1.png", "a/1.png", "é/1.png"]


def test_split_folders(make_tree, limits: Limits) -> None:
    root = make_tree("train/cat/1.jpg", "train/dog/1.jpg", "Val/cat/2.jpg", "valid/dog/4.jpg", "test/dog/3.jpg")
    source = read_folder(root, limits)
    assert {r.name: r.split for r in source.records} == {
        "train/cat/1.jpg": "train",
        "train/dog/1.jpg": "train",
        "Val/cat/2.jpg": "validation",
        "valid/dog/4.jpg": "validation",
        "test/dog/3.jpg": "test",
    }
    assert source.classes == ("cat", "dog")
    assert source.notes == ("Val, test, train, valid taken as splits",)


def test_a_single_split_name_beside_other_folders_is_a_class(make_tree, limits: Limits) -> None:
    source = read_folder(make_tree("train/1.jpg", "bus/1.jpg", "car/1.jpg"), limits)
    assert source.classes == ("bus", "car", "train")
    assert all(r.split is None for r in source.records)
    assert source.notes == ("train taken as a class, not as a split, since other folders (bus, car) stand beside",)
    source = read_folder(make_tree("val/1.jpg", "test/1.jpg", "bus/1.jpg", root="without-train"), limits)
    assert source.notes == ("test, val taken as classes, not as a split, since other folders (bus) stand beside",)


def test_folders_without_samples_beside_splits_are_ignored_and_said(make_tree, limits: Limits) -> None:
    splits = ("train/cat/1.jpg", "train/dog/1.jpg", "test/cat/2.jpg", "test/dog/2.jpg")
    source = read_folder(make_tree(*splits, "logs/", "annotations/a.xml", "annotations/deep/b.xml"), limits)
    assert {r.name: r.split for r in source.records} == {name: name.split("/")[0] for name in splits}
    assert source.classes == ("cat", "dog")
    assert source.notes == (
        "test, train taken as splits",
        "annotations, logs hold no samples and are ignored",
        "2 .xml files ignored",
    )


def test_split_folders_without_samples_are_no_splits(make_tree, limits: Limits) -> None:
    source = read_folder(make_tree("train/", "test/", "cat/1.jpg", "dog/1.jpg"), limits)
    assert source.classes == ("cat", "dog")
    assert source.notes == ("test, train: folders without files, and so no classes",)


def test_splits_among_other_folders_with_samples_are_refused(make_tree, limits: Limits) -> None:
    """Taken as classes they would make a model that tells training from test pictures, and a good result."""
    with pytest.raises(
        DataError,
        match=r"^photos/ holds test, train, which look like splits, beside a folder that would be a class \(extra\); "
        r"move it out of photos/, or rename test, train where they are classes too$",
    ):
        read_folder(make_tree("train/cat/1.jpg", "test/cat/1.jpg", "extra/1.jpg"), limits)
    with pytest.raises(
        DataError,
        match=r"^many/ holds train, val, which .* beside folders that would be classes \(bus, car\); move them out",
    ):
        read_folder(make_tree("train/1.jpg", "val/1.jpg", "bus/1.jpg", "car/1.jpg", "test/", root="many"), limits)


def test_what_is_asked_for_counts(make_tree, limits: Limits) -> None:
    root = make_tree("README.txt", "cat/1.txt", "cat/2.TXT", "cat/list.csv", "dog/1.txt")
    source = read_folder(root, limits, asked={".txt"})
    assert [r.name for r in source.records] == ["cat/1.txt", "cat/2.TXT", "dog/1.txt"]
    assert source.notes == ("README.txt in no class folder and ignored", "1 .csv file ignored")


def test_a_file_beside_the_class_folders_hides_no_splits_in_them(make_tree, limits: Limits) -> None:
    names = [f"{label}/{part}/1.off" for label in ("cat", "dog") for part in ("train", "test")]
    source = read_folder(make_tree("README", *names), limits)
    assert {r.name: r.split for r in source.records} == {name: name.split("/")[1] for name in names}
    assert "README in no class folder and ignored" in source.notes


def test_a_class_unknown_to_train_is_noted(make_tree, limits: Limits) -> None:
    source = read_folder(make_tree("train/cat/1", "train/dog/1", "test/cat/2", "test/horse/2"), limits)
    assert "no training files for class horse" in source.notes


def test_what_does_not_count_as_data(make_tree, limits: Limits) -> None:
    root = make_tree(
        "cat/1.jpg", "dog/1.jpg", "cat/Thumbs.db", "cat/.DS_Store", "dog/desktop.ini", "__MACOSX/cat/1.jpg",
        ".ipynb_checkpoints/1.jpg", "cat/notes.txt", "dog/boxes.XML", "dog/more.txt", "readme.md",
    )  # fmt: skip
    source = read_folder(root, limits)
    assert [r.name for r in source.records] == ["cat/1.jpg", "dog/1.jpg"]
    assert source.notes == ("5 hidden or system entries ignored", "2 .txt, 1 .md and 1 .xml files ignored")


def test_files_beside_the_class_folders_are_ignored_and_said(make_tree, limits: Limits) -> None:
    assert read_folder(make_tree("cat/1.jpg", "dog/1.jpg", "stray.jpg"), limits).notes == (
        "stray.jpg in no class folder and ignored",
    )


def test_linked_folders_are_not_followed(make_tree, limits: Limits) -> None:
    root = make_tree("cat/1.jpg", "dog/1.jpg")
    make_tree("9.jpg", root="outside")
    (root / "cat" / "all").symlink_to(root)
    (root / "horse").symlink_to(root.parent / "outside")
    source = read_folder(root, limits)
    assert source.classes == ("cat", "dog")
    assert source.notes == ("linked folders are not followed: cat/all, horse",)


def test_folders_without_files_are_no_classes_and_said(make_tree, limits: Limits) -> None:
    source = read_folder(make_tree("cat/1.jpg", "dog/1.jpg", "empty/"), limits)
    assert (source.classes, source.notes) == (("cat", "dog"), ("empty: a folder without files, and so no class",))
    source = read_folder(make_tree("new/notes.txt", "empty/"), limits)
    assert source.notes == (
        "empty, new: folders without files, and so no classes",
        "1 .txt file ignored",
    )


def test_what_exporters_write_beside_meshes_is_no_sample(make_tree, limits: Limits) -> None:
    root = make_tree(
        "cat/1.obj", "cat/1.mtl", "cat/1.png", "cat/fur.JPG", "dog/2.gltf", "dog/2.bin", "dog/2.png", "dog/deep/3.png",
        "fox/4.obj", "fox/4.png", "fox/5.bin",
    )  # fmt: skip
    source = read_folder(root, limits)
    assert [r.name for r in source.records] == [
        "cat/1.obj", "dog/2.gltf", "dog/deep/3.png", "fox/4.obj", "fox/4.png", "fox/5.bin",
    ]  # fmt: skip
    assert source.notes == ("2 .png, 1 .bin, 1 .jpg and 1 .mtl files ignored",)


def test_pictures_are_no_textures_without_a_mesh_beside_them(make_tree, limits: Limits) -> None:
    source = read_folder(make_tree("cat/1.png", "cat/left-behind.mtl", "dog/2.png"), limits)
    assert [r.name for r in source.records] == ["cat/1.png", "dog/2.png"]


def test_messages_name_the_folder_as_it_is_typed(make_tree, limits: Limits, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_tree("a.jpg", root="new/photos")
    with pytest.raises(
        DataError, match=r"^new/photos/ holds 1 file but no class folders; .* as in new/photos/cat/1\.jpg,"
    ):
        read_folder(root, limits)
    monkeypatch.chdir(root)
    with pytest.raises(DataError, match=r"^photos/ holds 1 file but"):
        read_folder(root, limits)
    monkeypatch.chdir("/")
    with pytest.raises(DataError, match="new/photos/ holds 1 file but"):
        read_folder(root, limits)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["sub/"], "^photos/ holds no files that could be samples$"),
        (
            ["cat/a.txt"],
            r"^photos/ holds no files that could be samples \(.txt files do not count as samples, unless --source."
            r"kinds asks for a kind that is read from them\)$",
        ),
        (
            ["1.jpg", "2.jpg"],
            "^photos/ holds 2 files but no class folders; make one folder a class, as in photos/cat/1.jpg, or list "
            "files and labels in photos/metadata.csv$",
        ),
        (["cat/1.jpg"], "^photos/ has only one class, cat; there must be at least two to tell apart$"),
        (
            ["all/cat/1.jpg", "all/dog/1.jpg"],
            r"^photos/ has only one class, all; there must be at least two to tell apart\. all/ holds 2 folders "
            r"\(all/cat, all/dog\): did you mean photos/all/ \?$",
        ),
        (["cat/1.jpg", "dog/"], "^photos/ has class folders without files: dog; fill or remove them$"),
        (["cat/1.jpg", "dog/a.txt"], "^photos/ has class folders without files: dog; .*.txt files do not count"),
        (
            ["train/1.jpg", "test/1.jpg"],
            r"^photos/ holds split folders \(test, train\) with files but no class folders in them; make one folder a "
            r"class, as in photos/test/cat/1\.jpg, or list files and labels in photos/metadata\.csv$",
        ),
        (["train/cat/1.jpg", "test/cat/1.jpg"], "^photos/ has only one class, cat"),
        (["cat/1.jpg", "d\x07g/1.jpg"], r"^photos/ has a class name with unprintable characters: d\\x07g; rename it$"),
    ],
)
def test_unusable_folders(make_tree, limits: Limits, names: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_folder(make_tree(*names), limits)


def test_a_class_may_be_missing_from_a_split(make_tree, limits: Limits) -> None:
    assert len(read_folder(make_tree("train/cat/1", "train/dog/1", "test/cat/2", "test/dog/"), limits).records) == 3


def test_too_many_files(make_tree) -> None:
    with pytest.raises(DataError, match=r"^photos/ holds more than 2 files \(--source.limits.max-manifest-rows\)$"):
        read_folder(make_tree("cat/1", "cat/2", "dog/1"), Limits(max_manifest_rows=2))


def test_undecodable_and_odd_names_become_records_for_the_probe_to_judge(make_tree, limits: Limits) -> None:
    root = make_tree("cat/1.jpg", "dog/a\nb.jpg")
    Path(os.fsdecode(os.fsencode(root) + b"/dog/\xff.jpg")).write_bytes(b"1")
    assert [r.name for r in read_folder(root, limits).records] == ["cat/1.jpg", "dog/a\nb.jpg", "dog/\udcff.jpg"]


def test_splits_inside_the_class_folders_as_modelnet_has_them(tmp_path: Path, limits: Limits) -> None:
    for name in ("airplane/train/a_1.off", "airplane/test/a_2.off", "bed/train/b_1.off", "bed/test/b_2.off"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"OFF")
    source = read_folder(tmp_path, limits)
    assert [(record.name, record.labels, record.split) for record in source.records] == [
        ("airplane/test/a_2.off", ("airplane",), "test"),
        ("airplane/train/a_1.off", ("airplane",), "train"),
        ("bed/test/b_2.off", ("bed",), "test"),
        ("bed/train/b_1.off", ("bed",), "train"),
    ]
    assert source.notes == ("test, train inside the class folders taken as splits",)


def test_a_file_beside_inner_splits_makes_them_ordinary_folders(tmp_path: Path, limits: Limits) -> None:
    for name in ("airplane/train/a_1.off", "airplane/test/a_2.off", "bed/b_1.off"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"OFF")
    assert {record.split for record in read_folder(tmp_path, limits).records} == {None}
