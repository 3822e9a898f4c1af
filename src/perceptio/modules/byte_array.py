"""The byte array as a structured value: what is known of it is kept, so that attention need not treat it as one matrix.

The paper's byte array is an M x C matrix. Of its C channels most are position features, equal for every sample and, on
a grid, made of one small table per axis; only the sample channels differ. A `ByteArray` keeps these parts apart.
`dense()` gives the paper's matrix; every way to attend computes the same function of it.
"""

import math
from dataclasses import dataclass

import torch

from perceptio.shapes import Bool, Float, Int, Tensor


@dataclass(frozen=True, kw_only=True)
class GridPositions:
    """Position features of a grid: one table per axis. Token m = (i_1, .., i_A), counted with the last axis fastest.

    Attributes:
        tables: for each axis the features of its positions, (B or 1, axis length, features). One row of tables for
            the whole batch, or one per sample where samples of different extents are padded to one grid.
        kinds: how many columns of each kind every table has, such as (1, K, K): the position, its sines, its cosines.
            The dense features hold the first kind of all axes, then the second kind of all axes, and so on: the order
            of the official code, which stored weights rely on.
    """

    tables: tuple[Float[Tensor, "_ _ _"], ...]
    kinds: tuple[int, ...]

    @property
    def num_channels(self) -> int:
        """Features of all axes together."""
        return len(self.tables) * sum(self.kinds)

    @property
    def num_tokens(self) -> int:
        """Places of the grid, M."""
        return math.prod(self.lengths)

    @property
    def lengths(self) -> tuple[int, ...]:
        """Places along each axis."""
        return tuple(table.shape[1] for table in self.tables)

    def columns(self, axis: int) -> list[int]:
        """Returns where each column of an axis' table stands among the dense features."""
        found: list[int] = []
        start = 0
        for width in self.kinds:
            found += range(start + axis * width, start + (axis + 1) * width)
            start += len(self.tables) * width
        return found

    def parts(self, batch: int) -> list[Float[Tensor, "B M _"]]:
        """Returns the dense features in pieces that only need to be set side by side."""
        lengths = self.lengths
        pieces = []
        for kind in range(len(self.kinds)):
            for axis, table in enumerate(self.tables):
                columns = torch.split(table, list(self.kinds), dim=-1)[kind]
                shape = [1] * len(lengths)
                shape[axis] = lengths[axis]
                spread = columns.reshape(len(table), *shape, -1).expand(batch, *lengths, -1)
                pieces.append(spread.flatten(1, -2))
        return pieces

    def dense(self) -> Float[Tensor, "_ M _"]:
        """Returns the features of every token, (B or 1, M, features)."""
        return torch.cat(self.parts(max(len(table) for table in self.tables)), dim=-1)


@dataclass(frozen=True, kw_only=True)
class TokenPositions:
    """Position features that belong to each token on its own: learned ones, coordinates of points.

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

    def parts(self, batch: int) -> list[Float[Tensor, "B M _"]]:
        """Returns the features, for every sample of the batch, as one piece."""
        return [self.features.expand(batch, -1, -1)]

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
        order: which of the tokens stands at each place of the byte array, where they are shuffled; None: as they come.
            Channels, positions and mask are kept unshuffled, so that a grid stays a grid.
    """

    channels: Float[Tensor, "B M _"]
    positions: GridPositions | TokenPositions | None = None
    encoding: Float[Tensor, " _"] | None = None
    mask: Bool[Tensor, "B M"] | None = None
    order: Int[Tensor, " M"] | None = None

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
            parts += [part.to(self.channels.dtype) for part in self.positions.parts(batch)]
        if self.encoding is not None:
            parts.append(self.encoding.to(self.channels.dtype).expand(batch, num_tokens, -1))
        dense = torch.cat(parts, dim=-1)
        return dense if self.order is None else dense[:, self.order]

    def dense_mask(self) -> Bool[Tensor, "B M"]:
        """Returns True where a token is present, in the order of `dense`."""
        if self.mask is None:
            return torch.ones(self.channels.shape[:2], dtype=torch.bool, device=self.channels.device)
        return self.mask if self.order is None else self.mask[:, self.order]


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
        return torch.cat([segment.dense_mask() for segment in self.segments], dim=1)
