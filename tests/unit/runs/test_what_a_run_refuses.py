"""Runs that something was taken from: what is missing is said, with the way out."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from perceptio.errors import DataError, PerceptioError, UsageError
from perceptio.modules.reading.choice import ReadingConfig
from perceptio.runs.evaluate import evaluate_run
from perceptio.runs.resume import ResumeOptions, resume_run
from perceptio.runs.screen import SilentScreen
from perceptio.runs.train import train_run
from perceptio.runs.workbench import TrainOptions, check_processes
from perceptio.training.checkpoint import read_newest_checkpoint, write_checkpoint
from perceptio.training.processes import Processes
from support.configs import tiny_config
from support.pictures import make_picture_folder

OPTIONS = TrainOptions(device="cpu", workers=0)


class Facts(SilentScreen):
    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def fact(self, label: str, text: str) -> None:
        self.told.append((label, text))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `data` and a finished `run` of two epochs."""
    folder = tmp_path_factory.mktemp("trained")
    data = make_picture_folder(folder / "data", per_class=8)
    options = TrainOptions(out=folder / "run", device="cpu", workers=0)
    train_run(tiny_config(data, epochs=2.0), options)
    return folder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of the run, to be spoiled; its data stays where it is."""
    return Path(shutil.copytree(trained / "run", tmp_path / "run"))


def refusal(kind: type[PerceptioError], run: Path) -> str:
    with pytest.raises(kind) as raised:
        resume_run(run, OPTIONS, resume=ResumeOptions(epochs=3.0))
    return str(raised.value)


def test_a_run_without_its_split(run: Path):
    (run / "split.csv").unlink()
    assert refusal(UsageError, run) == (
        f"{run / 'split.csv'} is missing: without it nobody knows which files were kept for the test; put it back, or "
        "start a new run"
    )


def test_a_start_that_is_refused_leaves_no_folder(trained: Path, tmp_path: Path):
    options = replace(OPTIONS, out=tmp_path / "run", time=0.5)
    with pytest.raises(UsageError, match=r"^--time is too short: "):
        train_run(tiny_config(trained / "data", epochs=2.0), options)
    assert not (tmp_path / "run").exists()


def test_a_backend_that_cannot_work_here_leaves_no_folder(trained: Path, tmp_path: Path):
    config = tiny_config(trained / "data", epochs=2.0)
    config = replace(config, model=replace(config.model, reading=ReadingConfig(backend="triton")))
    with pytest.raises(UsageError, match=r"^model.reading.backend: backend 'triton' "):
        train_run(config, replace(OPTIONS, out=tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_start_that_fails_by_our_fault_keeps_its_log(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def broken(*_: object) -> None:
        raise RuntimeError("nobody thought of this")

    monkeypatch.setattr("perceptio.runs.train.check_batches", broken)
    with pytest.raises(RuntimeError):
        train_run(tiny_config(trained / "data", epochs=2.0), replace(OPTIONS, out=tmp_path / "run"))
    assert "RuntimeError: nobody thought of this" in (tmp_path / "run" / "log.txt").read_text()


def test_data_that_is_not_what_it_was(run: Path, trained: Path):
    more = Path(shutil.copy(trained / "data" / "disc" / "00.png", trained / "data" / "disc" / "more.png"))
    more.write_bytes(more.read_bytes() + b"\0")
    try:
        assert refusal(UsageError, run) == (
            f"the data in {trained / 'data'} is not what this run began with: 1 new (disc/more.png). Put the files "
            "back, start a new run, or go on with --accept-changes, which is not exact"
        )
    finally:
        more.unlink()


def test_best_weights_that_nobody_has(run: Path):
    newest = read_newest_checkpoint(run / "checkpoints")
    state = replace(newest.state, best_step=9)
    write_checkpoint(run / "checkpoints", newest.model, newest.optimizer, state, facts=newest.facts)
    (run / "model.safetensors").unlink()
    message = refusal(DataError, run)
    assert message == (
        "the best weights, of step 9, are lost: model.safetensors holds others, and no whole checkpoint of step 9 in "
        f"{run / 'checkpoints'}: there is none. Steps there: 2, 1. Put model.safetensors back, or start a new run."
    )


def test_a_damaged_checkpoint_is_passed_over_with_a_warning(run: Path):
    newest = max((run / "checkpoints").iterdir())
    (newest / "model.safetensors").write_bytes(b"x")
    screen = Facts()
    resume_run(run, OPTIONS, screen=screen)
    (warning,) = [text for label, text in screen.told if label == "Warning"]
    assert re.fullmatch(
        rf"passed over a damaged checkpoint, {newest.name}: model\.safetensors is damaged: 1 bytes, \d+ were written",
        warning,
    )


def test_a_split_of_which_nothing_is_left(run: Path, trained: Path):
    split = run / "split.csv"
    split.write_text(split.read_text().replace(",test,", ",train,"))
    message = f"no file of the test split is left in {trained / 'data'}; put the files back, or give others with --data"
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        evaluate_run(run, split="test", device="cpu")


@pytest.mark.usefixtures("unchecked_types")
def test_a_split_that_there_is_not(run: Path):
    with pytest.raises(UsageError, match=r"^--split must be one of train, validation, test: got 'tset'$"):
        evaluate_run(run, split="tset", device="cpu")


def test_sharding_beside_what_it_does_not_go_with():
    config = tiny_config()
    two = Processes()
    two.count = 2
    options = replace(OPTIONS, sharding="full")
    check_processes(config, options, two)
    compiled = replace(config, training=replace(config.training, compile=True))
    with pytest.raises(UsageError, match=r"^--sharding full does not go with training.compile; leave one of them out$"):
        check_processes(compiled, options, two)
