"""What older versions wrote is read, and gives the same answers: `formats/N` is a run of checkpoint format N."""

import json
from pathlib import Path

import pytest
import torch

from perceptio.runs.model_file import read_model
from perceptio.training.checkpoint import FORMAT_VERSION, READABLE_FORMATS, read_newest_checkpoint

FORMATS = Path(__file__).parent / "formats"
OLDER = [version for version in READABLE_FORMATS if version != FORMAT_VERSION]


@pytest.mark.parametrize("version", OLDER)
def test_an_older_run_gives_the_logits_that_it_gave(version: int):
    run = FORMATS / str(version)
    model = read_model(run / "model.safetensors")[0].eval()
    found = read_newest_checkpoint(run / "checkpoints")
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    assert weights.keys() == found.model.keys()
    inputs = {"image": torch.linspace(-1, 1, 16 * 16 * 3).reshape(1, 16, 16, 3)}
    expected = torch.tensor(json.loads((run / "logits.json").read_text()))
    for state in (weights, dict(found.model)):
        model.load_state_dict(state)
        with torch.inference_mode():
            torch.testing.assert_close(model(inputs), expected)
    assert found.state.step == found.state.best_step == 4
    assert {name.rpartition("/")[0] for name in found.optimizer} == weights.keys()


def test_every_older_format_has_a_run_here():
    assert [int(path.name) for path in FORMATS.iterdir()] == OLDER
