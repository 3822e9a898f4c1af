from dataclasses import replace

import numpy as np
import pytest
import torch

from perceptio.evaluation.attention_maps import cross_attend_maps, most_telling_latents
from perceptio.inputs.grid import GridEncoding, GridInputConfig
from perceptio.models.perceiver import Perceiver, build_perceiver
from support.configs import TINY_MODEL

AXES, CHANNELS = (5, 7), 3


def make(*, permutation_seed: int | None = None, patch: tuple[int, ...] = (), heads: int = 1, axes=AXES) -> Perceiver:
    torch.manual_seed(3)
    encoding = GridEncoding(num_bands=2, patch=patch, permutation_seed=permutation_seed)
    grid = GridInputConfig(axes=axes, channels=CHANNELS, encoding=encoding)
    config = replace(TINY_MODEL, num_cross_attend_heads=heads, qk_channels=8, v_channels=6, latent_init_std=1.0)
    return build_perceiver(grid, config, 2)


@pytest.fixture
def inputs() -> torch.Tensor:
    return torch.rand(1, *AXES, CHANNELS, generator=torch.Generator().manual_seed(1))


def test_maps_have_an_axis_for_cross_attends_latents_and_each_token_axis(inputs):
    maps = cross_attend_maps(make(), inputs, latents=[4, 0, 2], cross_attends=[1, 0])
    assert maps.shape == (2, 3, *AXES)
    assert maps.dtype == np.float32


def test_the_order_asked_for_is_the_order_given(inputs):
    model = make()
    whole = cross_attend_maps(model, inputs, latents=range(5), cross_attends=[0, 1])
    some = cross_attend_maps(model, inputs, latents=[4, 0], cross_attends=[1, 0])
    np.testing.assert_allclose(some, whole[[1, 0]][:, [4, 0]], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("heads", [1, 2])
def test_softmax_maps_are_what_the_model_weighs_with(inputs, heads: int):
    model = make(heads=heads)
    weights = cross_attend_maps(model, inputs, latents=range(5), cross_attends=[0, 1], softmax=True)
    np.testing.assert_allclose(weights.sum(axis=(2, 3)), 1.0, rtol=1e-5)
    assert (weights >= 0).all()
    if heads == 1:
        scores = cross_attend_maps(model, inputs, latents=range(5), cross_attends=[0, 1]).astype(np.float64)
        exponents = np.exp(scores)
        np.testing.assert_allclose(weights, exponents / exponents.sum(axis=(2, 3), keepdims=True), rtol=1e-4)


def test_a_permuted_model_has_its_maps_in_the_images_order(inputs):
    """The permutation changes no function (paper Tab. 2), so no map either."""
    plain, permuted = make(), make(permutation_seed=11)
    permuted.load_state_dict(plain.state_dict())
    arguments = {"latents": range(5), "cross_attends": [0, 1]}
    np.testing.assert_allclose(
        cross_attend_maps(permuted, inputs, **arguments), cross_attend_maps(plain, inputs, **arguments), rtol=1e-4,
        atol=1e-5,
    )  # fmt: skip


def test_patches_have_one_value_each():
    model = make(axes=(6, 10), patch=(2, 5))
    assert cross_attend_maps(model, torch.rand(1, 6, 10, 3), latents=[1], cross_attends=[0]).shape == (1, 1, 3, 2)


def test_the_mode_of_the_model_stays(inputs):
    for training in (True, False):
        model = make().train(training)
        cross_attend_maps(model, inputs, latents=[0], cross_attends=[0])
        assert model.training is training


@pytest.mark.parametrize(
    ("latents", "steps", "message"),
    [
        ([5], [0], r"there is no latent 5: this model has 5, counted from 0"),
        ([-1], [0], r"there is no latent -1: this model has 5, counted from 0"),
        ([0], [2], r"there is no cross-attend 2: this model has 2, counted from 0"),
    ],
)
def test_what_the_model_does_not_have_is_refused(inputs, latents, steps, message: str):
    with pytest.raises(ValueError, match=message):
        cross_attend_maps(make(), inputs, latents=latents, cross_attends=steps)


def test_the_most_telling_latents_change_most_with_the_picture_and_copies_come_last(inputs):
    model = make()
    with torch.no_grad():
        model.latents[3] = model.latents[1]
    maps, empty_maps = (
        cross_attend_maps(model, shown, latents=range(5), cross_attends=[0])[0].reshape(5, -1)
        for shown in (inputs, inputs.mean(dim=(1, 2), keepdim=True).expand_as(inputs))
    )
    ranked = most_telling_latents(model, inputs, 5)
    assert sorted(ranked) == list(range(5))
    assert ranked[0] == int(np.argmax((maps - empty_maps).std(axis=1) / maps.std(axis=1)))
    likeness = np.abs(np.corrcoef(maps)) > 0.95
    assert np.flatnonzero(np.triu(likeness, 1)).tolist() == [1 * 5 + 3], "here latents 1 and 3 alone are copies"
    assert ranked[-1] in (1, 3), "the second of the two stands behind all that differ"
    assert most_telling_latents(model, inputs, 2) == ranked[:2]
