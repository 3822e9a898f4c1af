from dataclasses import replace

import numpy as np
import pytest
import torch

from perceptio.evaluation.attention_maps import cross_attend_maps, most_telling_latents
from perceptio.inputs.grid import GridEncoding, GridInputConfig
from perceptio.inputs.points import PointInputConfig
from perceptio.inputs.streams import Absent, StreamsInputConfig
from perceptio.models.perceiver import Perceiver, build_perceiver
from support.configs import TINY_MODEL

AXES, CHANNELS = (5, 7), 3


def make(*, permutation_seed: int | None = None, patch: tuple[int, ...] = (), heads: int = 1, axes=AXES) -> Perceiver:
    torch.manual_seed(3)
    encoding = GridEncoding(num_bands=2, patch=patch, permutation_seed=permutation_seed)
    grid = GridInputConfig(axes=axes, channels=CHANNELS, encoding=encoding)
    config = replace(TINY_MODEL, num_cross_attend_heads=heads, qk_channels=8, v_channels=6, latent_init_std=1.0)
    return build_perceiver(StreamsInputConfig({"image": grid}), config, 2)


@pytest.fixture
def inputs() -> torch.Tensor:
    return torch.rand(1, *AXES, CHANNELS, generator=torch.Generator().manual_seed(1))


def maps_of(model: Perceiver, inputs: torch.Tensor, **arguments) -> np.ndarray:
    """The maps of a model's only stream."""
    found = cross_attend_maps(model, {"image": inputs}, **arguments)
    assert set(found) == {"image"}
    return found["image"]


def test_maps_have_an_axis_for_cross_attends_latents_and_each_token_axis(inputs):
    maps = maps_of(make(), inputs, latents=[4, 0, 2], cross_attends=[1, 0])
    assert maps.shape == (2, 3, *AXES)
    assert maps.dtype == np.float32


