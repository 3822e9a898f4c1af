"""Which weights run in which order, as a value: placement and sharing can be read and tested without a tensor."""

from dataclasses import dataclass
from typing import Literal

from perceptio.models.config import PerceiverConfig, Sharing


@dataclass(frozen=True)
class Step:
    """One step of the iteration: which part runs, and which of its sets of weights."""

    part: Literal["cross_attend", "latent_transformer"]
    weights: int


def iteration_plan(config: PerceiverConfig) -> tuple[Step, ...]:
    """Returns the steps of a Perceiver in order.

    Interleaved cross-attend i of n stands before latent transformer floor(i * num_blocks / n): with as many of both
    they alternate. The paper does not say where 2 or 4 stand among its 8 blocks (Tab. 6); even spacing is our reading.
    """
    cross_attends = [
        Step("cross_attend", shared_index(i, config.share_cross_attends)) for i in range(config.num_cross_attends)
    ]
    blocks = [
        Step("latent_transformer", shared_index(i, config.share_latent_transformers)) for i in range(config.num_blocks)
    ]
    if config.cross_attend_placement == "at_start":
        return (*cross_attends, *blocks)
    plan: list[Step] = []
    placed = 0
    for block_index, block in enumerate(blocks):
        while placed < len(cross_attends) and placed * len(blocks) // len(cross_attends) == block_index:
            plan.append(cross_attends[placed])
            placed += 1
        plan.append(block)
    return (*plan, *cross_attends[placed:])


def shared_index(repetition: int, sharing: Sharing) -> int:
    """Returns which set of weights a repetition uses."""
    return {"none": repetition, "all_but_first": min(repetition, 1), "all": 0}[sharing]


def count_weights(plan: tuple[Step, ...], part: Literal["cross_attend", "latent_transformer"]) -> int:
    """Returns how many sets of weights a plan needs for a part."""
    return len({step.weights for step in plan if step.part == part})
