"""Two processes give one process's run: same samples in each step, one folder, equal losses to rounding.

Each part of a run is a launch by torchrun. The long matrix (four processes, sharded ones, every failure) is
benchmarks/processes.py.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from perceptio.runs.serialisation import dump, to_json
from perceptio.training.checkpoint import read_newest_checkpoint
from support.comparison import differing_parts
from support.configs import everything_random, tiny_config
from support.kinds import make_array
from support.launched import Trouble, launch, steps_of
from support.pictures import CLASSES, make_picture_folder
from support.processes import python

pytestmark = pytest.mark.slow

EPOCHS, STEPS, STOP = 2, 6, 4


class Scene(NamedTuple):
    folder: Path
    start: tuple[str, ...]
    alone: Path
    together: Path
    stopped: Path
    printed: str


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """A run by one process, by two, and by two of which the second got SIGTERM, and the launcher."""
    folder = tmp_path_factory.mktemp("processes")
    config = everything_random(tiny_config(make_picture_folder(folder / "pictures", per_class=15), epochs=EPOCHS))
    # Dropout masks are drawn by each process for its own samples: they depend on how many there are.
    config = replace(config, model=replace(config.model, dropout=0.0, attention_dropout=0.0))
    (folder / "config.json").write_text(dump(to_json(config)))
    start = ("train", "--config", "config.json", "--workers", "0", "--device", "cpu")
    for name in ("alone", "together", "stopped"):
        (folder / f"{name}-steps").mkdir()
    alone = launch(*start, "--out", "alone", cwd=folder, count=1, record=folder / "alone-steps" / "1")
    assert alone.code == 0, alone.stderr
    together = launch(*start, "--out", "together", cwd=folder, record=folder / "together-steps" / "2")
    assert together.code == 0, together.stderr
    trouble = Trouble(stop_at=STOP)
    stopped = launch(*start, "--out", "stopped", cwd=folder, record=folder / "stopped-steps" / "2", trouble=trouble)
    assert "Stopped   saved" in stopped.stdout, stopped.stderr
    assert read_newest_checkpoint(folder / "stopped" / "checkpoints").state.step == STOP
    return Scene(folder, start, folder / "alone", folder / "together", folder / "stopped", together.stdout)


def assert_same_training(scene: Scene, steps: Path) -> None:
    """Equal samples in each step, in their order; equal losses to rounding."""
    one, other = steps_of(scene.folder / "alone-steps"), steps_of(steps)
    assert one.keys() == other.keys() == set(range(STEPS))
    assert [samples for samples, _ in one.values()] == [other[step][0] for step in one]
    assert [loss for _, loss in one.values()] == pytest.approx([other[step][1] for step in one], rel=1e-5)


def test_two_processes_give_one_processs_run(scene: Scene):
    assert_same_training(scene, scene.folder / "together-steps")
    one, two = (json.loads((run / "run.json").read_text()) for run in (scene.alone, scene.together))
    assert two["test"] == pytest.approx(one["test"], rel=1e-5)
    assert [facts["surroundings"]["num_processes"] for facts in (one, two)] == [1, 2]
    # Nine test samples: two processes cannot share them evenly, and each must be there once.
    files = [
        [line.split(",")[0] for line in (run / "predictions.csv").read_text().splitlines()]
        for run in (scene.alone, scene.together)
    ]
    assert files[0] == files[1]
    assert len(set(files[1])) == 10
    assert scene.printed.count("Report") == 1


def resumed(scene: Scene, name: str, count: int, *options: str) -> tuple[Path, Path]:
    """Goes on with the stopped run; returns the run and the record of both parts."""
    run, steps = scene.folder / name, scene.folder / f"{name}-steps"
    shutil.copytree(scene.stopped, run)
    shutil.copytree(scene.folder / "stopped-steps", steps)
    arguments = ("train", "--resume", name, *scene.start[3:], *options)
    done = launch(*arguments, cwd=scene.folder, count=count, record=steps / "resumed")
    assert done.code == 0, done.stderr
    exact = "bit for bit as if never stopped" if count == 2 and not options else "not bit-exact"
    assert exact in done.stderr
    # Of the libraries' own group; those that carry messages are gone before the interpreter ends.
    assert done.stderr.count("at the end 2 threads of gloo") == (count if count > 1 else 0)
    return run, steps


def test_two_processes_go_on_to_equal_bytes(scene: Scene):
    run, _ = resumed(scene, "two", 2)
    assert differing_parts(scene.together, run) == []


def test_one_process_goes_on_where_two_stopped(scene: Scene):
    _, steps = resumed(scene, "one", 1)
    assert_same_training(scene, steps)


def test_sharded_weights_go_on_where_replicated_ones_stopped(scene: Scene):
    _, steps = resumed(scene, "sharded", 2, "--sharding", "full")
    assert_same_training(scene, steps)


def test_when_one_process_fails_all_end_with_its_message(scene: Scene):
    trouble = Trouble(fail="data", rank=1)
    done = launch(*scene.start, "--out", "failed", cwd=scene.folder, trouble=trouble)
    assert done.code != 0
    assert done.errors == ["error: process 1: broken on purpose"]
    assert done.late is not None
    assert done.late < 30
    assert read_newest_checkpoint(scene.folder / "failed" / "checkpoints").state.step == 3


def test_when_one_process_is_killed_the_first_says_so_before_the_launcher_ends_it(scene: Scene):
    done = launch(*scene.start, "--out", "killed", cwd=scene.folder, trouble=Trouble(fail="kill", rank=1))
    assert done.code != 0
    (said,) = done.errors
    assert said.startswith("error: process 0 waited in vain for another one, which was killed or hangs (")
    assert done.late is not None
    assert done.late < 30
    facts = json.loads((scene.folder / "killed" / "run.json").read_text())
    assert (facts["ended"], f"error: {facts['failure']}") == ("failed", said)
    assert "waited in vain" in (scene.folder / "killed" / "report.html").read_text()


@pytest.mark.parametrize("allowed", [0.1, 0.9])
def test_files_that_go_bad_in_the_shares_of_both_are_counted_together(tmp_path: Path, allowed: float):
    data = make_picture_folder(tmp_path / "pictures", per_class=15)
    config = tiny_config(data, epochs=3)
    config = replace(config, source=replace(config.source, max_skipped=allowed, remember=False))
    (tmp_path / "config.json").write_text(dump(to_json(config)))
    arguments = ("train", "--config", "config.json", "--workers", "0", "--device", "cpu", "--out", "run")
    done = launch(*arguments, cwd=tmp_path, trouble=Trouble(spoil="pictures/disc/*.png"))
    run = tmp_path / "run"
    listed = [line.split(",")[0] for line in (run / "skipped.csv").read_text().splitlines()[1:]]
    assert len(set(listed)) == len(listed)
    assert all(name.startswith("disc/") for name in listed)
    facts = json.loads((run / "run.json").read_text())
    assert sum(facts["lost"].values()) == len(listed) >= 5
    assert done.stderr.count("went bad in mid-run: no such file. In training another sample") == 1
    if allowed == 0.1:
        (said,) = done.errors
        assert said.startswith(f"error: {len(listed)} of 45 samples cannot be used, {len(listed)} of them since")
        assert (facts["ended"], read_newest_checkpoint(run / "checkpoints").state.step) == ("failed", 3)
    else:
        assert done.code == 0, done.stderr
        assert facts["ended"] == "finished"
        rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        assert rows[0]["num_lost"] == 0 < rows[1]["num_lost"] <= rows[2]["num_lost"] <= len(listed)


def test_a_process_whose_samples_lack_a_stream_keeps_step_with_the_others(tmp_path: Path):
    """Few pictures have a signal beside them: in most steps one process sees none, and its weights need gradients."""
    random = np.random.default_rng(0)
    make_picture_folder(tmp_path / "files")
    for label in CLASSES:
        for number in (3, 7):
            make_array(tmp_path / "files" / label / f"{number:02d}", label, random)
    arguments = [
        *("train", "--data", "files", "--epochs", "1", "--batch-size", "8", "--workers", "0", "--device", "cpu"),
        *("--model.num-latents", "8", "--model.latent-channels", "16", "--training.patience-epochs", "None"),
        *("--image.encoding.num-bands", "4", "--image.flip-probability", "0", "--array.encoding.num-bands", "3"),
    ]
    alone = python("-m", "perceptio", *arguments, "--out", "one", cwd=tmp_path)
    assert alone.returncode == 0, alone.stderr
    together = launch(*arguments, cwd=tmp_path)
    assert together.code == 0, together.stderr
    (run,) = (tmp_path / "runs").iterdir()  # one process made it, both used it
    assert list(json.loads((run / "config.json").read_text())["streams"]["by_name"]) == ["image", "array"]
    one, two = (json.loads((path / "metrics.jsonl").read_text().splitlines()[-1]) for path in (tmp_path / "one", run))
    assert (two["train_loss"], two["validation_loss"]) == pytest.approx(
        (one["train_loss"], one["validation_loss"]), rel=1e-5
    )
