"""Optimizers and which parameters decay."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from perceptio.choices import check_choices
from perceptio.training.lamb import Lamb
from perceptio.training.sharding import is_sharded


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """How gradients become updates. Defaults: the official code's LAMB (the paper names LAMB and no more)."""

    kind: Literal["lamb", "adamw"] = "lamb"
    """LAMB with the official update, or torch's AdamW."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Decay of the first and second moment."""
    eps: float = 1e-6
    """Added to the root of the second moment."""
    weight_decay: float = 0.1
    """For weights and learned arrays; biases and layer norms do not decay."""
    clip_norm: float | None = 10.0
    """Gradients are scaled down to this global norm; None: never."""

    def __post_init__(self) -> None:
        check_choices(self)
        if not all(0.0 <= beta < 1.0 for beta in self.betas):
            raise ValueError(f"optimizer betas must lie in [0, 1), got {self.betas}")
        if not (0.0 < self.eps < math.inf and 0.0 <= self.weight_decay < math.inf):
            raise ValueError(
                f"optimizer needs finite eps > 0 and weight_decay >= 0, got {self.eps}, {self.weight_decay}"
            )
        if self.clip_norm is not None and not 0.0 < self.clip_norm < math.inf:
            raise ValueError(f"clip_norm must be finite and greater than 0, or None, got {self.clip_norm}")


def build_optimizer(config: OptimizerConfig, model: nn.Module, learning_rate: float) -> torch.optim.Optimizer:
    """Returns the optimizer over two groups: decayed, and not decayed."""
    decayed, exempt = split_by_decay(model)
    groups = [
        {"params": [parameter for _, parameter in decayed], "weight_decay": config.weight_decay},
        {"params": [parameter for _, parameter in exempt], "weight_decay": 0.0},
    ]
    if config.kind == "lamb":
        return Lamb(groups, lr=learning_rate, betas=config.betas, eps=config.eps)
    # On a CPU one loop over all of a parameter's values is several times faster than torch's default, ten operations on
    # each parameter; on a GPU the default takes all parameters at once and is as fast.
    in_one_loop = next(model.parameters()).device.type == "cpu" and not is_sharded(model)
    return torch.optim.AdamW(
        groups, lr=learning_rate, betas=config.betas, eps=config.eps, fused=True if in_one_loop else None
    )


NamedParameters = list[tuple[str, nn.Parameter]]


def split_by_decay(model: nn.Module) -> tuple[NamedParameters, NamedParameters]:
    """Returns (decayed, exempt) parameters as the official code has them.

    Exempt are biases and all of a layer norm; the latent array and learned positions decay.
    """
    norms = {name for name, module in model.named_modules() if isinstance(module, nn.LayerNorm)}
    decayed: NamedParameters = []
    exempt: NamedParameters = []
    for name, parameter in model.named_parameters():
        owner, _, own_name = name.rpartition(".")
        (exempt if own_name == "bias" or owner in norms else decayed).append((name, parameter))
    return decayed, exempt
