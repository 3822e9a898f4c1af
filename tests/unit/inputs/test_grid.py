import math
import re

import pytest
import torch
from torch.testing import assert_close

from perceptio.inputs.grid import GridEncoding, GridInput, GridInputConfig, extent_mask, split_patches
from perceptio.modules.byte_array import GridPositions


@pytest.mark.parametrize(
    ("axes", "channels", "patch", "tokens", "input_channels"),
    [
        ((11,), 3, (), (11,), 3 + 9),
        ((10, 6), 3, (), (10, 6), 3 + 18),
        ((10, 6), 3, (5, 2), (2, 3), 30 + 18),
        ((4, 6, 10), 2, (2, 3, 5), (2, 2, 2), 60 + 27),
        ((2, 3, 2, 5), 1, (), (2, 3, 2, 5), 1 + 36),
    ],
)
def test_any_number_of_axes(
    axes: tuple[int, ...], channels: int, patch: tuple[int, ...], tokens: tuple[int, ...], input_channels: int
) -> None:
    config = GridInputConfig(axes=axes, channels=channels, encoding=GridEncoding(num_bands=4, patch=patch))
    grid = GridInput(config)
    byte_array = grid(torch.randn(2, *axes, channels))
    dense = byte_array.dense()
    assert config.token_axes == tokens
    assert dense.shape == (2, config.num_tokens, input_channels)
    assert grid.input_channels == input_channels == byte_array.num_channels


def test_the_papers_shapes() -> None:
    assert GridInputConfig(axes=(224, 224), channels=3).input_channels == 261
    video = GridInputConfig(axes=(32, 224, 224), channels=3, encoding=GridEncoding(num_bands=16, patch=(2, 8, 8)))
    assert (video.num_tokens, video.input_channels) == (12_544, 384 + 99)


def test_patches_hold_their_places_in_order_then_channels() -> None:
    # The official test's example: space to depth of (3*5, 3*7, 11).
    inputs = torch.arange(2 * 15 * 21 * 11, dtype=torch.float32).reshape(2, 15, 21, 11)
    tokens = split_patches(inputs, (5, 7))
    assert tokens.shape == (2, 9, 5 * 7 * 11)
    for row in range(3):
        for column in range(3):
            patch = inputs[:, row * 5 : row * 5 + 5, column * 7 : column * 7 + 7]
            assert_close(tokens[:, row * 3 + column], patch.reshape(2, -1), rtol=0, atol=0)


def test_max_frequency_defaults_to_half_the_tokens_of_each_axis() -> None:
    config = GridInputConfig(axes=(20, 12), channels=3, encoding=GridEncoding(num_bands=4, patch=(2, 3)))
    positions = GridInput(config).positions
    assert getattr(positions, "max_frequency", None) == (5.0, 2.0)


def test_positions_and_mask_follow_each_samples_own_extent() -> None:
    config = GridInputConfig(axes=(6, 4), channels=3, encoding=GridEncoding(num_bands=3))
    grid = GridInput(config)
    whole = torch.randn(1, 5, 3, 3)
    padded = torch.full((2, 6, 4, 3), 99.0)
    padded[0, :5, :3] = whole
    byte_array = grid(padded, torch.tensor([[5, 3], [6, 4]]))
    mask = byte_array.mask()
    assert mask is not None
    assert mask.sum(dim=1).tolist() == [15, 24]
    assert_close(byte_array.dense()[0][mask[0]], grid(whole).dense()[0], rtol=1e-6, atol=1e-6)


def test_extent_mask_by_hand() -> None:
    assert extent_mask(torch.tensor([[1, 2], [2, 1]]), (2, 3)).tolist() == [
        [True, True, False, False, False, False],
        [True, False, False, True, False, False],
    ]


def test_patches_that_an_extent_touches_are_present() -> None:
    config = GridInputConfig(axes=(6, 6), channels=3, encoding=GridEncoding(num_bands=3, patch=(2, 2)))
    mask = GridInput(config)(torch.randn(1, 6, 6, 3), torch.tensor([[3, 2]])).mask()
    assert mask is not None
    assert mask.reshape(3, 3).tolist() == [[True, False, False], [True, False, False], [False, False, False]]


