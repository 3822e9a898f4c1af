"""The byte array as a structured value: what is known of it is kept, so that attention need not treat it as one matrix.

The paper's byte array is an M x C matrix. Of its C channels most are position features, equal for every sample and, on
a grid, made of one small table per axis; only the sample channels differ. A `ByteArray` keeps these parts apart.
`dense()` gives the paper's matrix; every way to attend computes the same function of it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from perceptio.shapes import Bool, Float, Int, Tensor


@dataclass(frozen=True, kw_only=True)
class GridPositions:
    """Position features of a grid: one table per axis. Token m = (i_1, .., i_A), counted with the last axis fastest.

    Attributes:
        tables: for each axis the features of its positions, (B or 1, axis length, features). One row of tables for
            the whole batch, or one per sample where samples of different extents are padded to one grid.
        order: column c of the dense features is column order[c] of the tables set side by side.
    """

    tables: tuple[Float[Tensor, "_ _ _"], ...]
    order: Int[Tensor, " _"]

    @property
    def num_channels(self) -> int:
        """Features of all axes together."""
        return sum(table.shape[-1] for table in self.tables)

    @property
    def num_tokens(self) -> int:
        """Places of the grid, M."""
        return math.prod(table.shape[1] for table in self.tables)

    def dense(self) -> Float[Tensor, "_ M _"]:
        """Returns the features of every token, (B or 1, M, features)."""
        lengths = [table.shape[1] for table in self.tables]
        spread = []
        for axis, table in enumerate(self.tables):
            shape = [1] * len(lengths)
            shape[axis] = lengths[axis]
            spread.append(
                table.reshape(len(table), *shape, -1).expand(len(table), *lengths, table.shape[-1]).flatten(1, -2)
            )
        batch = max(len(table) for table in self.tables)
        features = torch.cat([part.expand(batch, -1, -1) for part in spread], dim=-1)
        return features.index_select(-1, self.order)


@dataclass(frozen=True, kw_only=True)
class TokenPositions:
    """Position features that belong to each token on its own: learned ones, coordinates of points, permuted grids.

    Attributes:
        features: (B or 1, M, features).
    """

    features: Float[Tensor, "_ M _"]

    @property
    def num_channels(self) -> int:
        """Features of a token."""
        return self.features.shape[-1]

    @property
    def num_tokens(self) -> int:
        """Tokens, M."""
        return self.features.shape[1]

    def dense(self) -> Float[Tensor, "_ M _"]:
        """Returns the features."""
        return self.features


@dataclass(frozen=True, kw_only=True)
class Segment:
    """The tokens of one modality.

    Attributes:
        channels: what the sample itself says, such as pixel values: (B, M, c).
        positions: where each token stands, or None where tokens have no order.
        encoding: a learned vector that is the same for every token and tells this modality from others, or None.
        mask: True where a token is present; None means all are.
    """

    channels: Float[Tensor, "B M _"]
    positions: GridPositions | TokenPositions | None = None
    encoding: Float[Tensor, " _"] | None = None
    mask: Bool[Tensor, "B M"] | None = None

    @property
    def num_channels(self) -> int:
        """Channels of a token, everything together: C."""
        positions = 0 if self.positions is None else self.positions.num_channels
        return self.channels.shape[-1] + positions + (0 if self.encoding is None else len(self.encoding))

    def dense(self) -> Float[Tensor, "B M C"]:
        """Returns [channels, position features, modality encoding] of every token, the official code's order."""
        batch, num_tokens, _ = self.channels.shape
        parts = [self.channels]
        if self.positions is not None:
            parts.append(self.positions.dense().to(self.channels.dtype).expand(batch, -1, -1))
        if self.encoding is not None:
            parts.append(self.encoding.to(self.channels.dtype).expand(batch, num_tokens, -1))
        return torch.cat(parts, dim=-1)


@dataclass(frozen=True, kw_only=True)
class ByteArray:
    """All tokens that the latents attend to: one segment per modality, one after the other.

    Raises:
        ValueError: without a segment, or when the segments' channel counts differ.
    """

    segments: tuple[Segment, ...]

    def __post_init__(self) -> None:
        counts = [segment.num_channels for segment in self.segments]
        if len(set(counts)) != 1:
            raise ValueError(
                f"the segments of a byte array must have one number of channels, got {counts}. "
                "Widen the narrower ones with a modality encoding."
            )

    @property
    def num_channels(self) -> int:
        """Channels of a token, C."""
        return self.segments[0].num_channels

    @property
    def num_tokens(self) -> int:
        """Tokens of all segments, M."""
        return sum(segment.channels.shape[1] for segment in self.segments)

    @property
    def batch_size(self) -> int:
        """Samples, B."""
        return self.segments[0].channels.shape[0]

    def dense(self) -> Float[Tensor, "B M C"]:
        """Returns the paper's byte array."""
        return torch.cat([segment.dense() for segment in self.segments], dim=1)

    def mask(self) -> Bool[Tensor, "B M"] | None:
        """Returns True where a token is present, or None when every segment is whole."""
        if all(segment.mask is None for segment in self.segments):
            return None
        return torch.cat([_mask_of(segment) for segment in self.segments], dim=1)


def _mask_of(segment: Segment) -> Tensor:
    if segment.mask is not None:
        return segment.mask
    return torch.ones(segment.channels.shape[:2], dtype=torch.bool, device=segment.channels.device)


def axis_major_order(axis_features: Sequence[tuple[int, ...]]) -> list[int]:
    """Returns the `GridPositions.order` that groups the tables' columns by kind instead of by axis.

    The official order is all positions, then all sines, then all cosines; a table holds one axis's position, sines and
    cosines side by side.

    Args:
        axis_features: for each axis how many columns of each kind its table has, such as (1, K, K).
    """
    starts, start = [], 0
    for counts in axis_features:
        begins = []
        for count in counts:
            begins.append(range(start, start + count))
            start += count
        starts.append(begins)
    return [column for kind in zip(*starts, strict=True) for columns in kind for column in columns]
