"""Going on with a run, in this process: what is refused, what is told, what is put right."""

import json
import re
import shutil
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from perceptio.data.split_file import read_split_rows
from perceptio.disk import FolderLock
from perceptio.errors import DataError, PerceptioError, UsageError
from perceptio.runs.folder import RunFolder
from perceptio.runs.model_file import read_model
from perceptio.runs.report_content import Finished
from perceptio.runs.results import RunResult
from perceptio.runs.resume import ResumeOptions, resume_run
from perceptio.runs.train import train_run
from perceptio.runs.workbench import TrainOptions
from perceptio.training.checkpoint import read_checkpoint, read_newest_checkpoint, write_checkpoint
from perceptio.training.metric_log import MetricLog
from support.configs import tiny_config
from support.pictures import make_picture_folder

OPTIONS = TrainOptions(device="cpu", workers=0)


class Facts:
    """A screen that keeps the facts."""

    def __init__(self) -> None:
        self.facts: list[tuple[str, str]] = []

    def fact(self, label: str, text: str) -> None:
        self.facts.append((label, text))

    def work(self, what: str, done: int, total: int) -> None: ...

    def training(self, report: object) -> None: ...

    def under(self, label: str) -> list[str]:
        return [text for name, text in self.facts if name == label]


class Scene(NamedTuple):
    pictures: Path
    run: Path


def stop_before_the_report(run: Finished, measured: object, device: object) -> RunResult:
    """Stands in for the pictures and the report, which take longer than all the rest."""
    return RunResult(folder=run.folder.path, ended=run.folder.read_facts()["ended"], best_epoch=None, test={})


@pytest.fixture(scope="module", autouse=True)
def _without_report() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("perceptio.runs.closing.finish_run", stop_before_the_report)
        patch.setattr("perceptio.runs.train.draw_training_samples", lambda bench, samples: None)
        yield


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """A run of three epochs, of two steps each."""
    folder = tmp_path_factory.mktemp("resume")
    pictures = make_picture_folder(folder / "pictures", per_class=9)
    config = tiny_config(pictures, epochs=3.0)
    config = replace(config, batch_size=6, training=replace(config.training, average_decay=0.5))
    train_run(config, replace(OPTIONS, out=folder / "run"))
    return Scene(pictures, folder / "run")


@pytest.fixture
def scene(done: Scene, tmp_path: Path) -> Scene:
    """A copy of it on a copy of its data, as another place to lie in changes nothing."""
    copy = Scene(tmp_path / "pictures", tmp_path / "run")
    for source, target in zip(done, copy, strict=True):
        shutil.copytree(source, target)
    folder = RunFolder(copy.run)
    folder.write_config(replace(folder.read_config(), data=str(copy.pictures)))
    return copy


def go_on(scene: Scene, **options) -> tuple[RunResult, Facts]:
    screen = Facts()
    return resume_run(scene.run, OPTIONS, resume=ResumeOptions(**options), screen=screen), screen


def test_from_an_earlier_step_it_comes_to_the_same_end(scene: Scene):
    folder = RunFolder(scene.run)
    before = read_newest_checkpoint(folder.checkpoints)
    contents = [(before.path / name).read_bytes() for name in ("model.safetensors", "average.safetensors")]
    result, screen = go_on(scene, step=2)
    after = read_newest_checkpoint(folder.checkpoints)
    assert [(after.path / name).read_bytes() for name in ("model.safetensors", "average.safetensors")] == contents
    assert screen.under("Resume") == [f"{scene.run} at step 2, bit for bit as if never stopped"]
    assert (result.ended, after.state.step) == ("finished", 6)


