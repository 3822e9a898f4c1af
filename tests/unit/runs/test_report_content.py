"""What the report of a run says, however the run ended."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import perceptio
from perceptio.data.limits import Limits
from perceptio.data.records import Record
from perceptio.data.skipped_file import write_skipped
from perceptio.data.splits import SplitConfig
from perceptio.errors import PerceptioError, UnreachableError
from perceptio.modalities.streams import StreamReader
from perceptio.runs import closing
from perceptio.runs import train as training
from perceptio.runs.data import Survey, prepare_data, survey_data
from perceptio.runs.folder import RunFolder
from perceptio.runs.report_content import Finished, content_of, describe_split, open_finished
from perceptio.runs.workbench import TrainOptions
from perceptio.tasks.classification import SingleLabel
from support.configs import tiny_config
from support.pictures import CLASSES, make_picture_folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A finished run on pictures, one of which is broken, two of which are equal, and one in two classes."""
    folder = tmp_path_factory.mktemp("content")
    data = make_picture_folder(folder / "pictures", per_class=10)
    first, second, *_ = sorted((data / CLASSES[0]).iterdir())
    second.write_bytes(first.read_bytes())
    shutil.copy(data / CLASSES[0] / "02.png", data / CLASSES[2] / "02.png")
    (data / CLASSES[1] / "broken.png").write_bytes(b"<!DOCTYPE html>")
    trained = perceptio.train(tiny_config(data), epochs=1, out=folder / "run", device="cpu", workers=0)
    config = trained.config
    survey = survey_data(config.data, config.source, streams=config.streams)
    return open_finished(
        RunFolder(trained.folder),
        prepare_data(survey, config),
        StreamReader(config.streams, Limits()),
        SingleLabel(),
    )


def test_an_interrupted_run_shows_what_its_best_epoch_came_to(run: Finished):
    content = content_of(replace(run, facts={**run.facts, "ended": "interrupted"}))
    headline = content.headline
    assert headline is not None
    assert (headline.split, headline.metric) == ("validation", "accuracy")
    assert headline.value == run.history[0]["validation_accuracy"]
    assert headline.num_samples == len(run.prepared.records("validation"))
    assert headline.interval is not None
    assert headline.interval[0] < headline.value + 1e-9 <= headline.interval[1] + 1e-9
    assert content.notes == ("Training was interrupted; the test samples were not used.",)


def test_a_validation_result_covers_what_could_be_read(run: Finished):
    (row,) = run.history
    facts = {**run.facts, "ended": "interrupted", "lost": {"train": 0, "validation": 2, "test": 0}}
    content = content_of(replace(run, history=({**row, "num_lost_validation": 2},), facts=facts))
    headline = content.headline
    assert headline is not None
    assert (headline.num_samples, headline.num_unread) == (len(run.prepared.records("validation")) - 2, 2)
    assert content.notes[1:] == ("2 samples went bad in mid-run: 2 for validation; see the skipped files.",)


def test_a_run_that_ended_before_its_first_evaluation_has_no_result(run: Finished, tmp_path: Path):
    facts = {**run.facts, "ended": "interrupted", "best_step": None}
    empty = RunFolder(tmp_path)
    write_skipped(empty.skipped, ())
    content = content_of(replace(run, folder=empty, history=(), facts=facts))
    assert (content.headline, content.best_epoch, content.has_model) == (None, None, False)
    assert content_of(run).has_model
    assert content.samples != ()


def test_the_samples_are_those_that_the_first_epoch_saw(run: Finished):
    samples = content_of(run).samples
    assert len(samples) == 12
    first = run.prepared.records("train")[0]
    assert samples[0].labels == first.labels[0]
    plain = run.picture(first)
    assert plain is not None
    assert samples[0].image.shape == plain.shape
    assert not np.array_equal(samples[0].image, plain), "not augmented"
    assert all(np.array_equal(a.image, b.image) for a, b in zip(samples, content_of(run).samples, strict=True))


