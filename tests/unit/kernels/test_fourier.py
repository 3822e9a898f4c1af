import math

import pytest
import torch
from torch.testing import assert_close
from transformers.models.perceiver.modeling_perceiver import PerceiverFourierPositionEncoding

from perceptio.kernels.fourier import extent_positions, fourier_features, frequency_bands, grid_positions
from perceptio.kernels.reference import fourier_features_reference
from perceptio.modules.position_encoding import FourierGridPositions


def test_bands_run_from_one_to_the_highest_with_equal_steps() -> None:
    assert_close(frequency_bands(4, 7.0, dtype=torch.float64), torch.tensor([1.0, 3.0, 5.0, 7.0], dtype=torch.float64))


def test_one_band_is_the_lowest() -> None:
    assert frequency_bands(1, 7.0, dtype=torch.float32).tolist() == [1.0]


def test_features_by_hand() -> None:
    features = fourier_features(torch.tensor([0.5], dtype=torch.float64), torch.tensor([1.0, 3.0], dtype=torch.float64))
    # x, sin(pi / 2), sin(3 pi / 2), cos(pi / 2), cos(3 pi / 2)
    assert_close(features, torch.tensor([[0.5, 1.0, -1.0, 0.0, 0.0]], dtype=torch.float64), rtol=0, atol=1e-15)


def test_positions_may_be_left_out() -> None:
    positions, bands = torch.linspace(-1, 1, 7), torch.tensor([1.0, 2.0, 3.0])
    whole = fourier_features(positions, bands)
    assert_close(fourier_features(positions, bands, include_positions=False), whole[:, 1:], rtol=0, atol=0)


@pytest.mark.parametrize(("length", "expected"), [(1, [-1.0]), (2, [-1.0, 1.0]), (5, [-1.0, -0.5, 0.0, 0.5, 1.0])])
def test_grid_positions_reach_both_ends(length: int, expected: list[float]) -> None:
    assert grid_positions(length).tolist() == expected


def test_extents_get_positions_of_their_own_and_a_filler_past_them() -> None:
    positions = extent_positions(torch.tensor([5, 3, 1]), 5)
    expected = [[-1, -0.5, 0, 0.5, 1], [-1, 0, 1, -1, -1], [-1, -1, -1, -1, -1]]
    assert_close(positions, torch.tensor(expected, dtype=torch.float32), rtol=0, atol=0)


AXES, NUM_BANDS = (5, 7, 3), 4


def dense_features(dtype: torch.dtype, include_positions: bool = True) -> torch.Tensor:
    nyquist = tuple(length / 2 for length in AXES)
    encoding = FourierGridPositions(nyquist, num_bands=NUM_BANDS, include_positions=include_positions)
    return encoding(AXES, None, device=torch.device("cpu"), dtype=dtype).dense()[0]


def test_tables_make_the_features_of_plain_loops() -> None:
    grid = torch.cartesian_prod(*[torch.linspace(-1, 1, length, dtype=torch.float64) for length in AXES])
    expected = fourier_features_reference(grid, NUM_BANDS, [length / 2 for length in AXES])
    assert_close(dense_features(torch.float64), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("axes", [(224, 224), (16, 28, 28), (61,)])
@pytest.mark.parametrize("include_positions", [True, False])
def test_equals_transformers(axes: tuple[int, ...], include_positions: bool) -> None:
    theirs = PerceiverFourierPositionEncoding(64, axes, concat_pos=include_positions)(
        list(axes), 1, torch.device("cpu"), torch.float32
    )
    theirs = theirs.reshape(-1, theirs.shape[-1])  # without raw positions theirs has no batch dimension
    ours = FourierGridPositions(
        tuple(length / 2 for length in axes), num_bands=64, include_positions=include_positions
    )(axes, None, device=torch.device("cpu"), dtype=torch.float32)
    assert ours.num_channels == theirs.shape[-1]
    assert_close(ours.dense()[0], theirs, rtol=0, atol=1e-6)


def test_the_highest_band_turns_sign_from_place_to_place() -> None:
    # At the Nyquist frequency of n places, half of n, neighbours are just short of half a period apart.
    features = fourier_features(grid_positions(8, dtype=torch.float64), torch.tensor([4.0], dtype=torch.float64))
    cosines = features[:, 2]
    assert_close(cosines[0], torch.tensor(math.cos(4 * math.pi), dtype=torch.float64))
    assert ((cosines[:-1] * cosines[1:]) < 0).sum() >= 6