def test_what_a_run_goes_back_from_is_never_gone_on_with(scene: Scene, monkeypatch: pytest.MonkeyPatch):
    """Even where it is killed before its next checkpoint: it had been told that the later weights went wrong."""

    def killed(*given: object, **named: object) -> RunResult:
        raise KeyboardInterrupt

    folder = RunFolder(scene.run)
    with monkeypatch.context() as patch:
        patch.setattr("perceptio.runs.resume.run_training", killed)
        with pytest.raises(KeyboardInterrupt):
            go_on(scene, step=2)
    assert [path.name for path in folder.checkpoints.iterdir()] == ["step-000000002"]
    _, screen = go_on(scene)
    assert screen.under("Resume") == [f"{scene.run} at step 2, bit for bit as if never stopped"]


def test_a_step_with_nothing_left_to_do_is_where_the_run_stands(scene: Scene):
    go_on(scene, step=2, epochs=1.0)
    _, screen = go_on(scene, epochs=3.0)
    assert screen.under("Resume") == [f"{scene.run} at step 2, bit for bit as if never stopped"]
    assert [row["epoch"] for row in MetricLog(RunFolder(scene.run).metrics).rows()] == [1, 2, 3]


def test_checkpoints_that_cannot_be_left_behind_are_said(scene: Scene, monkeypatch: pytest.MonkeyPatch):
    def refuse(*given: object, **named: object) -> list[str]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("perceptio.runs.resume.leave_newer", refuse)
    checkpoints = RunFolder(scene.run).checkpoints
    message = (
        f"the checkpoints after step 2 in {checkpoints} cannot be removed: Permission denied. Remove them, then go on"
    )
    with pytest.raises(PerceptioError, match=f"^{re.escape(message)}$"):
        go_on(scene, step=2)


def test_fewer_epochs_than_are_done_are_refused(scene: Scene):
    message = (
        "--epochs 2 are fewer than the 3 that step 6 stands at; ask for more, or go back with --step (there are 6, 4, "
        "2; an epoch has 2 steps)"
    )
    with pytest.raises(UsageError, match=f"^{re.escape(message)}$"):
        go_on(scene, epochs=2.0)
    assert RunFolder(scene.run).read_config().epochs == 3.0
    _, screen = go_on(scene, step=4, epochs=2.0)
    assert screen.under("Resume") == [f"{scene.run} at step 4, not bit-exact: epochs 3.0 -> 2.0"]


def test_more_epochs_are_said_not_to_be_exact(scene: Scene):
    _, screen = go_on(scene, epochs=4.0)
    assert screen.under("Resume") == [f"{scene.run} at step 6, not bit-exact: epochs 3.0 -> 4.0"]
    (schedule,) = screen.under("Schedule")
    assert schedule.startswith("cosine over 4 epochs instead of 3: at epoch 3 the learning rate is ")
    assert read_newest_checkpoint(RunFolder(scene.run).checkpoints).state.step == 8


