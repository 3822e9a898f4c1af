"""Everything about training that is no data, model or task."""

import math
from dataclasses import dataclass, field
from typing import Literal

from perceptio.choices import check_choices
from perceptio.data.mixing import MixingConfig
from perceptio.training.optimizers import OptimizerConfig
from perceptio.training.schedule import ScheduleConfig


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How the model is trained."""

    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    mixing: MixingConfig = field(default_factory=MixingConfig)
    num_micro_batches: int = 1
    """Parts of a batch that are run one after the other (gradient accumulation): less memory, and the same result."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Auto: bf16 autocast on a GPU, fp32 on a CPU."""
    exact: bool = False
    """Whether only operations are used that repeat their result bit for bit: slower on a GPU; a CPU does so anyway."""
    compile: bool = False
    """Whether torch.compile builds the model's step: minutes at the start, faster steps after."""
    checkpoint_activations: bool = False
    """Whether the backward pass recomputes activations instead of keeping them: less memory, more time."""
    average_decay: float | None = None
    """Decay a step of an exponential moving average of the weights, such as 0.999, which is then what is evaluated and
    kept; None: the weights themselves are."""
    evaluate_every_epochs: float = 1.0
    """Epochs between two evaluations on the validation samples; each is followed by a checkpoint."""
    patience_epochs: float | None = None
    """Epochs without a better validation result after which training stops; None: never."""

    def __post_init__(self) -> None:
        check_choices(self)
        if self.num_micro_batches < 1:
            raise ValueError(f"num_micro_batches must be at least 1, got {self.num_micro_batches}")
        if self.average_decay is not None and not 0 < self.average_decay < 1:
            raise ValueError(f"average_decay must lie between 0 and 1 or be None, got {self.average_decay}")
        if not 0.0 < self.evaluate_every_epochs < math.inf:
            raise ValueError(
                f"evaluate_every_epochs must be finite and greater than 0, got {self.evaluate_every_epochs}"
            )
        if self.patience_epochs is not None and not 0.0 < self.patience_epochs < math.inf:
            raise ValueError(f"patience_epochs must be finite and greater than 0, or None, got {self.patience_epochs}")
