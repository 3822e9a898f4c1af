"""Clouds in .txt files, which are samples because their kind is asked for: from the folder to the answers."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from perceptio.cli.main import main
from perceptio.errors import DataError
from perceptio.modalities.points import PointsModality
from perceptio.modalities.streams import single_stream
from perceptio.runs.config import SourceConfig
from perceptio.runs.data import survey_data
from perceptio.runs.evaluate import evaluate_run
from perceptio.runs.predict import predict_files
from perceptio.runs.results import RunResult
from perceptio.runs.train import train_run
from perceptio.runs.workbench import TrainOptions
from support.configs import tiny_config
from support.kinds import make_points
from support.pictures import CLASSES

ASKED = SourceConfig(kinds=("points",))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten clouds a class; a readme among those of the discs."""
    root, random = tmp_path_factory.mktemp("clouds") / "data", np.random.default_rng(0)
    for label in CLASSES:
        (root / label).mkdir(parents=True)
        for number in range(10):
            make_points(root / label / f"{number:02d}", label, random)
            (root / label / f"{number:02d}.xyz").rename(root / label / f"{number:02d}.txt")
    (root / "disc" / "README.txt").write_text("Clouds of discs.\n")
    return root


@pytest.fixture(scope="module")
def result(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    points = single_stream(PointsModality(num_points=16, num_bands=4, cache=False))
    config = replace(tiny_config(folder, epochs=1.0), streams=points, source=ASKED)
    return train_run(config, TrainOptions(out=tmp_path_factory.mktemp("run") / "run", device="cpu", workers=0))


def test_they_are_samples_where_the_kind_is_asked_for(folder: Path):
    found = survey_data(str(folder), ASKED)
    assert len(found.usable) == 30
    assert [(entry.name, entry.reason) for entry in found.skipped] == [("disc/README.txt", "holds no rows of numbers")]
    with pytest.raises(DataError, match=r"\(.txt files do not count as samples, unless --source.kinds asks for a kind"):
        survey_data(str(folder), SourceConfig())


def test_a_model_of_points_asks_for_them(result: RunResult, folder: Path):
    answers = list(predict_files(result.folder, [folder], device="cpu"))
    assert len(answers) == 31
    assert [Path(answer.file).name for answer in answers if answer.error is not None] == ["README.txt"]
    measured = evaluate_run(result.folder, data=str(folder), device="cpu", workers=0)
    assert len(measured.predictions.indices) == 30
    assert [failure.name for failure in measured.predictions.failures] == ["disc/README.txt"]


def test_the_command_says_what_it_found_nothing_in(
    result: RunResult, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "notes.md").write_text("nothing")
    assert main(["predict", str(result.folder), str(folder / "frame")]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 10
    assert main(["predict", str(result.folder), str(tmp_path)]) == 3
    shown = capsys.readouterr()
    assert shown.out == f"{tmp_path}  error  a folder without files that could be samples\n"
    assert shown.err == "0 predicted, 1 failed\n"
