"""Two processes give one process's run: same samples in each step, one folder, equal losses to rounding."""

import json
from pathlib import Path

import pytest

from support.pictures import make_picture_folder
from support.processes import python


def losses(run: Path) -> list[float]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [row["train_loss"] for row in rows] + [row["validation_loss"] for row in rows]


@pytest.mark.slow
def test_two_processes_give_one_processs_losses(tmp_path: Path) -> None:
    make_picture_folder(tmp_path / "pictures")
    arguments = [
        *("train", "--data", "pictures", "--epochs", "2", "--batch-size", "8", "--workers", "0"),
        *("--model.num-latents", "8", "--model.latent-channels", "16", "--training.patience-epochs", "None"),
        *("--encoding.num-bands", "4", "--image.flip-probability", "0"),
    ]
    alone = python("-m", "perceptio", *arguments, "--out", "one", cwd=tmp_path)
    assert alone.returncode == 0, alone.stderr
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "perceptio"]
    together = python(*launcher, *arguments, "--device", "cpu", cwd=tmp_path)
    assert together.returncode == 0, together.stderr
    (folder,) = (tmp_path / "runs").iterdir()  # one process made it, both used it
    assert losses(folder) == pytest.approx(losses(tmp_path / "one"), rel=1e-5)
    assert together.stdout.count("Report") == 1
    assert json.loads((folder / "run.json").read_text())["test"].keys() == {
        *("loss", "accuracy", "balanced_accuracy"),
    }
