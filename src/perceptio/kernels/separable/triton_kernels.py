"""The GPU kernels of separable cross-attention, in Triton; `triton_backend` prepares their arguments and launches them.

- `top_kernel` and `reads_kernel` give a thread four rows and a block of inner places and walk over the tokens. Rows are
  the last axis of the row tensors: so neighbouring threads read neighbouring words, and a thread sums over places on
  its own. The lengths of the row and inner axes are multiples of the block sizes.
- `token_kernel` gives a thread a few tokens and walks over the rows, which are where `contract` has them.

There are no atomic additions: one thread makes each sum, in one order, so results do not change from run to run.
Offsets are 64-bit numbers because `b` is one. Letters are those of `contract`.

`no_type_check` keeps jaxtyping's import hook away, under whose wrapper Triton would not find a kernel's globals.
"""

from typing import Any, NamedTuple, no_type_check

import triton
import triton.language as tl

LOG2_E = tl.constexpr(1.4426950408889634)


class Parts(NamedTuple):
    """What belongs to channels, outer and inner places: queries, reads or gradients of either."""

    channels: Any
    outer: Any
    inner: Any


class Grid(NamedTuple):
    """What the tokens say; `present` is None where all are."""

    channels: Any
    rho: Any
    present: Any


class Sizes(NamedTuple):
    """Axis lengths. There is one query sample where all samples share their queries."""

    samples: int
    query_samples: int
    rows: int
    outer: int
    inner: int
    channels: tl.constexpr


class Blocks(NamedTuple):
    """What a program has at one time.

    Attributes:
        rows: rows; in `token_kernel` outer places.
        places: inner places.
        held: channels that stay in registers; further ones are loaded each time.
        summed: channels that it sums; for further ones other programs compute the weights again.
    """

    rows: tl.constexpr
    places: tl.constexpr
    held: tl.constexpr
    summed: tl.constexpr


class Pieces(NamedTuple):
    """A piece is what one program walks over: a rectangle of the grid; in `token_kernel` a range of rows.

    Attributes:
        length: outer places of a piece; rows.
        blocks: blocks of inner places of a piece; 1.
        abreast: pieces that lie side by side along the inner axis; 1.
    """

    length: int
    blocks: int
    abreast: int


@triton.jit
@no_type_check
def top_kernel(queries, tokens, found, sizes, blocks, pieces):
    """Stores the largest score of a block of rows in one piece, or -inf; found is (pieces, B, R).

    Launched over blocks of rows, pieces, samples.
    """
    piece, b = tl.program_id(1), tl.program_id(2).to(tl.int64)
    sample = b % sizes.query_samples
    rows = tl.program_id(0) * blocks.rows + tl.arange(0, blocks.rows)
    first_outer, last_outer, first_block, last_block = _bounds(piece, sizes, blocks, pieces)
    held = _held_rows(queries, sample, rows, sizes, blocks)
    top = tl.full([blocks.places, blocks.rows], float("-inf"), tokens.rho.dtype.element_ty)
    for block in range(first_block, last_block):
        places = block * blocks.places + tl.arange(0, blocks.places).to(tl.int64)
        inner = _inner(queries, sample, places, rows, sizes)
        for o in range(first_outer, last_outer):
            token = (b * sizes.outer + o) * sizes.inner + places
            raw = _additive(queries, sample, held, inner, tokens, b, o, places, rows, sizes)
            score = raw * tl.load(tokens.rho + token)[:, None]
            top = tl.maximum(top, _where_present(score, float("-inf"), tokens, token))
    tl.store(found + (piece * sizes.samples + b) * sizes.rows + rows, tl.max(top, axis=0))


