"""The forward loop of the Numba backend: serial, over a range of rows; several threads take a range each.

Eight rows share a tile's token data before the next tile is loaded, so that these stay in the first-level cache.

Scores are in base 2: the caller multiplies the queries by log2(e). The softmax's shift is the largest score of the
first tile and is raised only when a bound on a later tile's scores exceeds it by `HEADROOM`: sums then hold at most
2^HEADROOM a token, far from overflow, at full relative precision. So the common case needs no separate pass for the
maximum, which costs a third of the time.
"""

import math
from typing import Any, no_type_check

import numpy as np
from numba import njit
from numba.extending import register_jitable

from perceptio.kernels.separable.numba_math import FASTMATH, LN_2, exp2_of, read_constants
from perceptio.kernels.separable.numba_tiles import FUSED_CHANNELS, LOWEST, make_tile

ROWS_PER_BLOCK = 8
HEADROOM = 60.0
TILES_PER_FLUSH = 64
"""Tiles whose weights are summed in single precision before they go into a float64 total."""


# `no_type_check`: what Numba compiles must reach it as written, without the wrapper of a run-time type checker.
@no_type_check
def make_attend(dtype: np.dtype[Any], num_channels: int, masked: bool) -> Any:
    """Returns the loop; it compiles on its first call and is kept in Numba's cache on disk.

    Args:
        dtype: float32 or float64.
        num_channels: sample channels of a token; above `FUSED_CHANNELS` the number itself is no part of the code.
    """
    tile, exp2, real = make_tile(dtype, num_channels, masked), exp2_of(dtype), dtype.type
    views, factors, further, score_at, shown, further_sums = (
        tile.views, tile.factors, tile.further, tile.score, tile.shown, tile.further_sums,
    )  # fmt: skip
    fused, more = min(num_channels, FUSED_CHANNELS), num_channels > FUSED_CHANNELS
    two, three, four = fused > 1, fused > 2, fused > 3
    zero, lowest, headroom = real(0.0), real(LOWEST), real(HEADROOM)

    @register_jitable(forceinline=True)
    def bound_of(queries, row, start, lowest_u, highest_u, top_rho, o):
        """An upper bound on the scores of a tile, from the tile's extremes."""
        bound = start
        for k in range(queries.shape[1]):
            low, high = queries[row, k] * lowest_u[k, o], queries[row, k] * highest_u[k, o]
            bound += high if high > low else low
        return bound * top_rho[o] if bound > zero else zero

    @register_jitable(forceinline=True)
    def top_of(base, inner, row, q, u, rest, h, present, o):
        """The largest score of a tile."""
        top = lowest
        for i in range(h.shape[0]):
            score = shown(score_at(i, base + inner[row, i], q, u, rest) * h[i], present, o, i, lowest)
            top = score if score > top else top
        return top

    @register_jitable(forceinline=True)
    def scale_row(scale, inner_sums, outer_sums, row, num_outer, totals, sums, r):
        """Scales what a row has summed so far."""
        for i in range(totals.shape[1]):
            inner_sums[row, i] *= scale
            totals[r, i] *= scale
        for o in range(num_outer):
            outer_sums[row, o] *= scale
        for k in range(sums.shape[1]):
            sums[r, k] *= scale

    @register_jitable(forceinline=True)
    def pass_over(base, inner, row, q, u, rest, h, present, o, down, inner_sums, kept, sums, r, k):
        """Adds a tile to a row's sums; returns its mass and its weight."""
        mass, weight, s0, s1, s2, s3 = zero, zero, zero, zero, zero, zero
        for i in range(h.shape[0]):
            score = score_at(i, base + inner[row, i], q, u, rest) * h[i] - down
            p = shown(exp2(shown(score, present, o, i, lowest), k), present, o, i, zero)
            mass += p
            w = p * h[i]
            weight += w
            inner_sums[row, i] += w
            s0 += w * u[0][i]
            if two:
                s1 += w * u[1][i]
            if three:
                s2 += w * u[2][i]
            if four:
                s3 += w * u[3][i]
            if more:
                kept[i] = w
        sums[r, 0] += s0
        if two:
            sums[r, 1] += s1
        if three:
            sums[r, 2] += s2
        if four:
            sums[r, 3] += s3
        return mass, weight

    @njit(nogil=True, fastmath=FASTMATH, cache=True, error_model="numpy")
    def attend(
        first, last, queries, outer, inner, channels, rho, present, lowest_u, highest_u, top_rho,
        constants, channel_sums, outer_sums, inner_sums, lse,
    ):  # fmt: skip
        """Fills the reads of rows first to last of one sample."""
        width, num_outer, num_inner = channels.shape
        k = read_constants(constants)
        shift, mass = np.empty(ROWS_PER_BLOCK, rho.dtype), np.empty(ROWS_PER_BLOCK, np.float64)
        sums = np.empty((ROWS_PER_BLOCK, width), np.float64)
        totals = np.empty((ROWS_PER_BLOCK, num_inner), np.float64)
        top_inner = np.empty(ROWS_PER_BLOCK, rho.dtype)
        rest, kept = np.zeros(num_inner, rho.dtype), np.zeros(num_inner, rho.dtype)
        for start in range(first, last, ROWS_PER_BLOCK):
            rows = min(ROWS_PER_BLOCK, last - start)
            shift[:], mass[:], sums[:], totals[:] = lowest, 0.0, 0.0, 0.0
            inner_sums[start : start + rows] = zero
            for r in range(rows):
                top_inner[r] = inner[start + r].max()
            for o in range(num_outer):
                h, u = rho[o], views(channels, o)
                for r in range(rows):
                    row = start + r
                    q, base = factors(queries, row), outer[row, o]
                    further(rest, queries, row, channels, o)
                    bound = bound_of(queries, row, base + top_inner[r], lowest_u, highest_u, top_rho, o)
                    # `not <=`, so that NaN takes this way as well.
                    if not bound <= shift[r] + headroom:
                        top = top_of(base, inner, row, q, u, rest, h, present, o)
                        if top > shift[r]:
                            scale = exp2(shift[r] - top, k)
                            scale_row(scale, inner_sums, outer_sums, row, o, totals, sums, r)
                            mass[r] *= scale
                            shift[r] = top
                    tile_mass, outer_sums[row, o] = pass_over(
                        base, inner, row, q, u, rest, h, present, o, shift[r], inner_sums, kept, sums, r, k
                    )
                    further_sums(sums, r, kept, channels, o)
                    mass[r] += tile_mass
                    if o % TILES_PER_FLUSH == TILES_PER_FLUSH - 1:
                        for i in range(num_inner):
                            totals[r, i] += inner_sums[row, i]
                            inner_sums[row, i] = zero
            for r in range(rows):
                row, whole = start + r, mass[r]
                # A row that sees nothing has mass zero, and its sums are zeros already.
                share = 1.0 / whole if whole != 0.0 else 0.0
                lse[row] = (shift[r] + math.log2(whole)) * LN_2 if whole != 0.0 else -np.inf
                for c in range(width):
                    channel_sums[row, c] = sums[r, c] * share
                for i in range(num_inner):
                    inner_sums[row, i] = (totals[r, i] + inner_sums[row, i]) * share
                for o in range(num_outer):
                    outer_sums[row, o] *= share

    return attend
