"""LAMB as the official code's library (optax) computes it.

Ours, because pytorch-optimizer's Lamb does not correct the bias of Adam's moments and cannot be told to: what starts
at zero, as the head does, moves 3 to 316 times too far in the first step (tests/unit/training/test_lamb.py).
"""

from collections.abc import Callable, Iterable
from typing import Any, cast

import torch
from torch import Tensor


class Lamb(torch.optim.Optimizer):
    """u = m / (sqrt(v) + eps) + weight_decay * p;  p -= lr * (|p| / |u|) * u, with bias-corrected moments m and v.

    The trust ratio |p| / |u| is taken per tensor and is 1 where either norm is 0. Chain of the official code:
    scale_by_adam, add weight decay, scale_by_trust_ratio, schedule.

    Args:
        params: parameters or groups of them.
        lr: learning rate.
        betas: decay of the first and second moment.
        eps: added to the root of the second moment.
        weight_decay: added to the update before the trust ratio, in units of the parameter.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        *,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Updates every parameter that has a gradient. (torch types `step` by two overloads; this serves both.)"""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group)
        return loss

    def _update(self, parameter: Tensor, group: dict[str, Any]) -> None:
        state = cast(dict[str, Tensor], self.state[parameter])
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32)
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        assert parameter.grad is not None
        state["step"] += 1
        step = int(state["step"])
        beta1, beta2 = group["betas"]
        state["exp_avg"].lerp_(parameter.grad, 1 - beta1)
        state["exp_avg_sq"].mul_(beta2).addcmul_(parameter.grad, parameter.grad, value=1 - beta2)
        first = state["exp_avg"] / (1 - beta1**step)
        second = state["exp_avg_sq"] / (1 - beta2**step)
        update = first / (second.sqrt() + group["eps"]) + group["weight_decay"] * parameter
        parameter_norm, update_norm = parameter.norm(), update.norm()
        both = (parameter_norm > 0) & (update_norm > 0)
        trust_ratio = torch.where(both, parameter_norm / update_norm.clamp(min=1e-38), torch.ones_like(update_norm))
        parameter.sub_(group["lr"] * trust_ratio * update)
