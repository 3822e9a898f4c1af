"""What is absent has no influence, whatever stands in its place: no value of it, and no gradient through it."""

import math

import pytest
import torch
from torch import Tensor, nn

from perceptio.inputs.grid import GridEncoding, GridInputConfig
from perceptio.inputs.points import PointInputConfig
from perceptio.models.config import PerceiverConfig
from perceptio.models.perceiver import build_perceiver
from perceptio.modules.reading.choice import ReadingConfig
from perceptio.modules.reading.contract import MethodChoice

GRID = GridInputConfig(axes=(5, 7), channels=3, encoding=GridEncoding(num_bands=3))
POINTS = PointInputConfig(num_points=11, num_bands=3, max_frequency=10.0)


def make_model(config: GridInputConfig | PointInputConfig, method: MethodChoice) -> nn.Module:
    reading = ReadingConfig(method=method, backend="torch" if method == "separable" else "auto")
    small = PerceiverConfig(
        num_latents=3, latent_channels=12, num_self_attend_heads=2, num_blocks=1, num_cross_attends=1,
        num_self_attends_per_block=1, reading=reading,
    )  # fmt: skip
    model = build_perceiver(config, small, 5)
    nn.init.normal_(model.head.logits.weight)
    return model


def outcome(model: nn.Module, *given: Tensor | None) -> list[Tensor]:
    """The outputs and the gradients of all weights."""
    model.zero_grad()
    outputs = model(*given)
    outputs.square().sum().backward()
    return [outputs.detach(), *(parameter.grad.clone() for parameter in model.parameters())]


@pytest.mark.parametrize("junk", [math.nan, -math.inf, 1e30])
@pytest.mark.parametrize(
    ("config", "method"),
    [(GRID, "projected"), (GRID, "folded"), (GRID, "separable"), (POINTS, "projected"), (POINTS, "folded")],
)
def test_what_is_absent_has_no_influence(
    config: GridInputConfig | PointInputConfig, method: MethodChoice, junk: float
) -> None:
    model = make_model(config, method)
    axes, channels = config.raw_shape
    inputs = torch.randn(3, *axes, channels)
    extents = torch.tensor([axes, [length - 2 for length in axes], axes])
    present = torch.tensor([True, True, False])
    spoiled = inputs.clone()
    spoiled[2] = junk
    for axis, length in enumerate(axes):
        spoiled[1].narrow(axis, length - 2, 2).fill_(junk)
    for clean, found in zip(
        outcome(model, inputs, extents, present), outcome(model, spoiled, extents, present), strict=True
    ):
        assert bool(clean.isfinite().all())
        assert torch.equal(clean, found)