def test_learned_positions_belong_to_places_and_get_gradients() -> None:
    config = GridInputConfig(axes=(3, 5), channels=2, encoding=GridEncoding(positions="learned", learned_channels=7))
    grid = GridInput(config)
    dense = grid(torch.randn(2, 3, 5, 2)).dense()
    assert dense.shape == (2, 15, 9)
    assert_close(dense[0, :, 2:], dense[1, :, 2:], rtol=0, atol=0)
    dense.sum().backward()
    assert [p.grad is not None and bool((p.grad == 2).all()) for p in grid.parameters()] == [True]


def test_a_permutation_moves_tokens_with_their_positions() -> None:
    inputs = torch.randn(2, 4, 5, 3)
    plain = GridInput(GridInputConfig(axes=(4, 5), channels=3, encoding=GridEncoding(num_bands=3)))
    shuffled = GridInput(
        GridInputConfig(axes=(4, 5), channels=3, encoding=GridEncoding(num_bands=3, permutation_seed=1))
    )
    order = shuffled.token_order()
    assert order is not None
    assert sorted(order.tolist()) == list(range(20))
    assert order.tolist() != list(range(20))
    assert_close(shuffled(inputs).dense(), plain(inputs).dense()[:, order], rtol=0, atol=0)
    assert plain.token_order() is None


def test_fourier_positions_stay_tables() -> None:
    segment = GridInput(GridInputConfig(axes=(4, 5), channels=3))(torch.randn(2, 4, 5, 3)).segments[0]
    assert isinstance(segment.positions, GridPositions)
    assert [table.shape for table in segment.positions.tables] == [(1, 4, 129), (1, 5, 129)]


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2, 3, 4, 4), r"GridInput expects \(B, 4, 4, 3\), got \(2, 3, 4, 4\). Channels come last."),
        ((2, 4, 3), r"got \(2, 4, 3\). Channels come last."),
    ],
)
def test_wrong_shapes_are_refused(shape: tuple[int, ...], message: str) -> None:
    grid = GridInput(GridInputConfig(axes=(4, 4), channels=3))
    with pytest.raises(ValueError, match=message):
        grid(torch.randn(*shape))


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"inputs": torch.zeros(2, 4, 5, 3, dtype=torch.uint8)},
            "an input must be floating-point and standardised, got",
        ),
        ({"present": torch.tensor([True])}, r"present must be (2,) of bool, got (1,) of torch.bool"),
        ({"present": torch.tensor([1, 0])}, r"present must be (2,) of bool, got (2,) of torch.int64"),
        ({"extents": torch.tensor([[4, 5, 1]] * 2)}, r"extents must be (2, 2), got (2, 3)"),
        ({"extents": torch.tensor([[4, 5]])}, r"extents must be (2, 2), got (1, 2)"),
        ({"extents": torch.tensor([[4, 5], [4, 50]])}, "extents must lie between 0 and (4, 5), got [[4, 5], [4, 50]]"),
        ({"extents": torch.tensor([[4, 5], [-1, 5]])}, "extents must lie between 0 and (4, 5), got [[4, 5], [-1, 5]]"),
    ],
)
def test_what_does_not_fit_a_batch_is_refused(changes: dict, message: str) -> None:
    """By any way of reading: some would take it for something else, and change the answer in silence."""
    given = {"inputs": torch.randn(2, 4, 5, 3), **changes}
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        GridInput(GridInputConfig(axes=(4, 5), channels=3))(**given)


@pytest.mark.usefixtures("unchecked_types")
def test_lists_may_stand_for_tuples() -> None:
    grid = GridInputConfig(axes=[4, 6], channels=3, encoding=GridEncoding(positions="learned", patch=[2, 3]))
    assert grid == GridInputConfig(axes=(4, 6), channels=3, encoding=GridEncoding(positions="learned", patch=(2, 3)))
    assert GridInput(grid)(torch.randn(2, 4, 6, 3)).segments[0].channels.shape == (2, 4, 18)


