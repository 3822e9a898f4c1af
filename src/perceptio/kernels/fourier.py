"""Fourier features of positions (paper section 3.2; channel order of the official `generate_fourier_features`)."""

import math

import torch

from perceptio.shapes import Float, Tensor


def frequency_bands(
    num_bands: int, max_frequency: float, *, device: torch.device | None = None, dtype: torch.dtype
) -> Float[Tensor, " K"]:
    """Returns K frequencies spaced equally from 1 to `max_frequency`.

    Args:
        max_frequency: the paper's mu / 2, in half cycles per unit of position: the Nyquist frequency of mu samples
            along an axis that runs from -1 to 1. DeepMind's `max_resolution` and lucidrains' `max_freq` are mu
            itself, twice this value.
    """
    return torch.linspace(1.0, max_frequency, num_bands, device=device, dtype=dtype)


def fourier_features(
    positions: Float[Tensor, "*batch"], bands: Float[Tensor, " K"], *, include_positions: bool = True
) -> Float[Tensor, "*batch features"]:
    """Returns [x, sin(pi f_1 x), .., sin(pi f_K x), cos(pi f_1 x), .., cos(pi f_K x)] of positions along one axis.

    Args:
        positions: coordinates, -1 to 1 on a grid.
        include_positions: False leaves out x itself: 2 K channels instead of 2 K + 1.
    """
    # The order of these products is that of the official code: in float32 another order moves the sine of a large
    # argument by 1e-5.
    angles = math.pi * (positions[..., None] * bands)
    parts = [positions[..., None]] if include_positions else []
    return torch.cat([*parts, torch.sin(angles), torch.cos(angles)], dim=-1)


def grid_positions(
    length: int, *, device: torch.device | None = None, dtype: torch.dtype = torch.float32
) -> Float[Tensor, " length"]:
    """Returns `length` positions from -1 to 1, both ends included; a single position stands at -1."""
    return torch.linspace(-1.0, 1.0, length, device=device, dtype=dtype)


def extent_positions(extents: Tensor, length: int, *, dtype: torch.dtype = torch.float32) -> Float[Tensor, "B length"]:
    """Returns positions along one padded axis, where sample b fills the first `extents[b]` of `length` places.

    Each sample's own extent runs from -1 to 1; places past it hold -1 and are for a mask to hide.
    """
    places = torch.arange(length, device=extents.device, dtype=dtype)
    steps = (extents - 1).clamp(min=1).to(dtype)
    positions = -1.0 + 2.0 * places / steps[:, None]
    return torch.where(places < extents[:, None], positions, torch.full_like(positions, -1.0))
