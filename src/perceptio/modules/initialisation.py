"""How parameters start: the distributions of the paper and of the official code's library (Haiku)."""

import math

import torch
from torch import Tensor, nn

# Standard deviation of a standard normal cut at two standard deviations.
_CUT_NORMAL_STD = 0.87962566103423978


def init_linear(linear: nn.Linear) -> nn.Linear:
    """Draws weights with variance 1 / fan-in from a normal cut at two sigma, bias 0 (Haiku's VarianceScaling)."""
    std = math.sqrt(1.0 / linear.in_features) / _CUT_NORMAL_STD
    with torch.no_grad():
        nn.init.trunc_normal_(linear.weight, std=std, a=-2 * std, b=2 * std)
        if linear.bias is not None:
            nn.init.zeros_(linear.bias)
    return linear


def make_linear(in_features: int, out_features: int) -> nn.Linear:
    """Returns a linear layer with bias, initialised as above."""
    return init_linear(nn.Linear(in_features, out_features))


def init_embedding(parameter: Tensor, std: float) -> None:
    """Draws a learned array from a normal cut at two sigma (paper App. C: bounds [-2, 2], in units of std)."""
    with torch.no_grad():
        nn.init.trunc_normal_(parameter, std=std, a=-2 * std, b=2 * std)
