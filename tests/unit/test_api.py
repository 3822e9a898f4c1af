import importlib
from dataclasses import replace
from pathlib import Path

import pytest

import perceptio
from perceptio.errors import UsageError
from perceptio.runs.folder import RunFolder
from perceptio.runs.workbench import TrainOptions
from support.configs import tiny_config
from support.pictures import CLASSES, make_picture_folder


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("api")
    data = make_picture_folder(folder / "pictures", per_class=10)
    options = TrainOptions(out=folder / "run", device="cpu", workers=0)
    return perceptio.train(replace(tiny_config(), epochs=1.0), data=data, options=options)


def test_every_name_is_there_and_no_other():
    for name in perceptio.__all__:
        assert getattr(perceptio, name) is not None
    assert set(dir(perceptio)) == set(perceptio.__all__)
    with pytest.raises(AttributeError, match="module 'perceptio' has no attribute 'trian'"):
        importlib.import_module("perceptio").trian  # noqa: B018


def test_training_returns_the_run(result):
    assert result.ended == "finished"
    assert set(result.test) >= {"loss", "accuracy"}
    assert (result.folder / "report.html").is_file()


def test_a_run_evaluates_predicts_and_attends(result, tmp_path: Path):
    run = perceptio.load(result.folder)
    assert dict(run.evaluate().values) == pytest.approx(dict(result.test), rel=1e-6)
    files = sorted((result.folder.parent / "pictures" / "disc").iterdir())[:3]
    answers = list(run.predict(files))
    assert [answer.file for answer in answers] == [str(file) for file in files]
    assert all(answer.label in CLASSES for answer in answers)
    run.attend(files[0]).draw(tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 1_000


def test_a_finished_run_resumed_gives_the_same_result(result):
    again = perceptio.train(resume=result.folder)
    assert dict(again.test) == dict(result.test)


def test_resume_takes_epochs_and_nothing_that_it_would_ignore(result):
    for ignored, name in (({"config": "imagenet"}, "config"), ({"data": "photos"}, "data")):
        with pytest.raises(UsageError, match=rf"{name} has no effect with resume='.*', which goes on with its own"):
            perceptio.train(resume=result.folder, **ignored)
    longer = perceptio.train(resume=result.folder, epochs=2.0)
    assert (longer.ended, RunFolder(longer.folder).read_config().epochs) == ("finished", 2.0)


def test_data_may_be_named_from_where_one_stands(result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(result.folder.parent)
    options = TrainOptions(out=tmp_path / "run", device="cpu", workers=0)
    made = perceptio.train(tiny_config(), data="pictures", epochs=1, options=options)
    config = RunFolder(made.folder).read_config()
    assert (config.data, config.epochs) == (str(result.folder.parent / "pictures"), 1)
    monkeypatch.chdir(tmp_path)
    assert dict(perceptio.load("run").evaluate().values) == pytest.approx(dict(made.test), rel=1e-6)


def test_a_model_that_is_not_there_is_said_at_the_call(tmp_path: Path):
    with pytest.raises(UsageError, match=r"no model file .*nowhere"):
        perceptio.load(tmp_path / "nowhere").predict([])


def test_recipes_are_found_by_name():
    assert perceptio.recipe("imagenet").epochs == 120
    with pytest.raises(UsageError, match="unknown recipe 'imagnet'"):
        perceptio.train("imagnet")


def test_nothing_given_says_what_is_missing():
    with pytest.raises(UsageError, match="--data is missing"):
        perceptio.train()
