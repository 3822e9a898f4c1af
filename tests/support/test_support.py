"""The tools of the tests can fail, and do what they say."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from perceptio.models.counts import count_parameters
from perceptio.models.perceiver import build_perceiver
from perceptio.runs.train import TrainOptions, train_run
from support.comparison import differing_parts
from support.configs import everything_random, tiny_config
from support.disturbed import leave_out
from support.pictures import CLASSES, COLOURS, draw_picture, make_picture_folder
from support.processes import python


def test_pictures_are_repeatable_and_differ(tmp_path: Path):
    first, second = (make_picture_folder(tmp_path / name, per_class=3) for name in "ab")
    files = sorted(path.relative_to(first) for path in first.rglob("*.png"))
    assert len(files) == 9
    contents = [(first / file).read_bytes() for file in files]
    assert contents == [(second / file).read_bytes() for file in files]
    assert len(set(contents)) == 9
    other = make_picture_folder(tmp_path / "c", per_class=3, seed=1)
    assert all((other / file).read_bytes() != content for file, content in zip(files, contents, strict=True))


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_has_its_colour(name: str):
    brightest = draw_picture(name, np.random.default_rng(0)).reshape(-1, 3).max(axis=0)
    assert brightest.argmax() == np.argmax(COLOURS[name])


def test_the_tiny_model_has_about_ten_thousand_parameters():
    config = tiny_config()
    assert 8_000 < count_parameters(build_perceiver(config.input_config(), config.model, 3)) < 14_000


def test_everything_random_is_random():
    config = everything_random(tiny_config())
    assert config.model.dropout > 0
    assert config.training.mixing.active
    assert config.training.num_micro_batches == 2


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compared")
    data = make_picture_folder(folder / "pictures", per_class=8)
    options = TrainOptions(out=folder / "run", device="cpu", workers=0)
    return train_run(tiny_config(data, epochs=1.0), options).folder


def test_a_run_equals_itself(run: Path):
    assert differing_parts(run, run) == []


@pytest.mark.parametrize(
    ("file", "part"),
    [
        ("model.safetensors", "best weights"),
        ("checkpoints/*/model.safetensors", "last weights"),
        ("checkpoints/*/optimizer.safetensors", "moments"),
        ("split.csv", "split"),
        ("predictions.csv", "predictions"),
    ],
)
def test_one_changed_byte_is_a_difference(run: Path, tmp_path: Path, file: str, part: str):
    other = Path(shutil.copytree(run, tmp_path / "other"))
    (path,) = other.glob(file)
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    assert differing_parts(run, other) == [part]


@pytest.mark.parametrize(
    ("file", "field", "part"),
    [
        ("metrics.jsonl", "train_loss", "metrics"),
        ("checkpoints/*/state.json", "best_step", "state"),
        ("run.json", "test", "test"),
    ],
)
def test_one_changed_value_is_a_difference_a_clock_is_not(run: Path, tmp_path: Path, file: str, field: str, part: str):
    for name, expected in ((field, [part]), ("seconds", [])):
        other = Path(shutil.copytree(run, tmp_path / name))
        (path,) = other.glob(file)
        content = json.loads(path.read_text())
        path.write_text(json.dumps({**content, name: 0.125}) + "\n")
        assert differing_parts(run, other) == expected


def test_another_newest_step_is_a_difference(run: Path, tmp_path: Path):
    other = Path(shutil.copytree(run, tmp_path / "other"))
    (path,) = (other / "checkpoints").iterdir()
    path.rename(path.with_name("step-000000099"))
    assert differing_parts(run, other) == ["newest checkpoint"]


def test_an_unknown_part_is_refused():
    with pytest.raises(SystemExit, match="no part 'x'"):
        leave_out("x")


def test_a_process_reports_its_failure(tmp_path: Path):
    done = python("-c", "import os, sys; print(os.environ['OMP_NUM_THREADS']); sys.exit(7)", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (7, "1\n")
    assert torch.get_num_threads() >= 1
