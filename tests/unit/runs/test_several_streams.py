"""Samples of a picture and a signal each, as files beside each other and as a table: from the folder to the answers."""

import csv
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from perceptio.api import Run
from perceptio.errors import UsageError
from perceptio.inputs.grid import GridEncoding
from perceptio.modalities.array import ArrayModality
from perceptio.modalities.contract import Film
from perceptio.runs.attend import attend_file
from perceptio.runs.config import RunConfig, SourceConfig
from perceptio.runs.data import survey_data
from perceptio.runs.evaluate import evaluate_run
from perceptio.runs.opening import show_data
from perceptio.runs.predict import predict_files
from perceptio.runs.results import RunResult
from perceptio.runs.resume import ResumeOptions, resume_run
from perceptio.runs.screen import SilentScreen
from perceptio.runs.train import train_run
from perceptio.runs.workbench import TrainOptions
from support.configs import TINY_PICTURES, tiny_config
from support.kinds import make_array, make_image
from support.pictures import CLASSES, make_picture_folder

LACKING = {"disc/03.npy", "frame/05.png"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten pairs a class, two of which lack a file; the first picture of the stripes is damaged."""
    root, random = tmp_path_factory.mktemp("pairs") / "data", np.random.default_rng(0)
    for label in CLASSES:
        (root / label).mkdir(parents=True)
        for number in range(10):
            make_image(root / label / f"{number:02d}", label, random)
            make_array(root / label / f"{number:02d}", label, random)
    for name in LACKING:
        (root / name).unlink()
    (root / "stripes" / "00.png").write_bytes(b"")
    return root


def config_of(data: Path) -> RunConfig:
    """The streams as the files tell them, but small."""
    streams = survey_data(str(data), SourceConfig()).streams
    assert {name: modality.column for name, modality in streams.by_name.items()} == {"image": "image", "array": "array"}
    small = {
        "image": replace(TINY_PICTURES, column="image", drop_probability=0.2),
        "array": ArrayModality(
            column="array", axes=(67,), channels_last=False, encoding=GridEncoding(num_bands=3), drop_probability=0.1
        ),
    }
    return replace(tiny_config(data, epochs=3), streams=replace(streams, by_name=small))


@pytest.fixture(scope="module")
def result(folder: Path) -> RunResult:
    options = TrainOptions(out=folder.parent / "run", device="cpu", workers=0)
    return train_run(config_of(folder), options)


def test_files_beside_each_other_are_one_sample(folder: Path):
    survey = survey_data(str(folder), SourceConfig())
    assert len(survey.usable) == 29
    assert [(entry.name, entry.reason) for entry in survey.skipped] == [
        ("stripes/00.npy", "image (00.png): empty file (0 bytes)")
    ]
    assert set(survey.facts["disc/03.png"]) == {"image"}
    assert set(survey.facts["frame/05.npy"]) == {"array"}
    assert set(survey.facts["disc/00.npy"]) == {"image", "array"}


def test_the_screen_says_how_many_samples_lack_a_part(folder: Path, tmp_path: Path):
    told: list[tuple[str, str]] = []
    screen = SilentScreen()
    screen.fact = lambda label, text: told.append((label, text))  # type: ignore[method-assign]
    show_data(survey_data(str(folder), SourceConfig()), screen, listed_in="skipped.csv")
    assert ("", "samples that lack a part: 1 without array, 1 without image; the model sees it as masked") in told
    del told[:]
    show_data(survey_data(str(make_picture_folder(tmp_path)), SourceConfig()), screen, listed_in="skipped.csv")
    assert not [text for _, text in told if "lack" in text]


def test_a_table_of_two_columns_holds_the_same_samples(folder: Path, tmp_path: Path):
    files = survey_data(str(folder), SourceConfig())
    table = folder / "list.csv"
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["array", "image", "label"])
        for record in files.usable:
            parts = dict(record.parts)
            writer.writerow([parts.get("array", ""), parts.get("image", ""), record.labels[0]])
    listed = survey_data(str(table), SourceConfig())
    table.unlink()
    assert listed.usable == files.usable
    assert listed.facts == files.facts
    assert listed.streams.by_name.keys() == files.streams.by_name.keys()
    assert {name: m.column for name, m in listed.streams.by_name.items()} == {"image": "image", "array": "array"}


def test_the_run_is_measured_with_all_streams_or_some(result: RunResult):
    assert result.ended == "finished"
    assert evaluate_run(result.folder, device="cpu", workers=0).values == pytest.approx(result.test)
    found = {
        name: evaluate_run(result.folder, streams=(name,), split="train", device="cpu", workers=0)
        for name in ("image", "array")
    }
    assert found["image"].values["loss"] != found["array"].values["loss"]
    lacking = {entry.name: entry.reason for one in found.values() for entry in one.predictions.failures}
    assert set(lacking.values()) <= {"holds none of image", "holds none of array"}
    with pytest.raises(UsageError, match=r"^the model has no stream 'sound'; it has image, array$"):
        evaluate_run(result.folder, streams=("sound",))


def test_other_data_is_paired_as_the_run_was(result: RunResult, tmp_path: Path):
    """Also where pictures alone are left."""
    random = np.random.default_rng(3)
    for label in CLASSES:
        (tmp_path / label).mkdir()
        make_image(tmp_path / label / "1", label, random)
    measured = evaluate_run(result.folder, data=str(tmp_path), device="cpu", workers=0)
    assert (len(measured.predictions.indices), measured.predictions.failures) == (3, ())


def test_a_resumed_run_finds_its_pairs_again(result: RunResult, tmp_path: Path):
    copy = Path(shutil.copytree(result.folder, tmp_path / "run"))
    longer = resume_run(copy, TrainOptions(device="cpu", workers=0), resume=ResumeOptions(epochs=4.0))
    assert longer.ended == "finished"


def test_one_answer_for_all_files_of_a_stem(result: RunResult, folder: Path):
    found = list(predict_files(result.folder, [folder / "disc"], device="cpu"))
    assert [Path(answer.file).name for answer in found] == [
        "00.npy", "01.npy", "02.npy", "03.png", *(f"{number:02d}.npy" for number in range(4, 10))
    ]  # fmt: skip
    assert all(answer.label in CLASSES for answer in found)
    assert {Path(answer.file).name: answer.missing for answer in found if answer.missing} == {"03.png": ("array",)}
    (whole,) = predict_files(result.folder, [folder / "disc" / "00.npy"], device="cpu")
    (other,) = predict_files(result.folder, [folder / "disc" / "00.png"], device="cpu")
    assert whole.probabilities == pytest.approx(other.probabilities, rel=1e-6)
    (bad,) = predict_files(result.folder, [folder / "stripes" / "00.npy"], device="cpu")
    assert bad.error == "image (00.png): empty file (0 bytes)"


def test_a_new_sample_may_have_its_files_anywhere(result: RunResult, folder: Path, tmp_path: Path):
    """By a table without labels, in the table's order, or by a mapping; as the pair beside each other answers."""
    for place, suffix in (("pictures", ".png"), ("signals", ".npy")):
        (tmp_path / place).mkdir()
        for label in CLASSES:
            shutil.copy(folder / label / f"01{suffix}", tmp_path / place / f"{place}-{label}{suffix}")
    rows = [f"pictures/pictures-{label}.png,signals/signals-{label}.npy,7" for label in reversed(CLASSES)]
    table = tmp_path / "new.csv"
    table.write_text("\n".join(["image,array,weight", *rows, f"pictures/pictures-{CLASSES[0]}.png,,7"]))
    *found, lacking = predict_files(result.folder, [table], device="cpu")
    together = list(predict_files(result.folder, [folder / label / "01.png" for label in reversed(CLASSES)]))
    assert [answer.file for answer in found] == [str(tmp_path / row.partition(",")[0]) for row in rows]
    assert [answer.probabilities for answer in found] == [pytest.approx(pair.probabilities) for pair in together]
    assert (lacking.file, lacking.missing) == (str(tmp_path / f"pictures/pictures-{CLASSES[0]}.png"), ("array",))
    named = {"image": tmp_path / rows[0].split(",")[0], "array": tmp_path / rows[0].split(",")[1]}
    (answer,) = Run(result.folder).predict([named], device="cpu")
    assert (answer.file, answer.probabilities) == (found[0].file, pytest.approx(found[0].probabilities))
    assert attend_file(result.folder, named).streams.keys() == {"image", "array"}
    with pytest.raises(UsageError, match=r"^the model has no column 'sound'; it has image, array$"):
        next(predict_files(result.folder, [{"sound": folder / "disc" / "00.npy"}], device="cpu"))
    with pytest.raises(
        UsageError, match=r"new.csv has more than one row; attention is shown of one sample, so keep one row of it$"
    ):
        attend_file(result.folder, table)


def test_a_folder_without_samples_has_an_answer_too(result: RunResult, folder: Path, tmp_path: Path):
    """Also where the folder bears the stem of a sample beside it."""
    picture = Path(shutil.copy(folder / "disc" / "00.png", tmp_path / "new.png"))
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "notes.txt").write_text("1 2 3\n")
    empty, sample = predict_files(result.folder, [tmp_path / "new", picture], device="cpu")
    assert (empty.file, empty.label) == (str(tmp_path / "new"), None)
    assert empty.error == "a folder without files that could be samples"
    assert sample.label in CLASSES


