"""A run that was stopped and resumed ends with the bytes of a run that never was.

Each part of a run is a new process. All sources of randomness are on (dropout, augmentation, mixup, cutmix), batches
are accumulated from two parts, and the optimizer is LAMB with two groups. The disturbed run is stopped three times, and
negative controls show that the comparison would notice a resume that is built wrongly; `test_resume_controls.py` has
the rest of them.
"""

import re
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from perceptio.data.split_file import read_split_rows
from perceptio.runs.serialisation import dump, to_json
from support.comparison import differing_parts
from support.configs import everything_random, tiny_config
from support.pictures import make_picture_folder
from support.processes import disturbed, perceptio

pytestmark = pytest.mark.slow

STEPS_PER_EPOCH = 3  # 45 pictures less 9 for validation and 9 for the test, in batches of 8
EPOCHS = 4
INTERRUPTED, KILLED = 130, -9


class Scene(NamedTuple):
    folder: Path
    config: Path
    undisturbed: Path


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    folder = tmp_path_factory.mktemp("resume")
    data = make_picture_folder(folder / "pictures", per_class=15)
    config = folder / "config.json"
    config.write_text(dump(to_json(everything_random(tiny_config(data, epochs=EPOCHS)))))
    done = perceptio("train", "--config", config, "--out", folder / "undisturbed", "--workers", 0, cwd=folder)
    assert done.returncode == 0, done.stderr
    return Scene(folder, config, folder / "undisturbed")


@pytest.fixture(scope="module")
def stopped(scene: Scene) -> Path:
    """The run, stopped by Ctrl-C in the middle of its second epoch."""
    out = scene.folder / "stopped"
    start = ("train", "--config", scene.config, "--out", out, "--workers", 0)
    done = disturbed(*start, cwd=scene.folder, stop_at=STEPS_PER_EPOCH + 1)
    assert done.returncode == INTERRUPTED, done.stderr
    assert f"perceptio train --resume {out}" in done.stdout
    assert checkpoints(out) == [STEPS_PER_EPOCH, STEPS_PER_EPOCH + 1]
    return out


def checkpoints(run: Path) -> list[int]:
    return sorted(int(path.name.removeprefix("step-")) for path in (run / "checkpoints").glob("step-*"))


@pytest.mark.parametrize("workers", [0, 2])
def test_three_stops_change_nothing(scene: Scene, stopped: Path, workers: int):
    run = scene.folder / f"disturbed-{workers}"
    shutil.copytree(stopped, run)
    resume = ("train", "--resume", run, "--workers", workers)
    at_an_epochs_end = disturbed(*resume, cwd=scene.folder, stop_at=2 * STEPS_PER_EPOCH)
    assert at_an_epochs_end.returncode == INTERRUPTED, at_an_epochs_end.stderr
    assert checkpoints(run)[-1] == 2 * STEPS_PER_EPOCH
    killed = disturbed(*resume, cwd=scene.folder, kill_at=3 * STEPS_PER_EPOCH - 1)
    assert killed.returncode == KILLED, killed.stderr
    assert checkpoints(run)[-1] == 2 * STEPS_PER_EPOCH, "nothing of the killed epoch was saved"
    last = perceptio(*resume, cwd=scene.folder)
    assert last.returncode == 0, last.stderr
    assert "bit for bit as if never stopped" in last.stderr
    assert differing_parts(scene.undisturbed, run) == []


@pytest.mark.parametrize("file", [1, 4])
def test_a_kill_in_a_save_changes_nothing(scene: Scene, file: int):
    """The second checkpoint of four files each is half written: the first one is taken."""
    run = scene.folder / f"killed-in-save-{file}"
    start = ("train", "--config", scene.config, "--out", run, "--workers", 0)
    killed = disturbed(*start, cwd=scene.folder, kill_in_save=4 + file)
    assert killed.returncode == KILLED, killed.stderr
    assert checkpoints(run) == [STEPS_PER_EPOCH]
    assert len(list((run / "checkpoints").glob(".tmp-*"))) == 1, "the kill hit a save"
    last = perceptio("train", "--resume", run, "--workers", 0, cwd=scene.folder)
    assert last.returncode == 0, last.stderr
    assert differing_parts(scene.undisturbed, run) == []


@pytest.mark.parametrize("moment", [{"kill_at": 2}, {"kill_in_save": 3}])
def test_a_kill_before_the_first_checkpoint_changes_nothing(scene: Scene, moment: dict[str, int]):
    run = scene.folder / f"killed-early-{next(iter(moment))}"
    start = ("train", "--config", scene.config, "--out", run, "--workers", 2)
    killed = disturbed(*start, cwd=scene.folder, **moment)
    assert killed.returncode == KILLED, killed.stderr
    assert checkpoints(run) == []
    last = perceptio("train", "--resume", run, "--workers", 0, cwd=scene.folder)
    assert last.returncode == 0, last.stderr
    assert "ended before its first checkpoint: it begins again, as if never started" in last.stderr
    assert differing_parts(scene.undisturbed, run) == []