def test_data_are_told_with_sizes_reasons_and_copies(run: Finished):
    data = content_of(run).data
    assert data is not None
    assert [(entry.file, "not an image" in entry.reason) for entry in data.skipped] == [("frame/broken.png", True)]
    assert data.duplicates == (("disc/00.png", "disc/01.png"), ("disc/02.png", "stripes/02.png"))
    assert data.mislabelled == (("disc/02.png (disc)", "stripes/02.png (stripes)"),)
    assert data.how_split == "The split was drawn by class with seed 0: 20 % for validation and 20 % for test."
    assert [size.name for size in data.sizes] == ["height (pixels)", "width (pixels)"]
    assert all(size.smallest <= size.median <= size.largest for size in data.sizes)


def test_the_split_is_said_as_it_came_about(run: Finished):
    def said(splits: list[str | None], config: SplitConfig) -> str:
        records = tuple(Record(name=str(n), labels=("a",), split=split) for n, split in enumerate(splits))
        survey: Survey = replace(run.prepared.survey, usable=records)
        return describe_split(survey, config, 7)

    config = SplitConfig(validation=0.1, test=0.25)
    by_folder = replace(config, by="folder")
    assert said([None, None], by_folder) == (
        "The split was drawn by class with seed 7, each folder on one side: 10 % for validation and 25 % for test."
    )
    assert said(["train", "validation", "test"], config) == "The split is the one that the data gives."
    assert said(["train", "test"], config) == (
        "The data gives train and test; 10 % for validation was drawn from train, by class with seed 7."
    )
    assert said([None, "test"], config) == (
        "The data gives test; 10 % for validation was drawn from what the data leaves open, by class with seed 7."
    )


def test_a_run_that_fails_leaves_its_report_and_its_error(
    run: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def fail(*given: object, **named: object) -> None:
        raise PerceptioError("loss is <b>not</b> a number\nat step 3")

    monkeypatch.setattr(training, "fit", fail)
    config = replace(run.config, epochs=1.0)
    with pytest.raises(PerceptioError, match="not</b> a number") as caught:
        training.train_run(config, TrainOptions(out=tmp_path / "run", device="cpu", workers=0))
    assert getattr(caught.value, "__notes__", []) == []
    folder = RunFolder(tmp_path / "run")
    assert folder.read_facts()["ended"] == "failed"
    page = folder.report.read_text(encoding="utf-8")
    assert "<b>Training failed.</b> loss is &lt;b&gt;not&lt;/b&gt; a number at step 3" in page
    assert 'id="samples"' in page
    assert "Training failed: loss is &lt;b&gt;not" in folder.card.read_text(encoding="utf-8")


def test_the_report_of_a_run_whose_network_failed_does_not_wait_for_it_again(
    run: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def fail_again(*given: object, **named: object) -> None:
        raise OSError("tried 6 times more")

    def fail(*given: object, **named: object) -> None:
        monkeypatch.setattr(StreamReader, "training_view", fail_again)
        raise UnreachableError("the network failed")

    monkeypatch.setattr(training, "fit", fail)
    with pytest.raises(UnreachableError, match=r"^the network failed$") as caught:
        training.train_run(run.config, TrainOptions(out=tmp_path / "run", device="cpu", workers=0))
    assert getattr(caught.value, "__notes__", []) == []
    page = RunFolder(tmp_path / "run").report.read_text(encoding="utf-8")
    assert "<b>Training failed.</b> the network failed" in page
    assert 'id="samples"' not in page


def test_where_no_report_can_be_written_the_first_error_is_seen(
    run: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def fail(*given: object, **named: object) -> None:
        raise PerceptioError("the first")

    def fail_too(*given: object, **named: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(training, "fit", fail)
    monkeypatch.setattr(closing, "finish_run", fail_too)
    with pytest.raises(PerceptioError, match="the first") as caught:
        training.train_run(run.config, TrainOptions(out=tmp_path / "run", device="cpu", workers=0))
    assert caught.value.__notes__ == ["no report could be written either: disk full"]
