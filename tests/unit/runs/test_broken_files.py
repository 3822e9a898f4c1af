"""Broken files among good ones cost themselves: the run is, weight for weight, the one without them."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from perceptio.runs.folder import RunFolder
from perceptio.runs.results import RunResult
from perceptio.runs.train import train_run
from perceptio.runs.workbench import TrainOptions
from perceptio.training.checkpoint import read_newest_checkpoint
from support.configs import tiny_config
from support.pictures import CLASSES, make_picture_folder


def broken_files(good: bytes) -> dict[str, bytes]:
    """Thirty files that no reader takes: empty, cut at many places, of another kind, zeros, of odd names."""
    cut = {f"cut-{share}.png": good[: len(good) * share // 100] for share in range(1, 96, 5)}
    others = {
        "empty.png": b"",
        "zeros.png": bytes(500),
        "text.png": b"only text\n",
        "sound.png": b"RIFF" + (36).to_bytes(4, "little") + b"WAVEfmt " + bytes(28),
        "page.jpg": b"<html><body>404</body></html>",
        "signature.png": good[:8],
        "-rf.png": b"x",
        "two  spaces ü.png": b"x",
        "bomb.gif": b"GIF89a\xff\xff\xff\xff\x00\x00\x00;",
    }
    return cut | others


def weights_of(run: Path) -> dict[str, Tensor]:
    return dict(read_newest_checkpoint(RunFolder(run).checkpoints).model)


def test_the_weights_are_those_of_a_run_without_the_broken_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        "perceptio.runs.closing.finish_run",
        lambda run, measured, device: RunResult(folder=run.folder.path, ended="finished", best_epoch=None, test={}),
    )
    monkeypatch.setattr("perceptio.runs.train.draw_training_samples", lambda bench, samples: None)
    data = make_picture_folder(tmp_path / "pictures", per_class=12)
    good = next(data.rglob("*.png")).read_bytes()
    made = []
    for number, (name, content) in enumerate(broken_files(good).items()):
        made.append(data / CLASSES[number % len(CLASSES)] / name)
        made[-1].write_bytes(content)
    made.append(data / CLASSES[0] / "pipe.png")
    os.mkfifo(made[-1])
    (tmp_path / "outside.png").write_bytes(good)
    made.append(data / CLASSES[1] / "link-out.png")
    made[-1].symlink_to(tmp_path / "outside.png")
    assert len(made) >= 30
    config = tiny_config(data, epochs=2.0)
    config = replace(config, source=replace(config.source, max_skipped=0.6, remember=False))
    options = TrainOptions(device="cpu", workers=0)
    train_run(config, replace(options, out=tmp_path / "with"))
    skipped = (tmp_path / "with" / "skipped.csv").read_text()
    listed = sorted(line.split(",")[0] for line in skipped.splitlines()[1:])
    assert listed == sorted(str(path.relative_to(data)) for path in made)
    for path in made:
        path.unlink()
    train_run(config, replace(options, out=tmp_path / "without"))
    expected, found = weights_of(tmp_path / "without"), weights_of(tmp_path / "with")
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert (tmp_path / "with" / "split.csv").read_bytes() == (tmp_path / "without" / "split.csv").read_bytes()