def test_a_disk_that_takes_no_more_ends_the_run_and_harms_nothing(scene: Scene, stopped: Path):
    """The limit lets the weights of a checkpoint through and cuts its moments off in the middle."""
    run = scene.folder / "full-disk"
    shutil.copytree(stopped, run)
    moments = next((run / "checkpoints").glob("step-*/optimizer.safetensors"))
    resume = ("train", "--resume", run, "--workers", 0)
    failed = disturbed(*resume, cwd=scene.folder, file_bytes=moments.stat().st_size - 1000)
    assert failed.returncode == 1
    for step in (6, 9):
        assert f"warning: no checkpoint at step {step}: File too large" in failed.stderr
    told = r"error: 3 checkpoints in a row could not be written, the last at step 12: File too large: \S+ \("
    assert re.search(told + r"[\d,]+ bytes to write, [\d,]+ free\)", failed.stderr)
    assert checkpoints(run) == [STEPS_PER_EPOCH, STEPS_PER_EPOCH + 1]
    assert not list(run.rglob(".tmp-*"))
    last = perceptio(*resume, cwd=scene.folder)
    assert last.returncode == 0, last.stderr
    assert differing_parts(scene.undisturbed, run) == []


@pytest.mark.parametrize("part", ["dropout", "epoch-in-order", "moments"])
def test_without_one_part_the_resumed_run_differs(scene: Scene, stopped: Path, part: str):
    run = scene.folder / f"without-{part}"
    shutil.copytree(stopped, run)
    last = disturbed("train", "--resume", run, "--workers", 0, cwd=scene.folder, without=part)
    assert last.returncode == 0, last.stderr
    assert {"last weights", "moments"} <= set(differing_parts(scene.undisturbed, run))


@pytest.mark.parametrize(("options", "threads", "said"), [
    (("--threads", 2), 1, "not bit-exact: threads 1 -> 2"),
    ((), 2, "bit for bit as if never stopped"),
])  # fmt: skip
def test_threads_are_as_they_were_or_it_is_said(scene: Scene, stopped: Path, options, threads: int, said: str):
    """OMP_NUM_THREADS of today has no say in how many threads a run goes on with."""
    run = scene.folder / f"threads-{threads}"
    shutil.copytree(stopped, run)
    done = disturbed("train", "--resume", run, "--workers", 0, *options, cwd=scene.folder, stop_at=5, threads=threads)
    assert done.returncode == INTERRUPTED, done.stderr
    assert said in done.stderr


def test_other_data_is_refused_or_accepted_and_said(scene: Scene, stopped: Path):
    run = scene.folder / "other-data"
    shutil.copytree(stopped, run)
    pictures = scene.folder / "pictures"
    gone, new = pictures / "disc" / "00.png", pictures / "frame" / "new.png"
    gone.rename(scene.folder / "aside.png")
    shutil.copyfile(pictures / "frame" / "01.png", new)
    try:
        refused = perceptio("train", "--resume", run, cwd=scene.folder)
        accepted = disturbed("train", "--resume", run, "--accept-changes", cwd=scene.folder, stop_at=5)
        again = disturbed("train", "--resume", run, cwd=scene.folder, stop_at=6)
    finally:
        (scene.folder / "aside.png").rename(gone)
        new.unlink()
    assert refused.returncode == 2
    changes = "1 gone or unusable now (disc/00.png), 1 new (frame/new.png)"
    assert f"is not what this run began with: {changes}. Put the files back, start a new run" in refused.stderr
    assert accepted.returncode == INTERRUPTED, accepted.stderr
    assert changes in accepted.stderr
    assert "at step 4, not bit-exact: other data; other split" in accepted.stderr
    splits = {name: row.split for name, row in read_split_rows(run / "split.csv").items()}
    assert "disc/00.png" not in splits
    assert splits["frame/new.png"] == splits["frame/01.png"], "a copy stays with what it is a copy of"
    assert again.returncode == INTERRUPTED, again.stderr
    assert "at step 5, bit for bit as if never stopped" in again.stderr


def test_an_edited_split_is_refused(scene: Scene, stopped: Path):
    run = scene.folder / "edited-split"
    shutil.copytree(stopped, run)
    text = (run / "split.csv").read_text()
    (run / "split.csv").write_text(text.replace(",test,", ",train,", 1))
    done = perceptio("train", "--resume", run, cwd=scene.folder)
    assert done.returncode == 2
    assert "is not what this run began with: split.csv says otherwise than the checkpoint" in done.stderr
