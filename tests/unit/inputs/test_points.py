from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from perceptio.inputs.points import PointInput, PointInputConfig
from perceptio.models.perceiver import Perceiver, build_perceiver
from support.configs import TINY_MODEL


def clouds(batch: int, points: int, channels: int = 3, *, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return 2 * torch.rand(batch, points, channels, generator=torch.Generator().manual_seed(4), dtype=dtype) - 1


def features_by_hand(values: np.ndarray, num_coordinates: int, num_bands: int, top: float) -> np.ndarray:
    """The documented channels, one number at a time: others, coordinates, sines and cosines (coordinate by band)."""
    frequencies = [1 + band * (top - 1) / (num_bands - 1) for band in range(num_bands)]
    rows = []
    for point in values.astype(np.float64).reshape(-1, values.shape[-1]):
        coordinates, others = point[:num_coordinates], point[num_coordinates:]
        sines = [np.sin(np.pi * frequency * x) for x in coordinates for frequency in frequencies]
        cosines = [np.cos(np.pi * frequency * x) for x in coordinates for frequency in frequencies]
        rows.append([*others, *coordinates, *sines, *cosines])
    return np.array(rows).reshape(*values.shape[:-1], -1)


def test_the_defaults_are_the_papers() -> None:
    config = PointInputConfig()
    assert (config.num_tokens, config.input_channels, config.raw_shape) == (2048, 387, ((2048,), 3))
    assert (config.num_bands, config.max_frequency, config.accepts_other_sizes) == (64, 1120.0, True)
    assert config.build()(clouds(2, 7)).dense().shape == (2, 7, 387)


@pytest.mark.parametrize(("num_coordinates", "channels"), [(3, 3), (2, 2), (3, 7), (1, 2)])
def test_features_are_those_of_the_formula(num_coordinates: int, channels: int) -> None:
    config = PointInputConfig(
        num_points=11, channels=channels, num_coordinates=num_coordinates, num_bands=5, max_frequency=13.0
    )
    values = clouds(2, 11, channels, dtype=torch.float64)
    expected = features_by_hand(values.numpy(), num_coordinates, 5, 13.0)
    byte_array = config.build()(values)
    assert config.input_channels == byte_array.num_channels == expected.shape[-1]
    np.testing.assert_allclose(byte_array.dense().numpy(), expected, rtol=0, atol=1e-12)


def test_in_float32_the_papers_highest_band_is_off_by_its_rounding_alone() -> None:
    """An angle of up to 1120 pi is rounded to 2^-13: sines are exact to about 2.5e-4."""
    values = clouds(2, 13)
    expected = features_by_hand(values.numpy(), 3, 64, 1120.0)
    np.testing.assert_allclose(PointInputConfig().build()(values).dense().numpy(), expected, rtol=0, atol=5e-4)


def test_half_precision_does_not_lose_the_positions() -> None:
    values = clouds(1, 13).to(torch.bfloat16)
    byte_array = PointInputConfig().build()(values)
    (segment,) = byte_array.segments
    assert segment.positions is not None
    assert segment.positions.dense().dtype == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        again = PointInputConfig().build()(values.float())
    assert_close(again.dense(), segment.positions.dense(), rtol=0, atol=0)


def test_extents_mask_what_is_padding() -> None:
    points = PointInput(PointInputConfig(num_bands=3))
    assert points(clouds(3, 5)).mask() is None
    mask = points(clouds(3, 5), torch.tensor([[5], [2], [0]])).mask()
    assert mask is not None
    assert mask.tolist() == [[True] * 5, [True, True, False, False, False], [False] * 5]


def test_a_missing_cloud_is_masked_whole() -> None:
    points = PointInput(PointInputConfig(num_bands=3))
    present = torch.tensor([True, False])
    for extents, first in ((None, [True, True, True]), (torch.tensor([[2], [3]]), [True, True, False])):
        mask = points(clouds(2, 3), extents, present).mask()
        assert mask is not None
        assert mask.tolist() == [first, [False] * 3]


def make(config: PointInputConfig) -> Perceiver:
    torch.manual_seed(3)
    model = build_perceiver(config, replace(TINY_MODEL, latent_init_std=1.0), 5)
    torch.nn.init.normal_(model.head.logits.weight)
    return model.eval()


def test_the_order_of_points_makes_no_difference() -> None:
    model, values = make(PointInputConfig(channels=5, num_bands=7)), clouds(2, 61, 5)
    order = torch.randperm(61, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        found, expected = model(values[:, order]), model(values)
        moved = model(values + 0.1)
    assert_close(found, expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item())
    assert (moved - expected).abs().max() > 1e-3, "the points themselves do"


def test_a_padded_cloud_gives_the_answer_that_it_gives_alone() -> None:
    model, values = make(PointInputConfig(num_bands=7)), clouds(3, 17)
    extents = torch.tensor([[17], [5], [11]])
    values[1, 5:] = 99.0
    with torch.inference_mode():
        together = model(values, extents)
        alone = torch.cat([model(values[row : row + 1, :length]) for row, (length,) in enumerate(extents.tolist())])
    assert_close(together, alone, rtol=1e-5, atol=1e-5 * alone.abs().max().item())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_points": 0}, r"^num_points, num_coordinates and num_bands must be at least 1, got 0, 3 and 64$"),
        ({"num_bands": 0}, r"must be at least 1, got 2048, 3 and 0$"),
        ({"num_coordinates": 0}, r"must be at least 1, got 2048, 0 and 64$"),
        ({"channels": 2}, r"^channels must hold the 3 coordinates at least, got 2$"),
        ({"max_frequency": 0.0}, r"^max_frequency must be finite and greater than 0, got 0\.0$"),
        ({"max_frequency": float("nan")}, r"^max_frequency must be finite and greater than 0, got nan$"),
    ],
)
def test_a_config_that_cannot_be_is_refused(fields: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PointInputConfig(**fields)


def test_another_number_of_channels_is_refused() -> None:
    message = r"^PointInput expects \(B, points, 3\), got \(2, 7, 5\)\. Channels come last\.$"
    with pytest.raises(ValueError, match=message):
        PointInput(PointInputConfig())(clouds(2, 7, 5))


def test_more_points_than_a_cloud_has_are_refused() -> None:
    """The mask would take all of them for points, the padding too."""
    with pytest.raises(ValueError, match=r"^extents must lie between 0 and \(5,\), got \[\[5\], \[9\]\]$"):
        PointInput(PointInputConfig())(torch.zeros(2, 5, 3), torch.tensor([[5], [9]]))


def test_tokens_are_points_in_their_order() -> None:
    points = PointInput(PointInputConfig())
    assert points.token_axes((7,)) == (7,)
    assert points.token_order() is None
