"""Two processes give one process's run: same samples in each step, one folder, equal losses to rounding."""

import json
from pathlib import Path

import numpy as np
import pytest

from support.kinds import make_array
from support.pictures import CLASSES, make_picture_folder
from support.processes import python


def losses(run: Path) -> list[float]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [row["train_loss"] for row in rows] + [row["validation_loss"] for row in rows]


def train_alone_and_together(folder: Path, *options: str, together: tuple[str, ...] = ()) -> tuple[Path, Path, str]:
    """Trains on `folder`/files in one process and in two; returns both runs and what the two printed.

    Args:
        together: options of the two alone.
    """
    arguments = [
        *("train", "--data", "files", "--epochs", "2", "--batch-size", "8", "--workers", "0"),
        *("--model.num-latents", "8", "--model.latent-channels", "16", "--training.patience-epochs", "None"),
        *("--image.encoding.num-bands", "4", "--image.flip-probability", "0", *options),
    ]
    alone = python("-m", "perceptio", *arguments, "--out", "one", cwd=folder)
    assert alone.returncode == 0, alone.stderr
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "perceptio"]
    both = python(*launcher, *arguments, *together, "--device", "cpu", cwd=folder)
    assert both.returncode == 0, both.stderr
    (run,) = (folder / "runs").iterdir()  # one process made it, both used it
    return folder / "one", run, both.stdout


@pytest.mark.slow
def test_two_processes_give_one_processs_losses(tmp_path: Path) -> None:
    make_picture_folder(tmp_path / "files")
    mixing = ("--training.mixing.cutmix-share", "0.4", "--training.mixing.mixup-share", "0.4")
    one, two, printed = train_alone_and_together(tmp_path, *mixing, together=("--training.num-micro-batches", "2"))
    assert losses(two) == pytest.approx(losses(one), rel=1e-5)
    assert printed.count("Report") == 1
    assert json.loads((two / "run.json").read_text())["test"].keys() == {
        *("loss", "accuracy", "balanced_accuracy"),
    }


@pytest.mark.slow
def test_a_process_whose_samples_lack_a_stream_keeps_step_with_the_others(tmp_path: Path) -> None:
    """Few pictures have a signal beside them: in most steps one process sees none, and its weights need gradients."""
    random = np.random.default_rng(0)
    make_picture_folder(tmp_path / "files")
    for label in CLASSES:
        for number in (3, 7):
            make_array(tmp_path / "files" / label / f"{number:02d}", label, random)
    one, two, _ = train_alone_and_together(tmp_path, "--array.encoding.num-bands", "3")
    assert list(json.loads((two / "config.json").read_text())["streams"]["by_name"]) == ["image", "array"]
    assert losses(two) == pytest.approx(losses(one), rel=1e-5)