@triton.jit
@no_type_check
def reads_kernel(queries, grads, delta, tokens, shift, mass, found, sizes, blocks, pieces):
    """Stores what a block of rows reads in one piece or, where `grads` are given, the gradients of its queries.

    Exponentials are taken of the scores less `shift`. Where no grads are given, `mass` (pieces, B, R) receives their
    sums, by which reads are yet to be divided. Launched over blocks of rows, pieces times blocks of channels, samples.
    Found are channels (pieces, B, c, R), outer (pieces abreast, B, O, R), inner (pieces the other way, B, I, R).
    """
    piece, channel_block = _split_program(sizes, blocks)
    b = tl.program_id(2).to(tl.int64)
    sample = b % sizes.query_samples
    rows = tl.program_id(0) * blocks.rows + tl.arange(0, blocks.rows)
    first_outer, last_outer, first_block, last_block = _bounds(piece, sizes, blocks, pieces)
    row_shift = tl.load(shift + b * sizes.rows + rows)[None, :]
    held = _held_rows(queries, sample, rows, sizes, blocks)
    if grads is not None:
        row_delta = tl.load(delta + b * sizes.rows + rows)[None, :]
        held_grads = _held_rows(grads, b, rows, sizes, blocks)
    kind = tokens.rho.dtype.element_ty
    first = channel_block == 0
    # The last of these is the mass. Summed block by block, since rounding errors grow with the length of a sum.
    sums = _zeros(blocks.summed + 1, [blocks.rows], kind)
    for block in range(first_block, last_block):
        places = block * blocks.places + tl.arange(0, blocks.places).to(tl.int64)
        inner = _inner(queries, sample, places, rows, sizes)
        if grads is not None:
            inner_grads = _inner(grads, b, places, rows, sizes)
        inner_sum = tl.zeros([blocks.places, blocks.rows], kind)
        block_sums = _zeros(blocks.summed + 1, [blocks.rows], kind)
        for o in range(first_outer, last_outer):
            token = (b * sizes.outer + o) * sizes.inner + places
            rho = tl.load(tokens.rho + token)[:, None]
            score = rho * _additive(queries, sample, held, inner, tokens, b, o, places, rows, sizes)
            exponential = _where_present(tl.exp2(score - row_shift), 0.0, tokens, token)
            weight = rho * exponential
            if grads is not None:
                pull = _additive(grads, b, held_grads, inner_grads, tokens, b, o, places, rows, sizes)
                weight *= rho * pull - row_delta
            inner_sum += weight
            # No other program has this sum. It grows in memory, for which the first-level cache stands in.
            at = ((piece % pieces.abreast * sizes.samples + b) * sizes.outer + o) * sizes.rows + rows
            before = tl.load(found.outer + at, mask=first & (block > first_block), other=0.0)
            tl.store(found.outer + at, before + tl.sum(weight, axis=0), mask=first)
            block_sums = _more_sums(block_sums, exponential, weight, tokens, b, o, places, channel_block, sizes, blocks)
        # In the next turn a thread may load what another one has stored.
        tl.debug_barrier()
        at = (piece // pieces.abreast * sizes.samples + b) * sizes.inner + places
        tl.store(found.inner + at[:, None] * sizes.rows + rows[None, :], inner_sum, mask=first)
        sums = _plus(sums, block_sums)
    at = piece * sizes.samples + b
    for k in tl.static_range(blocks.summed):
        channel = _summed_channel(k, channel_block, sizes, blocks)
        tl.store(found.channels + (at * sizes.channels + channel) * sizes.rows + rows, sums[k])
    if grads is None:
        tl.store(mass + at * sizes.rows + rows, sums[blocks.summed], mask=first)


@triton.jit
@no_type_check
def token_kernel(queries, grads, delta, tokens, lse, found, sizes, blocks, pieces):
    """Stores what a range of rows adds to the gradients of a tile of tokens.

    Launched over tiles, pieces times blocks of channels, samples. Found are channels (pieces, B, c, O, I) and rho
    (pieces, B, O, I).
    """
    piece, channel_block = _split_program(sizes, blocks)
    tile, b = tl.program_id(0), tl.program_id(2).to(tl.int64)
    tiles_abreast = tl.cdiv(sizes.inner, blocks.places)
    outs = tile // tiles_abreast * blocks.rows + tl.arange(0, blocks.rows).to(tl.int64)
    places = tile % tiles_abreast * blocks.places + tl.arange(0, blocks.places)
    token = outs[:, None] * sizes.inner + places[None, :]
    real = (outs < sizes.outer)[:, None] & (places < sizes.inner)[None, :]
    num_tokens = tl.cast(sizes.outer, tl.int64) * sizes.inner
    rho = tl.load(tokens.rho + b * num_tokens + token, mask=real, other=0.0)
    if tokens.present is not None:
        present = tl.load(tokens.present + b * num_tokens + token, mask=real, other=0) != 0
    kind = tokens.rho.dtype.element_ty
    held = ()
    for k in tl.static_range(blocks.held):
        at = (b * sizes.channels + k) * num_tokens + token
        held += (tl.load(tokens.channels + at, mask=real, other=0.0),)
    rho_sum = tl.zeros([blocks.rows, blocks.places], kind)
    sums = _zeros(blocks.summed, [blocks.rows, blocks.places], kind)
    first_row = piece * pieces.length
    for n in range(first_row, tl.minimum(first_row + pieces.length, sizes.rows)):
        row, query_row = b * sizes.rows + n, b % sizes.query_samples * sizes.rows + n
        raw = _additive_of_row(queries, query_row, held, tokens, b, outs, places, real, sizes)
        pull = _additive_of_row(grads, row, held, tokens, b, outs, places, real, sizes)
        probability = tl.exp2((raw * rho - tl.load(lse + row)) * LOG2_E)
        if tokens.present is not None:
            probability = tl.where(present, probability, 0.0)
        score_grad = probability * (pull * rho - tl.load(delta + row))
        rho_sum = rho_sum + score_grad * raw + probability * pull
        on_query, on_grad = score_grad * rho, probability * rho
        new_sums = ()
        for k in tl.static_range(blocks.summed):
            channel = _summed_channel(k, channel_block, sizes, blocks)
            asked = tl.load(queries.channels + query_row * sizes.channels + channel)
            returned = tl.load(grads.channels + row * sizes.channels + channel)
            new_sums += (sums[k] + on_query * asked + on_grad * returned,)
        sums = new_sums
    at = (piece * sizes.samples + b) * num_tokens + token
    tl.store(found.rho + at, rho_sum, mask=real & (channel_block == 0))
    for k in tl.static_range(blocks.summed):
        channel = _summed_channel(k, channel_block, sizes, blocks)
        at = ((piece * sizes.samples + b) * sizes.channels + channel) * num_tokens + token
        tl.store(found.channels + at, sums[k], mask=real)


@triton.jit
@no_type_check
def _bounds(piece, sizes, blocks, pieces):
    """Returns a piece's first outer place and inner block, and where each range ends."""
    first_outer, first_block = piece // pieces.abreast * pieces.length, piece % pieces.abreast * pieces.blocks
    last_outer = tl.minimum(first_outer + pieces.length, sizes.outer)
    last_block = tl.minimum(first_block + pieces.blocks, sizes.inner // blocks.places)
    return first_outer, last_outer, first_block, last_block


@triton.jit
@no_type_check
def _split_program(sizes, blocks):
    """Returns the numbers of this program's piece and block of channels."""
    channel_blocks: tl.constexpr = (sizes.channels + blocks.summed - 1) // blocks.summed
    return tl.program_id(1) // channel_blocks, tl.program_id(1) % channel_blocks


@triton.jit
@no_type_check
def _summed_channel(k, channel_block, sizes, blocks):
    """Returns the number of a channel that a program sums; the last one again where a block has too few."""
    return tl.minimum(channel_block * blocks.summed + k, sizes.channels - 1)


@triton.jit
@no_type_check
def _held_rows(parts, sample, rows, sizes, blocks):
    """Returns the first channels of some rows."""
    held = ()
    for k in tl.static_range(blocks.held):
        held += (tl.load(parts.channels + (sample * sizes.channels + k) * sizes.rows + rows),)
    return held


@triton.jit
@no_type_check
def _inner(parts, sample, places, rows, sizes):
    """Returns the values of some rows at some inner places, [places, rows]."""
    return tl.load(parts.inner + (sample * sizes.inner + places)[:, None] * sizes.rows + rows[None, :])


@triton.jit
@no_type_check
def _channel(tokens, b, k, o, places, sizes):
    """Returns a sample channel at some inner places, [places, 1]."""
    return tl.load(tokens.channels + ((b * sizes.channels + k) * sizes.outer + o) * sizes.inner + places)[:, None]


@triton.jit
@no_type_check
def _additive(parts, sample, held, inner, tokens, b, o, places, rows, sizes):
    """Returns channels . u + outer + inner of some rows at some places, [places, rows]."""
    total = inner + tl.load(parts.outer + (sample * sizes.outer + o) * sizes.rows + rows)[None, :]
    for k in tl.static_range(len(held)):
        total += held[k][None, :] * _channel(tokens, b, k, o, places, sizes)
    for k in range(len(held), sizes.channels):
        factor = tl.load(parts.channels + (sample * sizes.channels + k) * sizes.rows + rows)
        total += factor[None, :] * _channel(tokens, b, k, o, places, sizes)
    return total


@triton.jit
@no_type_check
def _additive_of_row(parts, row, held, tokens, b, outs, places, real, sizes):
    """Returns channels . u + outer + inner of one row at some places, [outs, places]."""
    outer = tl.load(parts.outer + row * sizes.outer + outs, mask=outs < sizes.outer, other=0.0)
    inner = tl.load(parts.inner + row * sizes.inner + places, mask=places < sizes.inner, other=0.0)
    total = outer[:, None] + inner[None, :]
    for k in tl.static_range(len(held)):
        total += held[k] * tl.load(parts.channels + row * sizes.channels + k)
    for k in range(len(held), sizes.channels):
        at = ((b * sizes.channels + k) * sizes.outer + outs)[:, None] * sizes.inner + places[None, :]
        channel = tl.load(tokens.channels + at, mask=real, other=0.0)
        total += channel * tl.load(parts.channels + row * sizes.channels + k)
    return total


@triton.jit
@no_type_check
def _where_present(values, instead, tokens, token):
    """Returns the values with those of absent tokens replaced; chosen, not multiplied, since they may be infinite."""
    if tokens.present is not None:
        values = tl.where((tl.load(tokens.present + token) != 0)[:, None], values, instead)
    return values


@triton.jit
@no_type_check
def _more_sums(sums, exponential, weight, tokens, b, o, places, channel_block, sizes, blocks):
    """Returns sums over places, of weight * u for each summed channel and of the exponentials, with more places."""
    found = ()
    for k in tl.static_range(blocks.summed):
        channel = _channel(tokens, b, _summed_channel(k, channel_block, sizes, blocks), o, places, sizes)
        found += (sums[k] + tl.sum(weight * channel, axis=0),)
    found += (sums[blocks.summed] + tl.sum(exponential, axis=0),)
    return found


@triton.jit
@no_type_check
def _zeros(count, shape, kind):
    """Returns some tensors of zeros."""
    found = ()
    for _ in tl.static_range(count):
        found += (tl.zeros(shape, kind),)
    return found


@triton.jit
@no_type_check
def _plus(first, second):
    """Returns the sums of two tuples' elements."""
    found = ()
    for k in tl.static_range(len(first)):
        found += (first[k] + second[k],)
    return found
