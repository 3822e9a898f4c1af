import math

import pytest

from perceptio.training.schedule import ScheduleConfig, learning_rate_factor

# The paper's ImageNet run: 1,281,167 images less the held-out ones in batches of 1,024.
STEPS_PER_EPOCH, EPOCHS = 1241, 120
PAPER = ScheduleConfig(kind="steps", decay_epochs=(84.0, 102.0, 114.0))


def factor(config: ScheduleConfig, step: int, *, steps_per_epoch: int = 10, num_steps: int = 100) -> float:
    return learning_rate_factor(config, step, steps_per_epoch=steps_per_epoch, num_steps=num_steps)


@pytest.mark.parametrize(
    ("epoch", "offset", "expected"),
    [
        (0, 0, 1.0),
        (84, -1, 1.0),
        (84, 0, 0.1),
        (102, -1, 0.1),
        (102, 0, 0.01),
        (114, -1, 0.01),
        (114, 0, 0.001),
        (120, -1, 0.001),
    ],
)
def test_the_paper_divides_by_ten_after_epochs_84_102_and_114(epoch: int, offset: int, expected: float):
    step, num_steps = epoch * STEPS_PER_EPOCH + offset, EPOCHS * STEPS_PER_EPOCH
    found = learning_rate_factor(PAPER, step, steps_per_epoch=STEPS_PER_EPOCH, num_steps=num_steps)
    assert found == pytest.approx(expected, rel=1e-12)


def test_decay_factor_and_fractions_of_an_epoch():
    config = ScheduleConfig(kind="steps", decay_epochs=(0.5, 1.0), decay_factor=0.5)
    assert [factor(config, step) for step in (4, 5, 9, 10)] == [1.0, 0.5, 0.5, 0.25]


@pytest.mark.parametrize(("step", "expected"), [(0, 1.0), (25, 0.5 + 0.5 / math.sqrt(2)), (50, 0.5), (100, 0.0)])
def test_cosine_by_hand(step: int, expected: float):
    assert factor(ScheduleConfig(kind="cosine"), step) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("step", "expected"), [(0, 1.0), (49, 1.0), (50, 1.0), (75, 0.5), (62.5, 0.5 + 0.5 / math.sqrt(2)), (100, 0.0)]
)
def test_constant_cosine_falls_in_the_second_half_alone(step: float, expected: float):
    num_steps = 200 if step == 62.5 else 100  # a whole step at five eighths of the run
    found = factor(ScheduleConfig(kind="constant_cosine"), int(step * num_steps / 100), num_steps=num_steps)
    assert found == pytest.approx(expected, abs=1e-12)


def test_constant_is_constant():
    assert {factor(ScheduleConfig(kind="constant"), step) for step in range(100)} == {1.0}


@pytest.mark.parametrize("kind", ["constant", "constant_cosine"])
def test_warm_up_rises_linearly_from_one_step_above_zero(kind):
    config = ScheduleConfig(kind=kind, warmup_epochs=0.4)
    assert [factor(config, step) for step in range(5)] == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])


def test_warm_up_multiplies_what_the_schedule_says():
    warm, cold = ScheduleConfig(kind="cosine", warmup_epochs=2.0), ScheduleConfig(kind="cosine")
    assert factor(warm, 9) == pytest.approx(0.5 * factor(cold, 9))
    steps = ScheduleConfig(kind="steps", warmup_epochs=2.0, decay_epochs=(1.0,))
    assert factor(steps, 14) == pytest.approx(0.75 * 0.1)


def test_no_rate_is_negative_or_above_the_base_rate():
    for kind in ("constant", "cosine", "constant_cosine"):
        config = ScheduleConfig(kind=kind, warmup_epochs=0.7)
        assert all(0.0 <= factor(config, step) <= 1.0 for step in range(100))


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"warmup_epochs": -1.0}, r"warmup_epochs must be finite and at least 0, got -1.0"),
        ({"warmup_epochs": float("inf")}, r"warmup_epochs must be finite and at least 0, got inf"),
        ({"decay_factor": -3.0}, r"decay_factor must be finite and greater than 0, got -3.0"),
        ({"decay_factor": float("nan")}, r"decay_factor must be finite and greater than 0, got nan"),
        ({"kind": "steps", "decay_epochs": (-1.0,)}, r"decay_epochs must be finite and at least 0, got \(-1.0,\)"),
        ({"decay_factor": 0.5}, r"decay_factor has no effect with kind='cosine'; leave it at its default, 0.1"),
        ({"kind": "linear"}, r"^kind must be one of constant, cosine, constant_cosine, steps, got 'linear'$"),
    ],
)
def test_values_out_of_range_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        ScheduleConfig(**fields)


@pytest.mark.parametrize(("kind", "epochs"), [("cosine", (1.0,)), ("steps", ())])
def test_decay_epochs_without_effect_are_refused(kind, epochs):
    message = rf"^decay_epochs and kind='steps' belong together: got kind='{kind}' and decay_epochs="
    with pytest.raises(ValueError, match=message):
        ScheduleConfig(kind=kind, decay_epochs=epochs)


def test_decay_epochs_must_rise():
    with pytest.raises(ValueError, match=r"decay_epochs must rise, got \(2.0, 1.0\)"):
        ScheduleConfig(kind="steps", decay_epochs=(2.0, 1.0))
