"""Position encodings: Fourier features of a grid's axes, and learned ones."""

import torch
from torch import nn

from perceptio.kernels.fourier import extent_positions, fourier_features, frequency_bands, grid_positions
from perceptio.modules.byte_array import GridPositions, TokenPositions
from perceptio.modules.initialisation import init_embedding
from perceptio.shapes import Float, Int, Tensor


class FourierGridPositions(nn.Module):
    """Fourier features of positions on a grid, one table per axis (paper section 3.2).

    Args:
        max_frequency: for each axis the highest band, mu / 2. The paper takes half the number of positions: the
            Nyquist frequency. DeepMind's `max_resolution` is twice this.
        num_bands: K, per axis.
        include_positions: whether the raw position stands beside its sines and cosines.
    """

    def __init__(self, max_frequency: tuple[float, ...], *, num_bands: int, include_positions: bool) -> None:
        super().__init__()
        self.max_frequency = max_frequency
        self.num_bands = num_bands
        self.include_positions = include_positions
        self.kinds = (1, num_bands, num_bands) if include_positions else (num_bands, num_bands)

    @property
    def num_channels(self) -> int:
        """Features of one token, all axes: A (2 K + 1), or A 2 K without raw positions."""
        return len(self.max_frequency) * sum(self.kinds)

    def forward(
        self,
        lengths: tuple[int, ...],
        extents: Int[Tensor, "B A"] | None,
        *,
        device: torch.device,
        dtype: torch.dtype,
    ) -> GridPositions:
        """Returns the tables of a grid of `lengths` places; `extents` says how much of it each sample fills.

        The tables are computed in float32 (float64 for a float64 model), also under autocast: in half precision
        the higher bands lose the position.
        """
        tables = []
        for axis, (length, top) in enumerate(zip(lengths, self.max_frequency, strict=True)):
            bands = frequency_bands(self.num_bands, top, device=device, dtype=dtype)
            if extents is None:
                positions = grid_positions(length, device=device, dtype=dtype)[None]
            else:
                positions = extent_positions(extents[:, axis], length, dtype=dtype)
            tables.append(fourier_features(positions, bands, include_positions=self.include_positions))
        return GridPositions(tables=tuple(tables), kinds=self.kinds)


class LearnedPositions(nn.Module):
    """A learned vector for each token (paper section 4.1, Tab. 2: 128 channels, init scale 1.0 worked best there).

    Args:
        num_tokens: M.
        num_channels: channels of the vector.
        init_std: standard deviation of the cut normal it starts from.
    """

    def __init__(self, num_tokens: int, num_channels: int, *, init_std: float) -> None:
        super().__init__()
        self.num_channels = num_channels
        self.features = nn.Parameter(torch.empty(num_tokens, num_channels))
        init_embedding(self.features, init_std)

    def forward(self) -> TokenPositions:
        """Returns the features of every token."""
        features: Float[Tensor, "_ M _"] = self.features[None]
        return TokenPositions(features=features)
