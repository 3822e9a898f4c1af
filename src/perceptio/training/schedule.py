"""The learning rate as a function of the step: nothing of it is saved."""

import math
from dataclasses import dataclass
from typing import Literal

from perceptio.choices import check_choices


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """How the learning rate moves over a run."""

    kind: Literal["constant", "cosine", "constant_cosine", "steps"] = "cosine"
    """Constant; cosine to 0; constant for the first half, then cosine to 0 (official code); or steps at epochs."""
    warmup_epochs: float = 0.0
    """Linear rise from 0 at the start. The paper mentions none; with LAMB it often kept models from training."""
    decay_epochs: tuple[float, ...] = ()
    """Epochs at which the rate is multiplied by decay_factor (kind "steps")."""
    decay_factor: float = 0.1
    """Factor at each of decay_epochs."""

    def __post_init__(self) -> None:
        check_choices(self)
        if not 0.0 <= self.warmup_epochs < math.inf:
            raise ValueError(f"warmup_epochs must be finite and at least 0, got {self.warmup_epochs}")
        if not 0.0 < self.decay_factor < math.inf:
            raise ValueError(f"decay_factor must be finite and greater than 0, got {self.decay_factor}")
        if not all(0.0 <= epoch < math.inf for epoch in self.decay_epochs):
            raise ValueError(f"decay_epochs must be finite and at least 0, got {self.decay_epochs}")
        if (self.kind == "steps") != bool(self.decay_epochs):
            raise ValueError(
                f"decay_epochs and kind='steps' belong together: got kind={self.kind!r} and decay_epochs="
                f"{self.decay_epochs}"
            )
        if self.kind != "steps" and self.decay_factor != 0.1:
            raise ValueError(f"decay_factor has no effect with kind={self.kind!r}; leave it at its default, 0.1")
        if list(self.decay_epochs) != sorted(self.decay_epochs):
            raise ValueError(f"decay_epochs must rise, got {self.decay_epochs}")


def learning_rate_factor(config: ScheduleConfig, step: int, *, steps_per_epoch: int, num_steps: int) -> float:
    """Returns what the base learning rate is multiplied by in a step (from 0)."""
    warmup_steps = config.warmup_epochs * steps_per_epoch
    warmup = min(1.0, (step + 1) / warmup_steps) if warmup_steps > 0 else 1.0
    progress = step / max(1, num_steps)
    if config.kind == "steps":
        passed = sum(step >= round(epoch * steps_per_epoch) for epoch in config.decay_epochs)
        return warmup * config.decay_factor**passed
    if config.kind == "constant":
        return warmup
    if config.kind == "constant_cosine":
        progress = max(0.0, 2 * progress - 1)
    return warmup * 0.5 * (1.0 + math.cos(math.pi * progress))
