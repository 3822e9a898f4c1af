from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from perceptio.data.splits import SplitConfig
from perceptio.errors import DataError, UsageError
from perceptio.modalities.array import ArrayModality
from perceptio.modalities.audio import AudioModality
from perceptio.modalities.streams import Streams, single_stream
from perceptio.modalities.video import VideoModality
from perceptio.runs.config import SourceConfig
from perceptio.runs.data import choose_workers, prepare_data, survey_data, write_data_files
from perceptio.runs.folder import RunFolder
from perceptio.runs.opening import show_split
from perceptio.runs.screen import SilentScreen
from support.configs import tiny_config
from support.kinds import make_audio, make_image, make_video
from support.pictures import CLASSES, make_picture_folder


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return make_picture_folder(tmp_path / "pictures", per_class=10)


def survey(path: Path, **fields):
    return survey_data(str(path), SourceConfig(**fields))


def test_a_survey_finds_files_sizes_copies_and_broken_ones(pictures: Path):
    (pictures / "disc" / "copy.png").write_bytes((pictures / "disc" / "03.png").read_bytes())
    (pictures / "frame" / "bad.png").write_bytes(b"")
    seen = []
    found = survey_data(str(pictures), SourceConfig(), progress=lambda done, total: seen.append((done, total)))
    assert len(found.usable) == 31
    assert [(entry.name, entry.reason) for entry in found.skipped] == [("frame/bad.png", "empty file (0 bytes)")]
    assert found.copies == (("disc/03.png", "disc/copy.png"),)
    assert list(found.streams.by_name) == ["image"]
    assert found.facts == {record.name: {"image": {"height": 16, "width": 16}} for record in found.usable}
    assert seen[-1] == (32, 32)


def test_the_fingerprint_follows_names_labels_and_skipped_files(pictures: Path):
    first = survey(pictures).fingerprint
    assert survey(pictures).fingerprint == first
    (pictures / "disc" / "00.png").rename(pictures / "disc" / "zz.png")
    renamed = survey(pictures).fingerprint
    (pictures / "disc" / "zz.png").rename(pictures / "frame" / "zz.png")
    moved = survey(pictures).fingerprint
    (pictures / "frame" / "zz.png").write_bytes(b"")
    broken = survey(pictures).fingerprint
    (pictures / "frame" / "zz.png").unlink()
    gone = survey(pictures).fingerprint
    assert len({first, renamed, moved, broken, gone}) == 5


def test_how_files_are_laid_out_holds_before_they_are_looked_at(tmp_path: Path):
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        np.save(tmp_path / label / "1.npy", np.ones((5, 7)))

    def laid_out(streams: Streams) -> Streams:
        return replace(streams, by_name={"array": replace(streams.by_name["array"], channels_last=False)})

    found = survey_data(str(tmp_path), SourceConfig(), laid_out=laid_out)
    assert found.streams == single_stream(ArrayModality(channels_last=False))
    assert {name for name in found.facts["a/1.npy"]["array"] if name.startswith("axis_")} == {"axis_0", "axis_1"}
    assert "axis_1" not in survey(tmp_path).facts["a/1.npy"]["array"]


@pytest.mark.parametrize("share", [0.0, 0.2])
def test_too_many_broken_files_stop_the_run_with_examples(pictures: Path, share: float):
    for name in ("00", "01", "02", "03", "04", "05", "06"):
        (pictures / "disc" / f"{name}.png").write_bytes(b"")
    message = rf"7 of 30 files in .*pictures cannot be used: 23%, the limit is {share:.0%} \(--source.max-skipped\)\n"
    with pytest.raises(DataError, match=message + r" +7 x empty file \(0 bytes\)\n +first: disc/00.png"):
        survey(pictures, max_skipped=share)
    assert len(survey(pictures, max_skipped=0.25).usable) == 23


def test_a_look_goes_on_however_few_files_are_usable(pictures: Path):
    for path in pictures.rglob("*.png"):
        path.write_bytes(b"")
    found = survey_data(str(pictures), SourceConfig(), judged=False)
    assert (len(found.usable), len(found.skipped)) == (0, 30)


def test_a_header_check_reads_no_pixels_a_full_one_does(pictures: Path):
    path = pictures / "disc" / "00.png"
    path.write_bytes(path.read_bytes()[:-40])
    assert len(survey(pictures, check="header").usable) == 30
    assert len(survey(pictures, check="full").usable) == len(survey(pictures).usable) == 29


def test_without_data_the_way_out_is_said():
    with pytest.raises(UsageError, match=r"--data is missing: a folder with one sub-folder a class, or a CSV, JSON"):
        survey_data(None, SourceConfig())


def test_the_embedded_sample_needs_none():
    found = survey_data(None, SourceConfig(format="sample"))
    assert (found.data, len(found.usable)) == ("embedded sample", 14_000)


def test_a_given_validation_split_may_be_the_test(tmp_path: Path):
    for part, count in (("train", 8), ("val", 3)):
        make_picture_folder(tmp_path / part, per_class=count, seed=count)
    config = replace(tiny_config(tmp_path), source=SourceConfig(validation_is_test=True))
    prepared = prepare_data(survey(tmp_path, validation_is_test=True), config)
    assert {record.name.split("/")[0] for record in prepared.records("test")} == {"val"}
    assert {record.name.split("/")[0] for record in prepared.records("validation")} == {"train"}


