"""Separation: on a grid, position features are a table for each axis, and so are the parts of scores and values.

A token's normalised channels are rho (x - mean x), and x = [sample channels u ; one row of each axis' table]. Taking
the mean away can be done to the weights instead: it makes each row of a matrix sum to zero. So with centred weights

    score_nm = rho_m (q_n . Ku u_m + sum over axes a of q_n . keys_a[i_a(m)]),    keys_a = table_a Ka^T

and the values are sums over u and over the rows of values_a, with the weights that the core hands back. Nothing of
size M x C or N x M is formed.
"""

from dataclasses import dataclass

import torch
from einops import einsum, rearrange

from perceptio.kernels.separable.contract import BackendName, Queries
from perceptio.kernels.separable.operation import separable_attend
from perceptio.modules.byte_array import GridPositions, Segment
from perceptio.modules.byte_view import ByteView
from perceptio.modules.grid_tokens import GridTokens
from perceptio.modules.reading.contract import ByteProjections, centred
from perceptio.modules.reading.folded import scaled, score_constant
from perceptio.modules.reading.precision import full_precision
from perceptio.shapes import Float, Tensor


@dataclass(frozen=True)
class SeparatedProjection:
    """One projection of a token, taken apart.

    Attributes:
        channels: of the sample channels, (F, c).
        tables: of each axis' table, (B or 1, axis length, F); a modality encoding is part of the first.
    """

    channels: Float[Tensor, "F c"]
    tables: tuple[Float[Tensor, "_ _ F"], ...]


@dataclass(frozen=True)
class SeparableReader:
    """A grid's tokens with the separated projections of one set of weights."""

    grid: GridTokens
    keys: SeparatedProjection
    values: SeparatedProjection
    projections: ByteProjections
    backend: BackendName
    order: Tensor | None

    def attend(self, q_BHNE: Float[Tensor, "_ H N E"], dropout: float) -> Float[Tensor, "B H N V"]:
        """Returns what the queries read, in the tables' precision also under autocast."""
        assert dropout == 0.0, "dropped weights do not sum to one"
        values, lse = self.read(q_BHNE)
        with full_precision(values.device):
            bias = rearrange(self.projections.value_bias, "(H V) -> H 1 V", H=q_BHNE.shape[1])
            return values + torch.where((lse > -torch.inf)[..., None], bias, torch.zeros_like(bias))

    def read(self, q_BHNE: Float[Tensor, "_ H N E"]) -> tuple[Tensor, Tensor]:
        """Returns the read values without their bias, and the log-sum-exp of the scores without their constant."""
        heads = q_BHNE.shape[1]
        lengths, split = self.grid.lengths, self.grid.num_outer_axes
        with full_precision(q_BHNE.device):
            reads = separable_attend(self._queries(q_BHNE), self.grid.tokens, self.backend)
            by_head = "B (H N) places -> B H N places"
            weight = rearrange(self.values.channels, "(H V) c -> H V c", H=heads)
            values = einsum(rearrange(reads.channels, by_head, H=heads), weight, "B H N c, H V c -> B H N V")
            for merged, axes in ((reads.outer, range(split)), (reads.inner, range(split, len(lengths)))):
                spread = merged.reshape(*merged.shape[:2], *(lengths[axis] for axis in axes))
                for axis in axes:
                    others = [2 + other - axes.start for other in axes if other != axis]
                    weights = rearrange(spread.sum(dim=others) if others else spread, by_head, H=heads)
                    values = values + weights @ _heads_of(self.values.tables[axis], heads)
            return values, rearrange(reads.lse, "B (H N) -> B H N", H=heads)

    def scores(self, q_BHNE: Float[Tensor, "_ H N E"]) -> Float[Tensor, "B H N M"]:
        """Returns the attention scores before the softmax; one query at a time needs memory for one map."""
        tokens = self.grid.tokens
        with full_precision(q_BHNE.device):
            queries = self._queries(q_BHNE)
            channels = queries.channels.expand(len(tokens.rho), -1, -1)
            additive = einsum(channels, tokens.channels, "B R c, B c O I -> B R O I")
            products = (additive + queries.outer[..., None] + queries.inner[:, :, None]) * tokens.rho[:, None]
            flat = rearrange(products, "B (H N) O I -> B H N (O I)", H=q_BHNE.shape[1])
            found = flat + score_constant(q_BHNE.to(flat.dtype), self.projections)
            return found if self.order is None else found[..., self.order]

    def _queries(self, q_BHNE: Tensor) -> Queries:
        heads = q_BHNE.shape[1]
        q = scaled(q_BHNE.to(self.grid.tokens.rho.dtype))
        weight = rearrange(self.keys.channels, "(H E) c -> H E c", H=heads)
        channels = einsum(q, weight, "B H N E, H E c -> B H N c")
        tables = [q @ _heads_of(table, heads).transpose(-1, -2) for table in self.keys.tables]
        split = self.grid.num_outer_axes
        batch = max(len(part) for part in (channels, *tables))
        parts = (channels, _merge(tables[:split], channels), _merge(tables[split:], channels))
        rows = [rearrange(part.expand(batch, -1, -1, -1), "B H N places -> B (H N) places") for part in parts]
        return Queries(*rows)


def read_separable(view: ByteView, number: int, projections: ByteProjections, backend: BackendName) -> SeparableReader:
    """Returns a segment with its projections, the tables' keys and values among them.

    Args:
        number: of the segment in the byte array; it must have per-axis position tables.
    """
    segment = view.byte_array.segments[number]
    grid = view.grid(number)
    with full_precision(segment.channels.device):
        keys = separate(segment, projections.key_weight, grid.tokens.rho.dtype)
        values = separate(segment, projections.value_weight, grid.tokens.rho.dtype)
    return SeparableReader(grid, keys, values, projections, backend, segment.order)


def separate(segment: Segment, weight: Float[Tensor, "F C"], dtype: torch.dtype) -> SeparatedProjection:
    """Returns a projection of normalised tokens taken apart by where its inputs come from."""
    positions = segment.positions
    assert isinstance(positions, GridPositions)
    weight = centred(weight.to(dtype))
    width = segment.channels.shape[-1]
    tables = [
        table @ weight[:, [width + column for column in positions.columns(axis)]].T
        for axis, table in enumerate(positions.tables)
    ]
    if segment.encoding is not None:
        tables[0] = tables[0] + weight[:, width + positions.num_channels :] @ segment.encoding.to(dtype)
    return SeparatedProjection(weight[:, :width], tuple(tables))


def _heads_of(table: Float[Tensor, "_ places F"], num_heads: int) -> Float[Tensor, "_ H places E"]:
    heads: Tensor = rearrange(table, "B places (H E) -> B H places E", H=num_heads)
    return heads


def _merge(tables: list[Tensor], like: Tensor) -> Tensor:
    """Returns one table over all places of some axes: the sum of theirs, (.., places); zeros over one place if none."""
    if not tables:
        return torch.zeros_like(like[..., :1])
    merged = tables[0]
    for table in tables[1:]:
        merged = (merged[..., None] + table[..., None, :]).flatten(-2)
    return merged
