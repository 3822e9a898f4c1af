"""The memory that training takes, before it takes it."""

from dataclasses import replace

import pytest
import torch

from perceptio.errors import UsageError
from perceptio.inputs.grid import GridEncoding, GridInputConfig
from perceptio.inputs.streams import StreamsInputConfig
from perceptio.models.counts import count_parameters
from perceptio.models.perceiver import build_perceiver
from perceptio.runs.memory import LIBRARIES, SAFETY, Fit, available_bytes, fit_to_memory, most_bytes, process_bytes
from perceptio.tasks.classification import SingleLabel
from perceptio.training.memory_need import MemoryNeed, Rehearsal, _Held
from support.configs import TINY_MODEL

INPUT = StreamsInputConfig({"image": GridInputConfig(axes=(16, 16), channels=3, encoding=GridEncoding(num_bands=3))})


def rehearsal(*, recompute: bool = False, widening: int = 1) -> Rehearsal:
    model = replace(TINY_MODEL, self_attend_widening_factor=widening, latent_channels=96, num_latents=32)
    return Rehearsal(
        model=build_perceiver(INPUT, model, 3), task=SingleLabel(), shapes={"image": (16, 16, 3)}, num_classes=3,
        autocast=False, checkpoint_activations=recompute,
    )  # fmt: skip


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("num_samples", [1, 7])
def test_a_step_without_numbers_holds_what_a_step_with_them_does(recompute: bool, num_samples: int):
    plan = rehearsal(recompute=recompute)
    plan.model.train()
    plan.model.checkpoint_activations = recompute
    with _Held() as held:
        plan._pass(plan.model, num_samples)
    need = plan.need(num_samples)
    assert need.step == held.most
    assert need.parameters == 4 * count_parameters(plan.model)


def test_what_is_held_is_counted_by_hand():
    with _Held() as held:
        first = torch.zeros(1000)
        view = first[:10]  # of the same memory
        second = first + 1.0
        del first
        assert held.now == 8000, "a view keeps all of its memory"
        del view
        assert (held.now, held.most) == (4000, 8000)
        second = second * 2.0
    assert (held.now, held.most, len(second)) == (4000, 8000, 1000)


def test_the_model_is_left_alone():
    plan = rehearsal()
    before = {name: value.clone() for name, value in plan.model.state_dict().items()}
    plan.need(3)
    assert all(torch.equal(before[name], value) for name, value in plan.model.state_dict().items())
    assert all(parameter.grad is None for parameter in plan.model.parameters())


def test_recomputing_takes_less_and_more_samples_take_more():
    assert rehearsal(recompute=True).need(16).step < rehearsal().need(16).step / 1.5
    one, two, four = (rehearsal().need(size).step for size in (8, 16, 32))
    assert one < two < four
    assert four - two == pytest.approx(2 * (two - one), rel=0.05)


def test_the_whole_is_weights_moments_and_the_larger_of_pass_and_update():
    assert MemoryNeed(parameters=10, largest_parameter=4, step=100).total == 130
    assert MemoryNeed(parameters=10, largest_parameter=4, step=15).total == 56


@pytest.mark.parametrize("widening", [1, 3])
@pytest.mark.parametrize("num_samples", [1, 32])
def test_what_sizes_alone_say_is_more_than_a_step_takes(widening: int, num_samples: int):
    plan = rehearsal(widening=widening)
    most = most_bytes(plan.model.config, INPUT, num_samples, count_parameters(plan.model))
    assert most > process_bytes(plan.need(num_samples).total)


def need(size: int) -> int:
    return 1000 + 100 * size


def test_as_many_at_once_as_fit():
    taken = {size: process_bytes(need(size)) for size in (24, 12, 6, 1)}
    assert fit_to_memory(need, 24, 1, taken[24]) is None
    assert fit_to_memory(need, 24, 1, taken[24] - 1) == Fit(12, taken[24], taken[24] - 1)
    assert fit_to_memory(need, 24, 2, taken[6]) == Fit(6, taken[12], taken[6])
    assert fit_to_memory(need, 24, 1, taken[1]) == Fit(1, taken[24], taken[1])


def test_what_was_lowered_is_told():
    assert Fit(6, 10 * 2**30, 2**30).told(24, 2) == (
        "12 samples at once would take 10.0 GiB, and 1.0 GiB are free: 6 at once (--training.num-micro-batches 4); the "
        "result is the same"
    )


def test_when_not_even_one_fits_the_way_out_is_told():
    with pytest.raises(
        UsageError,
        match=r"^training would take 3.0 GiB of memory with one sample at once, and 2.0 GiB are free. Recompute "
        r"activations instead of keeping them \(--training.checkpoint-activations\), or take a smaller model "
        r"\(--model.num-latents, --model.latent-channels\) or smaller inputs$",
    ):
        fit_to_memory(lambda size: round((3 * 2**30 - LIBRARIES) / SAFETY), 8, 1, 2 * 2**30)


def test_the_free_memory_of_this_machine_is_known_on_linux():
    assert available_bytes() is None or 2**20 < available_bytes() < 2**50
