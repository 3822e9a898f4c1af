import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from perceptio.errors import DataError
from perceptio.training.average import WeightAverage
from perceptio.training.checkpoint import read_newest_checkpoint
from perceptio.training.config import TrainingConfig
from support.jobs import PLAIN, make_job, run_job, weights

AVERAGED = replace(PLAIN, average_decay=0.7)


def test_it_is_the_weighted_mean_of_the_weights_after_each_step():
    """Against the definition, in float64; the weights before the first step have no part in it."""
    model, decay = nn.BatchNorm1d(3), 0.9
    average = WeightAverage(model, decay)
    history = []
    for count in range(1, 30):
        with torch.no_grad():
            model.weight.copy_(torch.randn(3))
            model.num_batches_tracked.fill_(count)
        average.update(count)
        history.append(model.weight.detach().double().clone())
        shares = torch.tensor([decay ** (count - 1 - i) for i in range(count)], dtype=torch.float64)
        expected = (shares[:, None] * torch.stack(history)).sum(0) / shares.sum()
        torch.testing.assert_close(average.tensors["weight"].double(), expected, rtol=1.3e-6, atol=1e-6)
        assert average.tensors["num_batches_tracked"].item() == count
    assert average.tensors["weight"].dtype == torch.float32


def test_the_model_has_it_for_a_while_and_then_its_own_weights_to_the_bit():
    model = nn.Linear(3, 2)
    average = WeightAverage(model, 0.5)
    with torch.no_grad():
        model.weight.mul_(1.1)
    before = copy.deepcopy(model.state_dict())

    def evaluate() -> None:
        with average.in_place():
            assert torch.equal(model.weight, average.tensors["weight"])
            assert not torch.equal(model.weight, before["weight"])
            raise RuntimeError("evaluation failed")

    with pytest.raises(RuntimeError, match="evaluation failed"):
        evaluate()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_what_is_evaluated_and_kept_is_the_average_and_training_is_not_touched(tmp_path: Path):
    plain, averaged = make_job(tmp_path / "plain"), make_job(tmp_path / "averaged", config=AVERAGED)
    seen, kept = [], []

    def evaluate(model: nn.Module):
        seen.append(copy.deepcopy(model.state_dict()))
        return averaged.evaluate(model)

    run_job(plain)
    keep = lambda weights, state: kept.append(copy.deepcopy(dict(weights)))  # noqa: E731
    run_job(replace(averaged, evaluate=evaluate, keep_best=keep))
    last = read_newest_checkpoint(averaged.checkpoints)
    for name, value in weights(plain).items():
        assert torch.equal(last.model[name], value), "the average must not change what is trained"
    assert all(torch.equal(last.average[name], value) for name, value in seen[-1].items())
    assert not torch.equal(last.average["latents"], last.model["latents"])
    assert any(all(torch.equal(value, shown[name]) for name, value in kept[-1].items()) for shown in seen)
    assert last.evaluated is last.average


def test_it_goes_on_exactly(tmp_path: Path):
    whole, stopped, resumed = (make_job(tmp_path / name, config=AVERAGED) for name in ("whole", "stopped", "resumed"))
    run_job(whole)
    run_job(stopped, stop_after=2)
    run_job(replace(resumed, checkpoints=stopped.checkpoints), resume=read_newest_checkpoint(stopped.checkpoints))
    ends = [read_newest_checkpoint(job.checkpoints).path for job in (whole, stopped)]
    contents = [(end / "average.safetensors").read_bytes() for end in ends]
    assert contents[0] == contents[1]


def test_a_checkpoint_without_one_is_refused(tmp_path: Path):
    job = make_job(tmp_path)
    run_job(job, stop_after=2)
    with pytest.raises(DataError) as refused:
        run_job(make_job(tmp_path, config=AVERAGED), resume=read_newest_checkpoint(job.checkpoints))
    assert str(refused.value) == (
        "training.average_decay is on, but the checkpoint holds no average: it was off when this run began. "
        "Set it back to null in config.json, or start a new run"
    )


@pytest.mark.parametrize("decay", [0.0, 1.0, -0.1])
def test_a_decay_out_of_range_is_refused(decay: float):
    with pytest.raises(ValueError, match=rf"average_decay must lie between 0 and 1 or be None, got {decay}"):
        TrainingConfig(average_decay=decay)
