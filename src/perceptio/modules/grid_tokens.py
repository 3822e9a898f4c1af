"""A segment of the byte array that stands on a grid, as the core of separable attention wants it."""

import math
from dataclasses import dataclass

import torch

from perceptio.kernels.separable.contract import Tokens
from perceptio.modules.byte_array import GridPositions, Segment
from perceptio.shapes import Float, Tensor


@dataclass(frozen=True)
class GridTokens:
    """What does not depend on any weights.

    Attributes:
        tokens: channels, layer norm factor and mask, the grid's axes merged into an outer and an inner one.
        lengths: of the grid's own axes.
        num_outer_axes: how many of them, from the first, make the outer axis.
    """

    tokens: Tokens
    lengths: tuple[int, ...]
    num_outer_axes: int


def is_separable(segment: Segment) -> bool:
    """Returns whether a segment has sample channels and per-axis position tables."""
    return isinstance(segment.positions, GridPositions) and segment.channels.shape[-1] > 0


def split_axes(lengths: tuple[int, ...]) -> int:
    """Returns how many axes, from the first, make the outer axis: the split with the fewest places in all.

    Outer plus inner places are what queries and reads hold for each row. A grid of one axis has one outer place.
    """
    sizes = {n: math.prod(lengths[:n]) + math.prod(lengths[n:]) for n in range(max(1, len(lengths)))}
    return min(sizes, key=lambda n: (sizes[n], n))


def grid_tokens(segment: Segment, eps: float) -> GridTokens:
    """Returns a segment's tokens; its order plays no part, since attention is a sum over tokens.

    Args:
        eps: of the layer norm.
    """
    positions = segment.positions
    assert isinstance(positions, GridPositions)
    lengths = positions.lengths
    num_outer_axes = split_axes(lengths)
    places = (math.prod(lengths[:num_outer_axes]), math.prod(lengths[num_outer_axes:]))
    # The tables are float32 also where the channels came in half precision.
    channels = segment.channels.to(positions.tables[0].dtype).transpose(1, 2)
    batch, width, _ = channels.shape
    rho = inverse_deviation(channels, positions, segment.encoding, eps)
    tokens = Tokens(
        channels=channels.reshape(batch, width, *places),
        rho=rho.reshape(batch, *places),
        present=None if segment.mask is None else segment.mask.reshape(batch, *places),
    )
    return GridTokens(tokens, lengths, num_outer_axes)


def inverse_deviation(
    channels: Float[Tensor, "B c M"], positions: GridPositions, encoding: Float[Tensor, " _"] | None, eps: float
) -> Float[Tensor, "B M"]:
    """Returns 1 / sqrt(variance + eps) of each token's channels, all parts together, from O(M c) work.

    The parts are the sample channels, each axis' table and the modality encoding. Their variances are taken around
    their own means, and the means' around the common one: no difference of two large numbers is formed.
    """
    batch, _, num_tokens = channels.shape
    lengths = positions.lengths
    means, squares, widths = [channels.mean(dim=1)], [_squares(channels, dim=1)], [channels.shape[1]]
    for axis, table in enumerate(positions.tables):
        spread = [len(table), *(length if a == axis else 1 for a, length in enumerate(lengths))]
        full = (len(table), *lengths)
        means.append(table.mean(dim=-1).reshape(spread).expand(full).reshape(len(table), num_tokens))
        squares.append(_squares(table, dim=-1).reshape(spread).expand(full).reshape(len(table), num_tokens))
        widths.append(table.shape[-1])
    if encoding is not None:
        value = encoding.to(channels.dtype)
        means.append(value.mean().expand(1, num_tokens))
        squares.append(_squares(value, dim=0).expand(1, num_tokens))
        widths.append(len(value))
    total = sum(widths)
    mean = sum(width * part for width, part in zip(widths, means, strict=True)) / total
    variance = sum(
        square + width * (part - mean) ** 2 for width, part, square in zip(widths, means, squares, strict=True)
    )
    assert isinstance(variance, Tensor)
    return torch.rsqrt(variance / total + eps).expand(batch, num_tokens)


def _squares(values: Tensor, dim: int) -> Tensor:
    """Returns the sum of squared distances from the mean."""
    return ((values - values.mean(dim=dim, keepdim=True)) ** 2).sum(dim=dim)
