"""The comparison that proves exact resume notices each of fifteen ways to build it wrongly.

A run is stopped in the middle of an epoch, goes on, is cut off between an evaluation and its checkpoint, and goes on
again under a break. Without a stop no break changes anything, or anything that a second run would not repeat: so what
is noticed is the resume, not the break. All in this process; `test_resume.py` has some in processes of their own.
"""

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from perceptio.runs.config import RunConfig
from perceptio.runs.report_content import Finished
from perceptio.runs.results import RunResult
from perceptio.runs.resume import resume_run
from perceptio.runs.train import train_run
from perceptio.runs.workbench import TrainOptions
from perceptio.training.job import EvaluationReport, Event, StepReport
from support.comparison import differing_parts
from support.configs import everything_random, tiny_config
from support.controls import BREAKS, FROM_THE_START
from support.pictures import make_picture_folder

pytestmark = pytest.mark.slow

STOPPED_AT, CUT_OFF_AT = 7, 9
WEIGHTS = {"last weights", "moments", "average"}
NOTICED_IN = {
    "average": {"average"},
    "best": {"state", "best weights"},
    "loss-window": {"metrics"},
    "metric-log": {"metrics"},
}
"""Parts of a run in which a break shows; where it is not named here, in all of WEIGHTS."""


class CutOff(BaseException):
    """Ends a run as a kill does: nothing catches it."""


class Moments:
    """A screen on which a run is stopped when a step is done, or cut off when an evaluation is."""

    def __init__(self, *, stop_at: int = 0, cut_off_at: int = 0) -> None:
        self.stop_at = stop_at
        self.cut_off_at = cut_off_at

    def fact(self, label: str, text: str) -> None: ...

    def work(self, what: str, done: int, total: int) -> None: ...

    def training(self, report: Event) -> None:
        if isinstance(report, StepReport) and report.step == self.stop_at:
            os.kill(os.getpid(), signal.SIGINT)
        if isinstance(report, EvaluationReport) and report.row["step"] == self.cut_off_at:
            raise CutOff


class Scene(NamedTuple):
    """A run that was never stopped, and its twin: stopped, gone on with, and cut off before a checkpoint."""

    folder: Path
    config: RunConfig
    whole: Path
    cut_off: Path

    def copy(self, name: str) -> Path:
        return Path(shutil.copytree(self.cut_off, self.folder / name))


def stop_before_the_report(run: Finished, measured: object, device: object) -> RunResult:
    """Stands in for the pictures and the report, which take longer than all the rest."""
    return RunResult(folder=run.folder.path, ended=run.folder.read_facts()["ended"], best_epoch=None, test={})


@pytest.fixture(scope="module", autouse=True)
def _without_report() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("perceptio.runs.closing.finish_run", stop_before_the_report)
        patch.setattr("perceptio.runs.train.draw_training_samples", lambda bench, samples: None)
        patch.setattr("perceptio.runs.closing._measure_best", lambda bench, splits, lost, report: {})
        yield


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    folder = tmp_path_factory.mktemp("controls")
    config = everything_random(tiny_config(make_picture_folder(folder / "pictures", per_class=15), epochs=3.0))
    # A rate so high that an evaluation before the stop is the best of all: to forget it must show.
    config = replace(config, seed=2, learning_rate=0.15, training=replace(config.training, average_decay=0.8))
    whole, cut_off = never_stopped(config, folder / "whole"), folder / "cut-off"
    assert part(cut_off, config=config, screen=Moments(stop_at=STOPPED_AT)).ended == "interrupted"
    assert part(cut_off, screen=Moments(cut_off_at=CUT_OFF_AT)) is None
    return Scene(folder, config, whole, cut_off)


def part(path: Path, *broken: str, config: RunConfig | None = None, screen: Moments | None = None):
    """Starts a run, or goes on with it, as a new process would: broken anew, all generators at their beginning."""
    with pytest.MonkeyPatch.context() as patch:
        for name in broken:
            BREAKS[name](patch.setattr)
        torch.manual_seed(0)
        options = TrainOptions(device="cpu", workers=0, out=path if config else None)
        with suppress(CutOff):
            if config is not None:
                return train_run(config, options, screen=screen or Moments())
            return resume_run(path, options, screen=screen or Moments())
    return None


def never_stopped(config: RunConfig, path: Path, *broken: str) -> Path:
    assert part(path, *broken, config=config).ended == "finished"
    return path


def test_as_it_is_built_nothing_differs(scene: Scene):
    assert part(scene.copy("resumed")).ended == "finished"
    assert differing_parts(scene.whole, scene.folder / "resumed") == []


def test_there_are_more_than_a_dozen_breaks():
    assert len(BREAKS) == 15
    assert BREAKS.keys() > FROM_THE_START


@pytest.mark.parametrize("broken", [name for name in BREAKS if name not in FROM_THE_START])
def test_each_break_is_noticed(scene: Scene, broken: str):
    run = scene.copy(broken)
    assert part(run, broken).ended == "finished"
    assert NOTICED_IN.get(broken, WEIGHTS) <= set(differing_parts(scene.whole, run))


def test_without_a_stop_none_of_these_breaks_changes_anything(scene: Scene):
    whole = never_stopped(scene.config, scene.folder / "broken", *(BREAKS.keys() - FROM_THE_START))
    assert differing_parts(scene.whole, whole) == []


@pytest.mark.parametrize("broken", sorted(FROM_THE_START))
def test_randomness_that_begins_anew_with_the_process_is_noticed(scene: Scene, broken: str):
    whole = never_stopped(scene.config, scene.folder / f"{broken}-whole", broken)
    again = never_stopped(scene.config, scene.folder / f"{broken}-again", broken)
    assert bool(differing_parts(whole, again)) == (broken == "arrival"), "it is the stop that makes the difference"
    run = scene.folder / f"{broken}-stopped"
    assert part(run, broken, config=scene.config, screen=Moments(stop_at=STOPPED_AT)).ended == "interrupted"
    assert part(run, broken).ended == "finished"
    assert set(differing_parts(whole, run)) >= WEIGHTS
