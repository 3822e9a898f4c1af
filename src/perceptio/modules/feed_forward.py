"""The dense part of a Perceiver layer."""

from typing import Literal

from torch import nn
from torch.nn import functional

from perceptio.modules.initialisation import make_linear
from perceptio.shapes import Float, Tensor

GeluKind = Literal["tanh", "erf"]
"""Which GELU: "tanh" is the approximation that the official code computes, "erf" the exact one of transformers."""


class FeedForward(nn.Module):
    """Linear, GELU, linear: D -> widening_factor * D -> D (paper section 4.1: the widening factor is 1)."""

    def __init__(self, latent_channels: int, *, widening_factor: int, gelu: GeluKind) -> None:
        super().__init__()
        self.expand = make_linear(latent_channels, widening_factor * latent_channels)
        self.contract = make_linear(widening_factor * latent_channels, latent_channels)
        self._approximation = {"tanh": "tanh", "erf": "none"}[gelu]

    def forward(self, latents: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
        """Returns the transformed latents, each on its own."""
        hidden = functional.gelu(self.expand(latents), approximate=self._approximation)
        output: Tensor = self.contract(hidden)
        return output