def test_other_sizes_are_refused_where_tokens_are_counted() -> None:
    inputs = torch.randn(1, 6, 4, 3)
    for encoding, why in (
        (GridEncoding(positions="learned"), "learned positions"),
        (GridEncoding(permutation_seed=0), "a fixed permutation"),
    ):
        with pytest.raises(ValueError, match=rf"^GridInput with {why} expects exactly \(B, 4, 4, 3\), got \(1, 6,"):
            GridInput(GridInputConfig(axes=(4, 4), channels=3, encoding=encoding))(inputs)
    with pytest.raises(ValueError, match=r"^GridInput expects axes that patch \(4, 4\) divides, got \(1, 6, 4, 3"):
        GridInput(GridInputConfig(axes=(4, 4), channels=3, encoding=GridEncoding(patch=(4, 4))))(inputs)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"axes": ()}, "a grid needs axes and channels of at least 1, got axes () and 3 channels"),
        ({"axes": (4, 0)}, "a grid needs axes and channels of at least 1, got axes (4, 0) and 3 channels"),
        (
            {"axes": (4, 4), "encoding": GridEncoding(patch=(2,))},
            "patch needs one value for each of the 2 axes, got (2,)",
        ),
        (
            {"axes": (4, 4), "encoding": GridEncoding(max_frequency=(2.0,))},
            "max_frequency needs one value for each of the 2 axes, got (2.0,)",
        ),
        (
            {"axes": (4, 6), "encoding": GridEncoding(patch=(2, 4))},
            "patch must divide the axes: got patch (2, 4) and axes (4, 6)",
        ),
        (
            {"axes": (9,), "channels": 1, "encoding": GridEncoding(positions="none")},
            "a token needs 3 channels when it has no position encoding: got 1, and layer norm over so few leaves "
            "little of the input. Set positions='fourier', or a larger patch.",
        ),
    ],
)
def test_configs_that_cannot_be_are_refused(fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        GridInputConfig(**{"channels": 3, **fields})


def test_settings_without_effect_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"^num_bands has no effect with positions='learned'; leave it at its default, 64$"
    ):
        GridEncoding(positions="learned", num_bands=8)
    with pytest.raises(
        ValueError, match=r"^learned_channels has no effect with positions='fourier'; leave it at its default, 128$"
    ):
        GridEncoding(learned_channels=8)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_bands": 0}, "num_bands and learned_channels must be at least 1, got 0 and 128"),
        ({"patch": (2, 0)}, "patch must be at least 1 along every axis, got (2, 0)"),
        (
            {"max_frequency": (8.0, 0.0)},
            "max_frequency must be finite and greater than 0 on every axis, got (8.0, 0.0)",
        ),
        ({"max_frequency": (math.inf,)}, "max_frequency must be finite and greater than 0 on every axis, got (inf,)"),
        (
            {"positions": "learned", "learned_init_std": -1.0},
            "learned_init_std must be finite and greater than 0, got -1.0. The paper takes 1.0",
        ),
    ],
)
def test_encodings_that_cannot_be_are_refused(fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        GridEncoding(**fields)


def test_float64_inputs_get_float64_positions() -> None:
    byte_array = GridInput(GridInputConfig(axes=(4, 4), channels=3))(torch.randn(1, 4, 4, 3, dtype=torch.float64))
    positions = byte_array.segments[0].positions
    assert positions is not None
    assert positions.dense().dtype == torch.float64


def test_what_stands_past_an_extent_has_no_influence_even_inside_a_patch() -> None:
    grid = GridInput(GridInputConfig(axes=(6, 6), channels=3, encoding=GridEncoding(num_bands=3, patch=(2, 2))))
    inputs, extents = torch.randn(1, 6, 6, 3), torch.tensor([[3, 5]])
    before = grid(inputs, extents).dense()
    inputs[:, 3:], inputs[:, :, 5:] = 1e6, torch.nan
    after = grid(inputs, extents).dense()
    assert_close(after, before, rtol=0, atol=0)


def test_a_padded_batch_may_end_inside_a_patch() -> None:
    grid = GridInput(GridInputConfig(axes=(6, 6), channels=3, encoding=GridEncoding(num_bands=3, patch=(2, 3))))
    inputs, extents = torch.randn(2, 5, 4, 3), torch.tensor([[5, 4], [2, 3]])
    byte_array = grid(inputs, extents)
    mask = byte_array.mask()
    assert mask is not None
    assert mask.reshape(2, 3, 2).tolist() == [[[True, True]] * 3, [[True, False], [False, False], [False, False]]]
    first = byte_array.segments[0].channels[0].reshape(3, 2, 2, 3, 3)
    assert_close(first[2, 1, 0, 0], inputs[0, 4, 3], rtol=0, atol=0)
    assert (first[2, :, 1] == 0).all()
    assert (first[:, 1, :, 1:] == 0).all()