def test_splits_hold_every_sample_once_and_are_counted(pictures: Path):
    prepared = prepare_data(survey(pictures), tiny_config(pictures))
    names = [record.name for split in ("train", "validation", "test") for record in prepared.records(split)]
    assert sorted(names) == sorted(record.name for record in prepared.survey.usable)
    assert prepared.counts()["train"] == dict.fromkeys(CLASSES, 6)
    assert prepared.leaks == ()


def test_groups_that_given_splits_part_are_told(tmp_path: Path):
    make_picture_folder(tmp_path, per_class=4)
    rows = [
        f"{name}/{n:02d}.png,{name},{('train', 'train', 'validation', 'test')[n]},{name if n else 'own' + name}"
        for name in CLASSES
        for n in range(4)
    ]
    (tmp_path / "table.csv").write_text("\n".join(["file,label,split,group", *rows]) + "\n")
    prepared = prepare_data(survey(tmp_path / "table.csv"), tiny_config(tmp_path / "table.csv"))
    assert prepared.parted == tuple(tuple(f"{name}/{n:02d}.png" for n in (1, 2, 3)) for name in CLASSES)
    assert prepared.leaks == ()
    screen = Told()
    show_split(prepared, tiny_config(tmp_path), screen, listed_in="")
    assert screen.facts[-1] == (
        "",
        "warning: 3 groups of samples that belong together (by the column group, or by a shared file) stand "
        "in more than one split, as the data has it, such as that of disc/01.png",
    )


class Told(SilentScreen):
    def __init__(self) -> None:
        self.facts: list[tuple[str, str]] = []

    def fact(self, label: str, text: str) -> None:
        self.facts.append((label, text))


def test_an_empty_split_is_refused(pictures: Path):
    config = replace(tiny_config(pictures), split=SplitConfig(validation=0.2, test=0.0))
    with pytest.raises(
        DataError,
        match=r"^the test split of .* is empty: 30 samples, --split.validation 0.2, --split.test 0.0\. A run needs all "
        r"three, train, validation and test: give a larger --split.test, or more files$",
    ):
        prepare_data(survey(pictures), config)


def test_a_share_of_nothing_suits_data_that_gives_the_split(pictures: Path):
    config = replace(tiny_config(pictures), split=SplitConfig(validation=0.2, test=0.0))
    found = survey(pictures)
    given = tuple(
        replace(record, split="test" if record.name.endswith("0.png") else "train") for record in found.usable
    )
    assert len(prepare_data(replace(found, usable=given), config).records("test")) == 3


def test_a_split_that_copies_leave_empty_is_refused_with_the_cause(tmp_path: Path):
    for label in make_picture_folder(tmp_path, per_class=8).iterdir():
        for path in label.iterdir():
            path.write_bytes((label / "00.png").read_bytes())
    found, config = survey(tmp_path), tiny_config(tmp_path)
    with pytest.raises(DataError, match=r"24 of them are exact copies of each other, which stay on one side\. A run"):
        prepare_data(found, config)
    first, *others = found.usable
    everything = tuple(record.name for record in found.usable)
    with pytest.raises(
        DataError, match=r"^the train split .* give a smaller --split.validation and --split.test, or more files$"
    ):
        prepare_data(replace(found, usable=(replace(first, split="test"), *others), copies=(everything,)), config)


def test_split_and_skipped_files_are_written(pictures: Path, tmp_path: Path):
    (pictures / "frame" / "bad.png").write_bytes(b"")
    folder = RunFolder(tmp_path)
    write_data_files(folder, prepare_data(survey(pictures), tiny_config(pictures)))
    assert folder.skipped.read_text().splitlines() == ["file,reason", "frame/bad.png,empty file (0 bytes)"]
    assert len(folder.split.read_text().splitlines()) == 31


def test_workers_are_as_asked_or_by_what_there_is_to_decode(pictures: Path, monkeypatch: pytest.MonkeyPatch):
    files, arrays = survey(pictures).source, survey_data(None, SourceConfig(format="sample")).source
    assert (choose_workers(3, files), choose_workers(0, files), choose_workers(None, arrays)) == (3, 0, 0)
    assert 1 <= choose_workers(None, files) <= 8
    monkeypatch.setattr("os.cpu_count", lambda: 16)
    assert choose_workers(None, files) == 8
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert (choose_workers(None, files), choose_workers(5, files)) == (3, 5)


@pytest.mark.parametrize(
    ("streams", "suffix"),
    [
        (None, ".mp4"),
        (single_stream(AudioModality()), ".wav"),
        (single_stream(VideoModality()), ".mp4"),
        (Streams(by_name={"audio": AudioModality(), "video": VideoModality()}), ".mp4"),
    ],
)
def test_of_a_segment_of_audioset_the_file_is_taken_that_holds_what_the_model_reads(
    tmp_path: Path, streams: Streams | None, suffix: str
):
    (tmp_path / "class_labels_indices.csv").write_text("mid,display_name\n/m/1,Speech\n/m/2,Music\n")
    (tmp_path / "eval_segments.csv").write_text("--PJHxphWEs, 30.000, 40.000, /m/1\n")
    for make in (make_video, make_audio, make_image):
        make(tmp_path / "--PJHxphWEs", CLASSES[0], np.random.default_rng(0))
    found = survey_data(str(tmp_path), SourceConfig(), streams=streams)
    assert [record.name for record in found.usable] == [f"--PJHxphWEs{suffix}"]
    assert found.skipped == ()
