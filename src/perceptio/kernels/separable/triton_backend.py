"""The core on an NVIDIA GPU, compiled by Triton on the first call with each kind of arguments.

One kernel finds the largest score of each row, a second one what the row reads. So scores are computed twice, but sums
need not be scaled when a larger score turns up, and the second kernel also serves the gradients of the queries. Weights
are computed from values in registers and never stored. One with three sample channels takes 24 instructions in the
forward pass, 21 in the gradients of the queries and 30 in those of the tokens (counted in the code for an H100).

Good for few sample channels, up to a dozen, and rows in multiples of 128. With more than 16 channels (8 in gradients)
the weights are computed again for every 16 of them, so that time grows with the square of their number: there the
matrix products of the PyTorch backend win. float64 is meant for checks: some of its values find no register.

Run on an H100 (docs/results/cross-attention.md); compiled for sm_80, sm_89 and sm_100 as well. Block sizes come from
counts of instructions and registers: other sizes have not been measured.
"""

import contextlib
import math
from dataclasses import dataclass

import torch
import triton.language as tl

from perceptio.kernels.separable.contract import Queries, Reads, Tokens
from perceptio.kernels.separable.triton_kernels import (
    Blocks,
    Grid,
    Parts,
    Pieces,
    Sizes,
    reads_kernel,
    token_kernel,
    top_kernel,
)
from perceptio.shapes import Tensor

LN_2 = math.log(2)
LOG2_E = math.log2(math.e)
MAX_HELD_OF_ROWS = 4
MAX_HELD_OF_TOKENS = 8
MAX_SUMMED = 16
MAX_SUMMED_GRADIENTS = 8
"""Channels that a program keeps in registers, see `Blocks`."""

TILE_WIDTH = 128
"""Neighbouring tokens of a tile: four for each thread of a warp, which it loads at once."""

ONE_WARP = {"num_warps": 1, "num_stages": 1}
"""How kernels are launched: with one warp to a program no sum has to be gathered from several."""