def test_fewer_samples_at_once_than_before_are_said_not_to_be_exact(scene: Scene, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("perceptio.runs.resume.plan_memory", lambda bench, screen: replace(bench, micro_batch_size=3))
    _, screen = go_on(scene, step=2)
    assert screen.under("Resume") == [f"{scene.run} at step 2, not bit-exact: micro_batches 1 -> 2"]
    _, screen = go_on(scene, step=4)
    assert screen.under("Resume") == [f"{scene.run} at step 4, bit for bit as if never stopped"], "2 then, 2 now"


def test_a_run_that_another_process_is_at_is_refused(scene: Scene):
    lock = FolderLock(scene.run)
    with pytest.raises(PerceptioError, match=r"is in use by process \d+ on "):
        go_on(scene)
    lock.release()
    assert go_on(scene)[0].ended == "finished"


def test_what_a_kill_left_half_written_goes_and_strays_stay(scene: Scene):
    left = [scene.run / f".tmp-{name}-1234-0badcafe" for name in ("metrics.jsonl", "model.safetensors", "split.csv")]
    stray = scene.run / ".tmp-notes"
    for path in (*left, stray):
        path.write_text("half")
    go_on(scene)
    assert [path.exists() for path in (*left, stray)] == [False, False, False, True]


def test_the_lock_goes_with_the_run_even_where_it_fails(scene: Scene):
    RunFolder(scene.run).split.unlink()
    for _ in range(2):
        with pytest.raises(UsageError, match=r"split.csv is missing: without it nobody knows which files were kept"):
            go_on(scene)


def test_other_classes_are_refused_even_where_changes_are_accepted(scene: Scene):
    (scene.pictures / "disc").rename(scene.pictures / "circle")
    with pytest.raises(
        UsageError,
        match=r"the classes in .* are not those that this run began with: 3 now. Its model answers with the old ones",
    ):
        go_on(scene, accept_changes=True)


def test_changes_that_are_accepted_are_what_the_run_says_of_its_data(scene: Scene):
    before = RunFolder(scene.run).read_facts()["data"]
    (scene.pictures / "disc" / "05.png").unlink()
    go_on(scene, accept_changes=True)
    after = RunFolder(scene.run).read_facts()["data"]
    assert after["fingerprint"] != before["fingerprint"]
    assert sum(n for of_split in before["counts"].values() for n in of_split.values()) == 1 + sum(
        n for of_split in after["counts"].values() for n in of_split.values()
    )


@pytest.mark.parametrize("split", ["test", "validation"])
def test_samples_that_were_trained_on_never_stand_for_those_that_are_gone(scene: Scene, split: str):
    rows = read_split_rows(scene.run / "split.csv")
    gone = [name for name, row in rows.items() if row.split == split]
    for name in gone:
        (scene.pictures / name).unlink()
    message = (
        f"all {len(gone)} {split} samples of this run are gone from {scene.pictures}, and no other sample can stand "
        "for them: put some of them back, or start a new run"
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        go_on(replace_source(scene), accept_changes=True)
    assert read_split_rows(scene.run / "split.csv") == rows


def test_every_kind_of_change_is_named(scene: Scene):
    for number in range(4, 9):
        (scene.pictures / "disc" / f"0{number}.png").unlink()
    with (scene.pictures / "frame" / "00.png").open("ab") as file:
        file.write(b"more")
    (scene.pictures / "stripes" / "00.png").write_bytes(b"")
    text = (scene.run / "split.csv").read_text()
    (scene.run / "split.csv").write_text(text.replace("frame/01.png,", "frame/0x.png,").replace(",stripes,", ",frame,"))
    with pytest.raises(UsageError) as refused:
        go_on(replace_source(scene))
    assert (
        "7 gone or unusable now (disc/04.png, disc/05.png, disc/06.png and 4 more), 1 new (frame/01.png), "
        "1 of another size (frame/00.png), 8 with other labels (stripes/01.png, stripes/02.png, stripes/03.png and 5 "
        "more). Put the files back, start a new run, or go on with --accept-changes, which is not exact"
    ) in str(refused.value)


def replace_source(scene: Scene) -> Scene:
    """Lets more files be unusable than the default allows."""
    folder = RunFolder(scene.run)
    config = folder.read_config()
    folder.write_config(replace(config, source=replace(config.source, max_skipped=0.5)))
    return scene


def test_weights_of_a_step_that_is_yet_to_come_are_put_right_from_the_checkpoint(scene: Scene):
    """A crash between the evaluation and its checkpoint."""
    folder = RunFolder(scene.run)
    best = read_newest_checkpoint(folder.checkpoints).state.best_step
    right = read_model(folder.weights)[0].state_dict()
    folder.weights.unlink()
    go_on(scene)
    restored = read_model(folder.weights)[0].state_dict()
    for name, value in right.items():
        assert torch.equal(restored[name], value), "the average, not the weights of the step"
    assert read_model(folder.weights)[1].step == best


def test_lost_best_weights_are_said(scene: Scene):
    folder = RunFolder(scene.run)
    folder.weights.unlink()
    for path in folder.checkpoints.glob("step-00000000[24]"):
        shutil.rmtree(path)
    newest = folder.checkpoints / "step-000000006"
    shutil.copytree(newest, scene.run / "copy")
    shutil.rmtree(newest)
    found = _with_best_step_2(scene.run / "copy")
    assert found == 6
    with pytest.raises(
        DataError,
        match=r"the best weights, of step 2, are lost: model.safetensors holds others, and no whole checkpoint",
    ):
        go_on(scene)


def _with_best_step_2(copy: Path) -> int:
    """Writes a checkpoint again that takes another step for the best."""
    copy = copy.rename(copy.with_name("step-000000006"))
    found = read_checkpoint(copy.parent, 6)
    write_checkpoint(
        copy.parent / "checkpoints",
        found.model,
        found.optimizer,
        replace(found.state, best_step=2),
        facts=found.facts,
        average=found.average,
    )
    return found.state.step


def begun(scene: Scene, done: Scene) -> Path:
    """Makes the run one that was killed in the midst of its first checkpoint, and returns where that is."""
    folder = RunFolder(scene.run)
    shutil.rmtree(folder.checkpoints)
    half = folder.checkpoints / ".tmp-step-000000002-1234-0badcafe"
    half.mkdir(parents=True)
    (half / "model.safetensors").write_text("half")
    folder.metrics.write_text(RunFolder(done.run).metrics.read_text().splitlines(keepends=True)[0])
    facts = folder.read_facts()
    facts.pop("ended")
    (scene.run / "run.json").write_text(json.dumps(facts))
    return half


def test_a_run_that_was_killed_before_its_first_checkpoint_comes_to_the_same_end(scene: Scene, done: Scene):
    half = begun(scene, done)
    result, screen = go_on(scene)
    assert result.ended == "finished"
    assert not half.exists()
    assert screen.under("Resume") == [
        f"{scene.run} ended before its first checkpoint: it begins again, as if never started"
    ]
    ends = [read_newest_checkpoint(RunFolder(run).checkpoints).path for run in (done.run, scene.run)]
    for name in ("model.safetensors", "optimizer.safetensors", "average.safetensors"):
        assert (ends[0] / name).read_bytes() == (ends[1] / name).read_bytes()
    losses = [
        [row["validation_loss"] for row in MetricLog(RunFolder(run).metrics).rows()] for run in (done.run, scene.run)
    ]
    assert losses[0] == losses[1]


def test_a_run_that_has_only_begun_wants_its_data_too(scene: Scene, done: Scene):
    begun(scene, done)
    (scene.pictures / "disc" / "05.png").unlink()
    with pytest.raises(UsageError, match=r"the data in .* is not what this run began with: 1 gone or unusable now"):
        go_on(scene)
    assert go_on(scene, accept_changes=True)[0].ended == "finished"


def test_a_finished_run_whose_checkpoints_are_gone_is_not_trained_anew(scene: Scene):
    shutil.rmtree(RunFolder(scene.run).checkpoints)
    with pytest.raises(DataError, match=r"no whole checkpoint in .*: no step-.. folder there"):
        go_on(scene)


def test_a_signal_after_training_ends_with_words_and_loses_nothing(
    scene: Scene, done: Scene, monkeypatch: pytest.MonkeyPatch
):
    config, screen = RunFolder(scene.run).read_config(), Facts()
    run = scene.run.with_name("signalled")
    with monkeypatch.context() as patch:
        patch.setattr("perceptio.runs.closing._measure_best", lambda *given: signal.raise_signal(signal.SIGTERM))
        with pytest.raises(KeyboardInterrupt) as ended:
            train_run(config, replace(OPTIONS, out=run), screen=screen)
    assert ended.value.args == (signal.SIGTERM,)
    assert screen.under("Stopped") == [
        f"trained and saved; perceptio train --resume {run} measures it and writes the report"
    ]
    assert go_on(Scene(scene.pictures, run))[0].ended == "finished"
    ends = [read_newest_checkpoint(RunFolder(folder).checkpoints).path for folder in (done.run, run)]
    assert (ends[0] / "model.safetensors").read_bytes() == (ends[1] / "model.safetensors").read_bytes()