def test_each_stream_has_its_own_attention(result: RunResult, folder: Path, tmp_path: Path):
    attention = attend_file(result.folder, folder / "frame" / "01.png")
    pictures, numbers = attention.save(tmp_path / "maps.png"), attention.save(tmp_path / "maps.npz")
    assert [path.name for path in pictures] == ["maps-image.png", "maps-array.png"]
    assert [path.name for path in numbers] == ["maps-image.npz", "maps-array.npz"]
    assert {name: stream.scores.shape[2:] for name, stream in attention.streams.items()} == {
        "image": (16, 16), "array": (67,)
    }  # fmt: skip
    alone = attend_file(result.folder, folder / "disc" / "03.png")
    assert [path.name for path in alone.save(tmp_path / "alone.png")] == ["alone.png"]


def test_the_only_stream_that_moves_is_filmed_under_the_name_that_was_given(
    result: RunResult, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def film(modality: object, values: np.ndarray, scores: np.ndarray) -> Film:
        pictures = np.repeat(values[None], 3, axis=0)
        return Film(pictures=pictures, maps=np.repeat(scores[None], 3, axis=0), frames_per_second=5.0)

    monkeypatch.setattr(type(TINY_PICTURES), "film", film)
    attention = attend_file(result.folder, folder / "frame" / "01.png")
    assert set(attention.streams) == {"image", "array"}
    assert attention.save(tmp_path / "maps.mp4") == [tmp_path / "maps.mp4"]
    assert (tmp_path / "maps.mp4").stat().st_size > 1_000
