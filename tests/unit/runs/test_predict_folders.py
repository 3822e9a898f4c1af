"""A folder stands for the files in it that training would take: one listing for both."""

from dataclasses import replace
from pathlib import Path

import pytest

from perceptio.data.limits import Limits
from perceptio.errors import DataError, FileError
from perceptio.modalities.points import PointsModality
from perceptio.modalities.streams import StreamReader, single_stream
from perceptio.runs.model_file import ModelFacts
from perceptio.runs.predict import Views, expand_folders
from support.configs import tiny_config

MESHES = single_stream(PointsModality())


@pytest.fixture
def facts() -> ModelFacts:
    return ModelFacts(config=replace(tiny_config(), streams=MESHES), classes=("a", "b"), task="single_label")


def test_what_is_no_sample_in_training_is_none_here(tmp_path: Path, facts: ModelFacts):
    new = tmp_path / "new"
    for name in (
        "1.obj", "1.mtl", "1.png", "deep/2.gltf", "deep/2.bin", "deep/2.jpg", "deep/3.txt", "e.off", "a b/4.ply",
        ".hidden/5.ply", "list.csv", "linked.ply",
    ):  # fmt: skip
        (new / name).parent.mkdir(parents=True, exist_ok=True)
        (new / name).write_text("x")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "6.ply").write_text("x")
    (new / "zoo").symlink_to(tmp_path / "outside")
    (new / "all").symlink_to(new)
    told: list[str] = []
    found = list(expand_folders([new, tmp_path / "alone.png"], facts, told.append))
    assert found == [
        *(new / name for name in ("1.obj", "a b/4.ply", "deep/2.gltf", "deep/3.txt", "e.off", "linked.ply")),
        tmp_path / "alone.png",
    ]
    assert told == [f"linked folders in {new}/ are not followed: all, zoo"]


def test_a_folder_that_cannot_be_listed_gets_a_line_that_says_why(
    tmp_path: Path, facts: ModelFacts, monkeypatch: pytest.MonkeyPatch
):
    assert list(expand_folders([tmp_path], facts)) == [tmp_path], "empty"
    views = Views(StreamReader(MESHES, Limits()))
    with pytest.raises(FileError, match=r"^a folder without files that could be samples$"):
        views({"": tmp_path})

    def refuse(*arguments: object) -> None:
        raise DataError("new/private/ may not be read; change its permissions")

    (tmp_path / "1.ply").write_text("x")
    monkeypatch.setattr("perceptio.runs.predict.list_folder", refuse)
    assert list(expand_folders([tmp_path, tmp_path / "1.ply"], facts)) == [tmp_path, tmp_path / "1.ply"]
    with pytest.raises(FileError, match=r"^new/private/ may not be read; change its permissions$"):
        views({"": tmp_path})
