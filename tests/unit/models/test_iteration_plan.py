import re

import pytest

from perceptio.models.config import PerceiverConfig
from perceptio.models.iteration_plan import count_weights, iteration_plan
from perceptio.modules.reading.choice import ReadingConfig


def spell(**fields: object) -> str:
    """Writes a plan as letters: c1 is the cross-attend with weights 1, t0 the latent transformer with weights 0."""
    plan = iteration_plan(PerceiverConfig(**fields))
    return " ".join(f"{'c' if step.part == 'cross_attend' else 't'}{step.weights}" for step in plan)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "c0 t0 c1 t0 c1 t0 c1 t0 c1 t0 c1 t0 c1 t0 c1 t0"),
        ({"cross_attend_placement": "at_start", "num_cross_attends": 3, "num_blocks": 2}, "c0 c1 c1 t0 t0"),
        ({"num_cross_attends": 2, "num_blocks": 4}, "c0 t0 t0 c1 t0 t0"),
        ({"num_cross_attends": 3, "num_blocks": 8}, "c0 t0 t0 c1 t0 t0 t0 c1 t0 t0 t0"),
        ({"num_cross_attends": 3, "num_blocks": 0, "share_cross_attends": "none"}, "c0 c1 c2"),
        ({"num_cross_attends": 4, "num_blocks": 2, "share_cross_attends": "all"}, "c0 c0 t0 c0 c0 t0"),
        ({"num_cross_attends": 3, "num_blocks": 3, "share_cross_attends": "none", "share_latent_transformers": "none"},
         "c0 t0 c1 t1 c2 t2"),
        ({"num_cross_attends": 2, "num_blocks": 3, "share_latent_transformers": "all_but_first"}, "c0 t0 c1 t1 t1"),
    ],
)  # fmt: skip
def test_plans_by_hand(fields: dict, expected: str) -> None:
    assert spell(**fields) == expected


def test_weights_are_counted() -> None:
    plan = iteration_plan(PerceiverConfig())
    assert count_weights(plan, "cross_attend") == 2
    assert count_weights(plan, "latent_transformer") == 1


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_latents": 0}, "num_latents must be at least 1, got 0"),
        ({"num_cross_attends": 0}, "num_cross_attends must be at least 1, got 0"),
        ({"num_cross_attend_heads": 0}, "num_cross_attend_heads must be at least 1, got 0"),
        ({"num_self_attend_heads": 0}, "num_self_attend_heads must be at least 1, got 0"),
        ({"qk_channels": 0}, "qk_channels must be at least 1 or None, got 0"),
        ({"num_blocks": -1}, "num_blocks must be at least 0, got -1"),
        ({"share_cross_attends": "some"}, "share_cross_attends must be one of none, all_but_first, all, got 'some'"),
        (
            {"attention_dropout": 0.1, "reading": ReadingConfig(method="folded")},
            "attention dropout needs method 'projected' or 'auto', got method 'folded' and dropout 0.1. The other "
            "methods never form the weights that would be dropped.",
        ),
        ({"dropout": 1.0}, "dropout must lie in [0, 1), got 1.0"),
        ({"latent_init_std": 0.0}, "latent_init_std must be finite and greater than 0, got 0.0. The paper takes 0.02"),
        (
            {"latent_channels": 12, "num_self_attend_heads": 8},
            "num_self_attend_heads must divide latent_channels: got 8 and 12. Use 1 head, or set latent_channels=16.",
        ),
    ],
)
def test_configs_that_cannot_be_are_refused(fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        PerceiverConfig(**fields)
