"""Files that go bad in mid-run are told, counted, listed and limited, in whichever split they stand."""

import csv
import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from perceptio.errors import DataError
from perceptio.evaluation import loading
from perceptio.reporting.numbers import things
from perceptio.runs.config import RunConfig
from perceptio.runs.folder import RunFolder
from perceptio.runs.lines import PlainLines
from perceptio.runs.results import RunResult
from perceptio.runs.resume import resume_run
from perceptio.runs.train import train_run
from perceptio.runs.workbench import TrainOptions
from perceptio.training.checkpoint import read_newest_checkpoint
from perceptio.training.job import EvaluationReport, Event, StepReport
from support.comparison import differing_parts
from support.configs import tiny_config
from support.pictures import make_picture_folder

OPTIONS = TrainOptions(device="cpu", workers=0)


def names_of(run: Path, split: str) -> list[str]:
    with (run / "split.csv").open() as file:
        return [row["file"] for row in csv.DictReader(file) if row["split"] == split]


class Spoiling(PlainLines):
    """A screen during which, after the first evaluation, some files of each split are removed, emptied or cut."""

    def __init__(self, data: Path, run: Path, counts: dict[str, int], stop_at: int | None = None) -> None:
        self.lines: list[str] = []
        super().__init__(self.lines.append)
        self.data = data
        self.run = run
        self.counts = counts
        self.stop_at = stop_at
        self.kept: dict[Path, bytes] = {}

    def training(self, report: Event) -> None:
        super().training(report)
        if isinstance(report, StepReport) and report.step == self.stop_at:
            os.kill(os.getpid(), signal.SIGINT)
        if isinstance(report, EvaluationReport) and not self.kept:
            for split, count in self.counts.items():
                for number, name in enumerate(names_of(self.run, split)[:count]):
                    self._spoil(self.data / name, number)

    def _spoil(self, path: Path, number: int) -> None:
        self.kept[path] = path.read_bytes()
        if number % 3 == 0:
            path.unlink()
        else:
            path.write_bytes(self.kept[path][: 0 if number % 3 == 1 else 60])

    def mend(self) -> None:
        for path, content in self.kept.items():
            path.write_bytes(content)

    @property
    def lost(self) -> list[str]:
        return sorted(str(path.relative_to(self.data)) for path in self.kept)


def config_of(data: Path, allowed: float) -> RunConfig:
    """Returns three epochs of three steps on 27 of 45 pictures, measured on nine and nine."""
    config = tiny_config(data)
    return replace(config, source=replace(config.source, max_skipped=allowed, remember=False))


def train(
    folder: Path, counts: dict[str, int], allowed: float, stop_at: int | None = None
) -> tuple[RunResult | DataError, Spoiling]:
    data = make_picture_folder(folder / "pictures", per_class=15)
    screen = Spoiling(data, folder / "run", counts, stop_at)
    try:
        return train_run(config_of(data, allowed), replace(OPTIONS, out=folder / "run"), screen=screen), screen
    except DataError as error:
        return error, screen


def listed(run: Path) -> list[str]:
    with (run / "skipped.csv").open() as file:
        return sorted(row["file"] for row in csv.DictReader(file))


def rows_of(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture
def _nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Validation samples are read anew each time, as those of a large set are."""
    monkeypatch.setattr(loading, "KEPT_BYTES", 0)


@pytest.mark.usefixtures("_nothing_kept")
def test_the_result_says_what_it_covers(tmp_path: Path):
    result, screen = train(tmp_path, {"train": 3, "validation": 2, "test": 4}, allowed=0.5)
    assert isinstance(result, RunResult)
    run = result.folder
    told = [line for line in screen.lines if "went bad in mid-run" in line]
    assert len(told) == 1
    assert told[0].startswith("warning: ")
    assert told[0].endswith(f"and {run / 'skipped.csv'} lists them")
    assert told[0] in (run / "log.txt").read_text()
    rows = rows_of(run)
    assert [row["num_lost_validation"] for row in rows] == [0, 2, 2]
    assert rows[0]["num_lost"] == 0 < rows[1]["num_lost"] <= rows[2]["num_lost"]
    assert any(line.startswith("epoch 3/3 ") and f" lost {rows[2]['num_lost']}" in line for line in screen.lines)
    facts = json.loads((run / "run.json").read_text())
    num_trained = facts["lost"]["train"]
    assert facts["lost"] == {"train": rows[2]["num_lost"] - 2, "validation": 2, "test": 4}
    assert facts["measured_on"] == {"validation": 7, "test": 5}
    assert set(listed(run)) <= set(screen.lost)
    assert len(listed(run)) == 6 + num_trained
    ending = dict(line for line in result.ending if line[0])
    assert " of 5 of 9 samples (95 % interval " in ending["Test"]
    assert "); 4 could not be read; always saying " in ending["Test"]
    sentence = (
        f"{6 + num_trained} samples went bad in mid-run: {num_trained} for training, 2 for validation, 4 for test"
    )
    assert ending["Lost"] == f"{sentence}; listed in {run / 'skipped.csv'}"
    assert Path(ending["Next"].rpartition(" ")[2]).stat().st_size > 60, "a file that is there and whole"
    card, report = (run / "README.md").read_text(), (run / "report.html").read_text()
    for page in (card, report):
        assert " of 5 of 9 test samples were classified correctly" in page
        assert sentence in page
    assert "- It leaves out 4 of 9 test samples, which could not be read." in card


@pytest.mark.parametrize("counts", [{"train": 20}, {"validation": 3, "test": 4}])
def test_more_than_may_be_stop_the_run_and_it_goes_on_once_they_are_back(tmp_path: Path, counts: dict[str, int]):
    error, screen = train(tmp_path, counts, allowed=0.1)
    assert isinstance(error, DataError)
    run = tmp_path / "run"
    assert "since training began: " in str(error)
    assert "the limit is 10% (--source.max-skipped)" in str(error)
    assert f"perceptio train --resume {run}" in str(error)
    facts = json.loads((run / "run.json").read_text())
    assert (facts["ended"], facts["failure"]) == ("failed", str(error))
    assert sum(facts["lost"].values()) == len(listed(run)) > 4
    assert set(listed(run)) <= set(screen.lost)
    assert "Training failed" in (run / "report.html").read_text()
    screen.mend()
    resumed = resume_run(run, OPTIONS)
    assert (resumed.ended, listed(run)) == ("finished", [])
    train_run(config_of(screen.data, 0.1), replace(OPTIONS, out=tmp_path / "twin"))
    assert differing_parts(run, tmp_path / "twin") == []


def test_a_run_that_was_stopped_lists_them_too(tmp_path: Path):
    result, screen = train(tmp_path, {"train": 8}, allowed=0.5, stop_at=5)
    assert isinstance(result, RunResult)
    found = listed(result.folder)
    assert found
    assert set(found) <= set(screen.lost)
    lost, (label, _) = result.ending
    assert label == "Stopped"
    sentence = f"{things(len(found), 'sample')} went bad in mid-run: {len(found)} for training"
    assert lost == ("Lost", f"{sentence}; listed in {result.folder / 'skipped.csv'}")
    state = read_newest_checkpoint(RunFolder(result.folder).checkpoints).state
    assert (state.step, sorted(entry.name for entry in state.lost)) == (5, found)
