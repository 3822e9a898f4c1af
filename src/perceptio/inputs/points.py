"""Point clouds as byte arrays: a token a point, its Fourier features made from its coordinates (paper section 4.3)."""

import math
from dataclasses import dataclass

import torch
from torch import nn

from perceptio.inputs.grid import check_parts, token_mask
from perceptio.kernels.fourier import fourier_features, frequency_bands
from perceptio.modules.byte_array import ByteArray, Segment, TokenPositions
from perceptio.shapes import Bool, Float, Int, Tensor


@dataclass(frozen=True, kw_only=True)
class PointInputConfig:
    """Points with coordinates in [-1, 1]. The defaults are the paper's for ModelNet40: C = 3 (2 x 64 + 1) = 387."""

    num_points: int = 2048
    """Points of a whole cloud (M). Clouds of other sizes work."""
    channels: int = 3
    """Values of a point: its coordinates first, then others, such as a normal or a colour."""
    num_coordinates: int = 3
    """How many of the values are coordinates."""
    num_bands: int = 64
    """Fourier frequency bands per coordinate (K)."""
    max_frequency: float = 1120.0
    """Highest band (mu / 2): ten times what the paper takes for images."""

    def __post_init__(self) -> None:
        if min(self.num_points, self.num_coordinates, self.num_bands) < 1:
            raise ValueError(
                "num_points, num_coordinates and num_bands must be at least 1, got "
                f"{self.num_points}, {self.num_coordinates} and {self.num_bands}"
            )
        if self.channels < self.num_coordinates:
            raise ValueError(f"channels must hold the {self.num_coordinates} coordinates at least, got {self.channels}")
        if not 0.0 < self.max_frequency < math.inf:
            raise ValueError(f"max_frequency must be finite and greater than 0, got {self.max_frequency}")

    @property
    def num_tokens(self) -> int:
        """Tokens of a whole cloud: M."""
        return self.num_points

    @property
    def input_channels(self) -> int:
        """Channels of a token with its position features: C."""
        return self.channels - self.num_coordinates + self.num_coordinates * (2 * self.num_bands + 1)

    @property
    def raw_shape(self) -> tuple[tuple[int, ...], int]:
        """Lengths of the axes of a whole sample, and its channels."""
        return (self.num_points,), self.channels

    @property
    def is_separable(self) -> bool:
        """Whether points stand on a grid: never."""
        return False

    @property
    def accepts_other_sizes(self) -> bool:
        """Whether clouds may have more or fewer points: always."""
        return True

    def build(self) -> "PointInput":
        """Returns the module. It has no weights."""
        return PointInput(self)


class PointInput(nn.Module):
    """Turns a batch of point clouds into a byte array. The order of the points makes no difference."""

    def __init__(self, config: PointInputConfig) -> None:
        super().__init__()
        self.config = config

    @property
    def input_channels(self) -> int:
        """Channels of the byte array: C."""
        return self.config.input_channels

    def forward(
        self,
        inputs: Float[Tensor, "B points channels"],
        extents: Int[Tensor, "B 1"] | None = None,
        present: Bool[Tensor, " B"] | None = None,
    ) -> ByteArray:
        """Returns the byte array of a batch.

        Features are computed in float32 (float64 for a float64 model), also under autocast, and stand in the order of
        the official code: all coordinates, the sines of each, the cosines of each.

        Args:
            inputs: coordinates in [-1, 1], then the other values of each point.
            extents: how many points each sample has where clouds of different sizes are padded, with anything.
            present: False for samples that have no cloud. None: all have one.

        Raises:
            ValueError: on another number of channels, or what `check_parts` refuses.
        """
        config = self.config
        if inputs.ndim != 3 or inputs.shape[-1] != config.channels:
            raise ValueError(
                f"PointInput expects (B, points, {config.channels}), got {tuple(inputs.shape)}. Channels come last."
            )
        check_parts(inputs, extents, present)
        mask = token_mask(extents, present, (inputs.shape[1],))
        if mask is not None:
            # A value that is not finite would survive an attention weight of zero.
            inputs = torch.where(mask[..., None], inputs, torch.zeros_like(inputs))
        exact = inputs.dtype if inputs.dtype == torch.float64 else torch.float32
        coordinates, others = torch.split(
            inputs, [config.num_coordinates, config.channels - config.num_coordinates], dim=-1
        )
        bands = frequency_bands(config.num_bands, config.max_frequency, device=inputs.device, dtype=exact)
        features = fourier_features(coordinates.to(exact), bands)  # (B, points, coordinates, 2 K + 1)
        kinds = torch.split(features, [1, config.num_bands, config.num_bands], dim=-1)
        positions = torch.cat([kind.flatten(2) for kind in kinds], dim=-1)
        segment = Segment(
            channels=others,
            positions=TokenPositions(features=positions),
            mask=mask,
        )
        return ByteArray(segments=(segment,))

    def token_axes(self, lengths: tuple[int, ...]) -> tuple[int, ...]:
        """Returns the tokens along the one axis: a token a point."""
        return lengths

    def token_order(self) -> Int[Tensor, " M"] | None:
        """Returns None: points stand as they come."""
        return None