@dataclass(frozen=True)
class TritonBackend:
    """Implements `Backend`. Raises ValueError for anything but float32 and float64.

    Attributes:
        block_rows: rows that a program has at one time, a power of two.
        block_places: and inner places.
        tile: tokens of a program that works on their gradients, a power of two; up to `TILE_WIDTH` side by side.
        num_programs: of a launch, at least, while there is something left to divide. 2,048 are 16 warps to each
            multiprocessor of an H100; the number of these plays no part, so that all GPUs sum in the same order.
    """

    block_rows: int = 128
    block_places: int = 4
    tile: int = 256
    num_programs: int = 2048

    def attend(self, queries: Queries, tokens: Tokens) -> Reads:
        """Returns what the rows read."""
        with _device_of(tokens):
            work = self._row_work(queries, tokens, MAX_SUMMED)
            asked = work.rows_last(queries, LOG2_E)
            return work.reads(asked, work.top_scores(asked))

    def query_gradients(self, queries: Queries, tokens: Tokens, lse: Tensor, grads: Reads, delta: Tensor) -> Queries:
        """Returns the gradients of the queries, one per sample."""
        with _device_of(tokens):
            work = self._row_work(queries, tokens, MAX_SUMMED_GRADIENTS)
            asked, returned = work.rows_last(queries, LOG2_E), work.rows_last(grads, 1.0)
            padding = (0, work.sizes.rows - lse.shape[1])
            lse, delta = (torch.nn.functional.pad(values, padding) for values in (lse, delta))
            return work.gradients(asked, lse * LOG2_E, returned, delta)

    def token_gradients(
        self, queries: Queries, tokens: Tokens, lse: Tensor, grads: Reads, delta: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Returns the gradients of sample channels and rho."""
        _check_type(tokens)
        batch, width, outer, inner = tokens.channels.shape
        rows = lse.shape[1]
        places = min(self.tile, TILE_WIDTH, _power_of_two(inner))
        outs = min(self.tile // places, _power_of_two(outer))
        summed = min(width, MAX_SUMMED_GRADIENTS)
        tiles, channel_blocks = _num_parts(outer, outs) * _num_parts(inner, places), _num_parts(width, summed)
        length = _num_parts(rows, min(rows, _num_parts(self.num_programs, tiles * batch * channel_blocks)))
        num_pieces = _num_parts(rows, length)
        empty = tokens.rho.new_empty
        found = Grid(empty(num_pieces, *tokens.channels.shape), empty(num_pieces, *tokens.rho.shape), None)
        with _device_of(tokens):
            token_kernel[(tiles, num_pieces * channel_blocks, batch)](
                Parts(queries.channels, queries.outer, queries.inner),
                Parts(grads.channels, grads.outer, grads.inner),
                delta,
                _grid_of(tokens),
                lse,
                found,
                Sizes(batch, len(queries.channels), rows, outer, inner, tl.constexpr(width)),
                _blocks(outs, places, min(width, MAX_HELD_OF_TOKENS), summed),
                Pieces(length, 1, 1),
                **ONE_WARP,
            )
        return _sum(found.channels), _sum(found.rho)

    def _row_work(self, queries: Queries, tokens: Tokens, max_summed: int) -> "_RowWork":
        _check_type(tokens)
        shared, rows, width = queries.channels.shape
        batch, _, outer, inner = tokens.channels.shape
        block_rows = min(self.block_rows, _power_of_two(rows))
        block_places = min(self.block_places, _power_of_two(inner))
        blocks = _blocks(block_rows, block_places, min(width, MAX_HELD_OF_ROWS), min(width, max_summed))
        more_rows, more_places = -rows % block_rows, -inner % block_places
        sizes = Sizes(batch, shared, rows + more_rows, outer, inner + more_places, tl.constexpr(width))
        programs = sizes.rows // block_rows * batch * _num_parts(width, blocks.summed.value)
        pieces = _pieces(_num_parts(self.num_programs, programs), outer, sizes.inner, block_places)
        return _RowWork(_grid_of(_with_more_places(tokens, more_places)), (rows, outer, inner), sizes, blocks, pieces)


@dataclass(frozen=True)
class _RowWork:
    """The row kernels' common arguments. Rows and inner places are padded to whole blocks; added tokens are absent.

    Attributes:
        lengths: rows, outer and inner places without padding.
    """

    tokens: Grid
    lengths: tuple[int, int, int]
    sizes: Sizes
    blocks: Blocks
    pieces: Pieces

    def rows_last(self, parts: Queries | Reads, factor: float) -> Parts:
        """Returns what rows ask or get, times a factor, with rows as the last axis; zeros in the padding."""
        found = []
        lengths = (parts.channels.shape[2], self.sizes.outer, self.sizes.inner)
        for values, length in zip((parts.channels, parts.outer, parts.inner), lengths, strict=True):
            padded = values.new_zeros(len(values), length, self.sizes.rows)
            torch.mul(values.transpose(1, 2), factor, out=padded[:, : values.shape[2], : values.shape[1]])
            found.append(padded)
        return Parts(*found)

    def top_scores(self, queries: Parts) -> Tensor:
        """Returns the largest score of each row, in base 2; -inf where no token is present."""
        found: Tensor = queries.channels.new_empty(self._num_pieces, self.sizes.samples, self.sizes.rows)
        top_kernel[(self._row_blocks, self._num_pieces, self.sizes.samples)](
            queries, self.tokens, found, self.sizes, self.blocks, self.pieces, **ONE_WARP
        )
        return found.amax(dim=0)

    def reads(self, queries: Parts, top: Tensor) -> Reads:
        """Returns what the rows read."""
        mass = queries.channels.new_empty(self._num_pieces, self.sizes.samples, self.sizes.rows)
        sums = self._launch(queries, None, None, top, mass)
        mass = _sum(mass)
        share = torch.where(mass == 0, mass, 1 / mass)[:, None]
        # In float64, since its rounding comes back in every weight of the backward pass.
        lse = (top.double() * LN_2 + torch.log(mass.double())).to(mass.dtype)
        return Reads(*self._rows_first(sums, share), lse[:, : self.lengths[0]].contiguous())

    def gradients(self, queries: Parts, lse: Tensor, grads: Parts, delta: Tensor) -> Queries:
        """Returns the gradients of the queries; the log-sum-exp is in base 2."""
        return Queries(*self._rows_first(self._launch(queries, grads, delta, lse, None), 1.0))

    def _launch(
        self, queries: Parts, grads: Parts | None, delta: Tensor | None, shift: Tensor, mass: Tensor | None
    ) -> Parts:
        """Returns the pieces' parts of reads or gradients."""
        width, batch, abreast = queries.channels.shape[1], self.sizes.samples, self.pieces.abreast
        empty = queries.channels.new_empty
        found = Parts(
            empty(self._num_pieces, batch, width, self.sizes.rows),
            empty(abreast, batch, self.sizes.outer, self.sizes.rows),
            empty(self._num_pieces // abreast, batch, self.sizes.inner, self.sizes.rows),
        )
        channel_blocks = _num_parts(width, self.blocks.summed.value)
        reads_kernel[(self._row_blocks, self._num_pieces * channel_blocks, batch)](
            queries, grads, delta, self.tokens, shift, mass, found, self.sizes, self.blocks, self.pieces, **ONE_WARP
        )
        return found

    def _rows_first(self, parts: Parts, factor: Tensor | float) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the sums over pieces, times a factor, as `contract` has them and without padding."""
        rows, outer, inner = self.lengths
        channels, outers, inners = (
            (_sum(values) * factor)[:, :length, :rows].transpose(1, 2).contiguous()
            for values, length in zip(parts, (parts.channels.shape[2], outer, inner), strict=True)
        )
        return channels, outers, inners

    @property
    def _row_blocks(self) -> int:
        return _num_parts(self.sizes.rows, self.blocks.rows.value)

    @property
    def _num_pieces(self) -> int:
        return _num_parts(self.sizes.outer, self.pieces.length) * self.pieces.abreast


def _pieces(wanted: int, num_outer: int, num_inner: int, block_places: int) -> Pieces:
    """Cuts the grid into the wanted number of pieces, or more, while a piece is longer than a block.

    The longer side is halved each time: what pieces hand back is in proportion to the sum of their sides.
    """
    num_blocks = num_inner // block_places
    length, width = num_outer, num_blocks
    while _num_parts(num_outer, length) * _num_parts(num_blocks, width) < wanted and (length > 1 or width > 1):
        if width == 1 or length > width * block_places:
            length = _num_parts(length, 2)
        else:
            width = _num_parts(width, 2)
    return Pieces(length, width, _num_parts(num_blocks, width))


def _blocks(rows: int, places: int, held: int, summed: int) -> Blocks:
    return Blocks(tl.constexpr(rows), tl.constexpr(places), tl.constexpr(held), tl.constexpr(summed))


def _num_parts(length: int, part: int) -> int:
    return -(-length // part)


def _power_of_two(least: int) -> int:
    return 1 << (least - 1).bit_length()


def _grid_of(tokens: Tokens) -> Grid:
    present = None if tokens.present is None else tokens.present.contiguous().view(torch.uint8)
    return Grid(tokens.channels, tokens.rho, present)


def _with_more_places(tokens: Tokens, number: int) -> Tokens:
    """Returns the tokens with absent ones added at the end of the inner axis."""
    if number == 0:
        return tokens
    present = torch.ones_like(tokens.rho, dtype=torch.bool) if tokens.present is None else tokens.present
    pad = torch.nn.functional.pad
    return Tokens(pad(tokens.channels, (0, number)), pad(tokens.rho, (0, number)), pad(present, (0, number)))


def _sum(values: Tensor) -> Tensor:
    """Returns the sum of the pieces' parts."""
    return values[0] if len(values) == 1 else values.sum(dim=0)


def _check_type(tokens: Tokens) -> None:
    if tokens.rho.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"the triton backend needs float32 or float64, got {tokens.rho.dtype}. Take 'torch'.")


def _device_of(tokens: Tokens) -> contextlib.AbstractContextManager[object]:
    """Triton launches on the current device; the interpreter works with CPU tensors."""
    return torch.cuda.device(tokens.rho.device) if tokens.rho.is_cuda else contextlib.nullcontext()
