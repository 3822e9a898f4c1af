import pytest
import torch

from perceptio.inputs.grid import GridEncoding, GridInputConfig
from perceptio.models.perceiver import build_perceiver
from perceptio.training.lamb import Lamb
from perceptio.training.optimizers import OptimizerConfig, build_optimizer, split_by_decay
from support.configs import TINY_MODEL

LEARNED = GridInputConfig(axes=(3, 5), channels=2, encoding=GridEncoding(positions="learned", learned_channels=7))


@pytest.fixture
def model():
    return build_perceiver(LEARNED, TINY_MODEL, 3)


def test_biases_and_layer_norms_do_not_decay_all_else_does(model):
    decayed, exempt = split_by_decay(model)
    assert {name for name, _ in decayed} | {name for name, _ in exempt} == {
        name for name, _ in model.named_parameters()
    }
    assert len(decayed) + len(exempt) == len(list(model.parameters()))
    # In this model whatever has one axis is a bias, or scale or offset of a layer norm.
    assert all(parameter.ndim == 1 for _, parameter in exempt)
    assert all(parameter.ndim == 2 for _, parameter in decayed)


def test_latents_and_learned_positions_decay(model):
    """As in the official code: decay_pos_embs=True."""
    names = {name for name, _ in split_by_decay(model)[0]}
    assert "latents" in names
    assert any(name.startswith("input.positions") for name in names)


def test_a_layer_norm_is_known_by_its_type_not_by_its_name():
    tricky = torch.nn.ModuleDict({"plain": torch.nn.LayerNorm(3), "norm": torch.nn.Linear(3, 3)})
    decayed, exempt = split_by_decay(tricky)
    assert [name for name, _ in decayed] == ["norm.weight"]
    assert {name for name, _ in exempt} == {"plain.weight", "plain.bias", "norm.bias"}


@pytest.mark.parametrize(("kind", "expected"), [("lamb", Lamb), ("adamw", torch.optim.AdamW)])
def test_groups_carry_the_decay(model, kind, expected):
    config = OptimizerConfig(kind=kind, weight_decay=0.3, betas=(0.8, 0.9), eps=1e-7)
    optimizer = build_optimizer(config, model, learning_rate=0.01)
    assert type(optimizer) is expected
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.3, 0.0]
    for group in optimizer.param_groups:
        assert (group["lr"], tuple(group["betas"]), group["eps"]) == (0.01, (0.8, 0.9), 1e-7)


@pytest.mark.parametrize("kind", ["lamb", "adamw"])
def test_without_gradient_signal_only_the_decayed_shrink(model, kind):
    optimizer = build_optimizer(OptimizerConfig(kind=kind, weight_decay=0.5), model, learning_rate=0.1)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    moved = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    zeros = {name for name, value in before.items() if not value.any()}
    assert moved == {name for name, _ in split_by_decay(model)[0]} - zeros


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"betas": (0.9, 1.0)}, r"optimizer betas must lie in \[0, 1\), got \(0.9, 1.0\)"),
        ({"eps": 0.0}, r"optimizer needs finite eps > 0 and weight_decay >= 0, got 0.0, 0.1"),
        ({"eps": float("nan")}, r"optimizer needs finite eps > 0 and weight_decay >= 0, got nan, 0.1"),
        ({"weight_decay": -0.1}, r"optimizer needs finite eps > 0 and weight_decay >= 0, got 1e-06, -0.1"),
        ({"weight_decay": float("inf")}, r"optimizer needs finite eps > 0 and weight_decay >= 0, got 1e-06, inf"),
        ({"clip_norm": 0.0}, r"clip_norm must be finite and greater than 0, or None, got 0.0"),
        ({"clip_norm": float("nan")}, r"clip_norm must be finite and greater than 0, or None, got nan"),
        ({"kind": "sgd"}, r"^kind must be one of lamb, adamw, got 'sgd'$"),
    ],
)
def test_values_out_of_range_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        OptimizerConfig(**fields)