def test_the_order_asked_for_is_the_order_given(inputs):
    model = make()
    whole = maps_of(model, inputs, latents=range(5), cross_attends=[0, 1])
    some = maps_of(model, inputs, latents=[4, 0], cross_attends=[1, 0])
    np.testing.assert_allclose(some, whole[[1, 0]][:, [4, 0]], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("heads", [1, 2])
def test_softmax_maps_are_what_the_model_weighs_with(inputs, heads: int):
    model = make(heads=heads)
    weights = maps_of(model, inputs, latents=range(5), cross_attends=[0, 1], softmax=True)
    np.testing.assert_allclose(weights.sum(axis=(2, 3)), 1.0, rtol=1e-5)
    assert (weights >= 0).all()
    if heads == 1:
        scores = maps_of(model, inputs, latents=range(5), cross_attends=[0, 1]).astype(np.float64)
        exponents = np.exp(scores)
        np.testing.assert_allclose(weights, exponents / exponents.sum(axis=(2, 3), keepdims=True), rtol=1e-4)


def test_a_permuted_model_has_its_maps_in_the_images_order(inputs):
    """The permutation changes no function (paper Tab. 2), so no map either."""
    plain, permuted = make(), make(permutation_seed=11)
    permuted.load_state_dict(plain.state_dict())
    arguments = {"latents": range(5), "cross_attends": [0, 1]}
    np.testing.assert_allclose(
        maps_of(permuted, inputs, **arguments), maps_of(plain, inputs, **arguments), rtol=1e-4,
        atol=1e-5,
    )  # fmt: skip


def test_patches_have_one_value_each():
    model = make(axes=(6, 10), patch=(2, 5))
    assert maps_of(model, torch.rand(1, 6, 10, 3), latents=[1], cross_attends=[0]).shape == (1, 1, 3, 2)


def test_the_mode_of_the_model_stays(inputs):
    for training in (True, False):
        model = make().train(training)
        maps_of(model, inputs, latents=[0], cross_attends=[0])
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
        maps_of(make(), inputs, latents=latents, cross_attends=steps)


def test_the_most_telling_latents_change_most_with_the_picture_and_copies_come_last(inputs):
    model = make()
    with torch.no_grad():
        model.latents[3] = model.latents[1]
    maps, empty_maps = (
        maps_of(model, shown, latents=range(5), cross_attends=[0])[0].reshape(5, -1)
        for shown in (inputs, inputs.mean(dim=(1, 2), keepdim=True).expand_as(inputs))
    )
    ranked = most_telling_latents(model, {"image": inputs}, 5)
    assert sorted(ranked) == list(range(5))
    assert ranked[0] == int(np.argmax((maps - empty_maps).std(axis=1) / maps.std(axis=1)))
    likeness = np.abs(np.corrcoef(maps)) > 0.95
    assert np.flatnonzero(np.triu(likeness, 1)).tolist() == [1 * 5 + 3], "here latents 1 and 3 alone are copies"
    assert ranked[-1] in (1, 3), "the second of the two stands behind all that differ"
    assert most_telling_latents(model, {"image": inputs}, 2) == ranked[:2]


def make_of_two(*, permutation_seed: int | None = None, absent: Absent = "masked") -> Perceiver:
    torch.manual_seed(3)
    encoding = GridEncoding(num_bands=2, permutation_seed=permutation_seed)
    streams = {
        "image": GridInputConfig(axes=AXES, channels=CHANNELS, encoding=encoding),
        "points": PointInputConfig(num_points=11, num_bands=2),
        "audio": GridInputConfig(axes=(26,), channels=1, encoding=GridEncoding(num_bands=2, patch=(2,))),
    }
    config = replace(TINY_MODEL, qk_channels=8, v_channels=6, latent_init_std=1.0)
    return build_perceiver(StreamsInputConfig(streams, absent=absent), config, 2)


def of_two(inputs: torch.Tensor) -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(2)
    return {
        "image": inputs,
        "points": 2 * torch.rand(1, 11, 3, generator=random) - 1,
        "audio": torch.rand(1, 26, 1, generator=random),
    }


def test_several_streams_have_their_own_maps_and_share_the_weight(inputs):
    arguments = {"latents": range(5), "cross_attends": [0, 1]}
    weights = cross_attend_maps(make_of_two(), of_two(inputs), **arguments, softmax=True)
    assert {name: maps.shape for name, maps in weights.items()} == {
        "image": (2, 5, *AXES), "points": (2, 5, 11), "audio": (2, 5, 13)
    }  # fmt: skip
    total = sum(maps.reshape(2, 5, -1).sum(axis=-1) for maps in weights.values())
    np.testing.assert_allclose(total, 1.0, rtol=1e-5)


def test_each_streams_maps_are_its_own(inputs):
    """Moving a value moves the first scores of its own token alone: maps are cut where the streams are."""
    model, given = make_of_two(), of_two(inputs)
    before = cross_attend_maps(model, given, latents=range(5), cross_attends=[0])
    for name, place in (("image", (0, 3, 2)), ("points", (0, 7)), ("audio", (0, 8))):
        changed = {other: values.clone() for other, values in given.items()}
        changed[name][place] += 1.0
        after = cross_attend_maps(model, changed, latents=range(5), cross_attends=[0])
        for other, maps in after.items():
            moved = np.argwhere((maps != before[other]).any(axis=(0, 1))).tolist()
            expected = {"image": [[3, 2]], "points": [[7]], "audio": [[4]]}[name] if other == name else []
            assert moved == expected, (name, other)


@pytest.mark.parametrize("absent", ["masked", "zeros"])
def test_a_stream_that_is_not_given_has_no_maps(inputs, absent: Absent):
    model, given = make_of_two(absent=absent), of_two(inputs)
    arguments = {"latents": [1], "cross_attends": [0]}
    some = {name: given[name] for name in ("audio", "image")}  # in another order than the model's
    found = cross_attend_maps(model, some, **arguments)
    whole = cross_attend_maps(model, given, **arguments)
    assert set(found) == {"audio", "image"}
    for name, maps in found.items():
        np.testing.assert_allclose(maps, whole[name], rtol=1e-4, atol=1e-5)


def test_a_permuted_stream_among_others_has_its_maps_in_its_own_order(inputs):
    plain, permuted = make_of_two(), make_of_two(permutation_seed=11)
    permuted.load_state_dict(plain.state_dict())
    arguments = {"latents": range(5), "cross_attends": [0, 1]}
    found, expected = (cross_attend_maps(model, of_two(inputs), **arguments) for model in (permuted, plain))
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=1e-5, err_msg=name)
