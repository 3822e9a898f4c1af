import importlib
from dataclasses import replace
from pathlib import Path

import pytest

import perceptio
from perceptio.errors import UsageError
from perceptio.runs.train import TrainOptions
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


def test_recipes_are_found_by_name():
    assert perceptio.recipe("imagenet").epochs == 120
    with pytest.raises(UsageError, match="unknown recipe 'imagnet'"):
        perceptio.train("imagnet")


def test_nothing_given_says_what_is_missing():
    with pytest.raises(UsageError, match="--data is missing"):
        perceptio.train()
