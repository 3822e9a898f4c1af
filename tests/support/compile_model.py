"""A model with separable attention, compiled and exported; run as a script, without the tests' run-time type checks.

Usage: python compile_model.py METHOD BACKEND
"""

import sys

import torch
from torch.testing import assert_close

from perceptio.inputs.grid import GridEncoding, GridInputConfig
from perceptio.models.config import PerceiverConfig
from perceptio.models.perceiver import build_perceiver
from perceptio.modules.reading.choice import ReadingConfig


def main(method: str, backend: str) -> None:
    torch.manual_seed(0)
    config = PerceiverConfig(
        num_latents=4,
        latent_channels=16,
        num_cross_attends=3,
        num_blocks=2,
        num_self_attends_per_block=1,
        num_self_attend_heads=2,
        reading=ReadingConfig(method=method, backend=backend),
    )
    model = build_perceiver(GridInputConfig(axes=(6, 8), channels=3, encoding=GridEncoding(num_bands=3)), config, 5)
    torch.nn.init.normal_(model.head.logits.weight)  # it starts at zero
    inputs = torch.randn(2, 6, 8, 3)

    expected = model(inputs)
    expected.square().sum().backward()
    gradients = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}

    model.zero_grad()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    found = compiled(inputs)
    found.square().sum().backward()
    assert_close(found, expected)
    for name, parameter in model.named_parameters():
        assert_close(parameter.grad, gradients[name], msg=lambda text, name=name: f"{name}: {text}")

    model.eval()
    exported = torch.export.export(model, (inputs,))
    names = [str(node.target) for node in exported.graph.nodes]
    assert sum("separable_attend" in name for name in names) == (3 if method == "separable" else 0), names
    assert_close(exported.module()(inputs), expected)
    print("as eager")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
