"""Predicting where a file kills, hangs or exhausts its decoder: its line is an error, all others are as without it."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from perceptio.data.limits import Limits
from perceptio.models.perceiver import build_perceiver
from perceptio.runs import predict
from perceptio.runs.model_file import ModelFacts, write_model
from perceptio.runs.predict import predict_files
from support.configs import tiny_config
from support.harmful import HarmfulViews
from support.pictures import CLASSES, make_picture_folder

REASONS = {
    "segfault.png": "kills its decoder (SIGSEGV)",
    "abort.png": "kills its decoder (SIGABRT)",
    "eat.png": "needs more than 209,715,200 bytes (--source.limits.max-decode-bytes)",
    "sleep.png": "took more than 1 s (--source.limits.max-file-seconds)",
    "refuse.png": "broken on purpose",
    "text.png": 'not an image: it begins with "only text"',
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    config = tiny_config()
    limits = Limits(max_file_seconds=1, max_decode_bytes=200 * 2**20)
    config = replace(config, source=replace(config.source, limits=limits))
    torch.manual_seed(7)
    model = build_perceiver(config.input_config(), config.model, len(CLASSES))
    torch.nn.init.normal_(model.head.logits.weight)
    write_model(
        tmp_path / "model.safetensors",
        model.state_dict(),
        ModelFacts(config=config, classes=CLASSES, task="single_label"),
    )
    return tmp_path


@pytest.mark.slow
def test_a_harmful_file_costs_its_own_line_and_nothing_else(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perceptio.data.children._PATIENCE", 1)
    monkeypatch.setattr("perceptio.data.children._LEAST_PATIENCE_SECONDS", 1)
    good = sorted(make_picture_folder(run / "pictures", per_class=6).rglob("*.png"))
    undisturbed = list(predict_files(run, good, device="cpu"))
    monkeypatch.setattr(predict, "Views", HarmfulViews)
    files = list(good)
    for number, name in enumerate(REASONS):
        (run / name).write_bytes(b"only text" if name == "text.png" else good[0].read_bytes())
        files.insert(1 + 4 * number, run / name)

    found = list(predict_files(run, files, device="cpu"))

    assert [answer.file for answer in found] == [str(path) for path in files]
    assert {Path(answer.file).name: answer.error for answer in found if answer.error} == REASONS
    assert all((answer.label is None) == (answer.probabilities is None) == bool(answer.error) for answer in found)
    for answer, alone in zip([answer for answer in found if not answer.error], undisturbed, strict=True):
        assert (answer.file, answer.label) == (alone.file, alone.label)
        assert answer.probabilities == pytest.approx(alone.probabilities, abs=1e-6)


def test_where_all_files_do_harm_each_has_its_line(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predict, "Views", HarmfulViews)
    files = [run / f"segfault.{number}.png" for number in range(5)]
    answers = list(predict_files(run, files, device="cpu"))
    assert [answer.file for answer in answers] == [str(path) for path in files]
    assert {answer.error for answer in answers} == {REASONS["segfault.png"]}
