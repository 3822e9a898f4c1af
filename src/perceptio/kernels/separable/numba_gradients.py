"""The backward loops of the Numba backend: the attention weights are computed anew from the log-sum-exp."""

from typing import Any, no_type_check

import numpy as np
from numba import njit
from numba.extending import register_jitable

from perceptio.kernels.separable.numba_attend import ROWS_PER_BLOCK, TILES_PER_FLUSH
from perceptio.kernels.separable.numba_math import FASTMATH, LN_2, exp2_of, read_constants
from perceptio.kernels.separable.numba_tiles import FUSED_CHANNELS, LOWEST, make_tile


# `no_type_check`: what Numba compiles must reach it as written, without the wrapper of a run-time type checker.
@no_type_check
def make_query_gradients(dtype: np.dtype[Any], num_channels: int, masked: bool) -> Any:
    """Returns the loop over a range of rows; arguments as of `make_attend`."""
    tile, exp2, real = make_tile(dtype, num_channels, masked), exp2_of(dtype), dtype.type
    views, factors, further, score_at, shown, further_sums = (
        tile.views, tile.factors, tile.further, tile.score, tile.shown, tile.further_sums,
    )  # fmt: skip
    fused, more = min(num_channels, FUSED_CHANNELS), num_channels > FUSED_CHANNELS
    two, three, four = fused > 1, fused > 2, fused > 3
    zero, lowest = real(0.0), real(LOWEST)

    @register_jitable(forceinline=True)
    def pass_over(
        base, inner, q, rest, grad_base, grad_inner, g, rest_grad, row, u, h, present, o, down, common,
        inner_sums, kept, sums, r, k,
    ):  # fmt: skip
        """Adds a tile to the gradients of a row; returns that of its outer place."""
        whole, s0, s1, s2, s3 = zero, zero, zero, zero, zero
        for i in range(h.shape[0]):
            score = score_at(i, base + inner[row, i], q, u, rest) * h[i] - down
            p = shown(exp2(shown(score, present, o, i, lowest), k), present, o, i, zero)
            weight_grad = score_at(i, grad_base + grad_inner[row, i], g, u, rest_grad)
            d = p * (weight_grad * h[i] - common) * h[i]
            whole += d
            inner_sums[row, i] += d
            s0 += d * u[0][i]
            if two:
                s1 += d * u[1][i]
            if three:
                s2 += d * u[2][i]
            if four:
                s3 += d * u[3][i]
            if more:
                kept[i] = d
        sums[r, 0] += s0
        if two:
            sums[r, 1] += s1
        if three:
            sums[r, 2] += s2
        if four:
            sums[r, 3] += s3
        return whole

    @njit(nogil=True, fastmath=FASTMATH, cache=True, error_model="numpy")
    def query_gradients(
        first, last, queries, outer, inner, channels, rho, present, lse2, grad_channels, grad_outer, grad_inner, delta,
        constants, channel_sums, outer_sums, inner_sums,
    ):  # fmt: skip
        """Fills the gradients of the queries of rows first to last of one sample; `lse2` is in base 2."""
        width, num_outer, num_inner = channels.shape
        k = read_constants(constants)
        sums = np.empty((ROWS_PER_BLOCK, width), np.float64)
        totals = np.empty((ROWS_PER_BLOCK, num_inner), np.float64)
        rest, rest_grad = np.zeros(num_inner, rho.dtype), np.zeros(num_inner, rho.dtype)
        kept = np.zeros(num_inner, rho.dtype)
        for start in range(first, last, ROWS_PER_BLOCK):
            rows = min(ROWS_PER_BLOCK, last - start)
            sums[:], totals[:] = 0.0, 0.0
            inner_sums[start : start + rows] = zero
            for o in range(num_outer):
                h, u = rho[o], views(channels, o)
                for r in range(rows):
                    row = start + r
                    further(rest, queries, row, channels, o)
                    further(rest_grad, grad_channels, row, channels, o)
                    outer_sums[row, o] = pass_over(
                        outer[row, o], inner, factors(queries, row), rest,
                        grad_outer[row, o], grad_inner, factors(grad_channels, row), rest_grad,
                        row, u, h, present, o, lse2[row], delta[row], inner_sums, kept, sums, r, k,
                    )  # fmt: skip
                    further_sums(sums, r, kept, channels, o)
                    if o % TILES_PER_FLUSH == TILES_PER_FLUSH - 1:
                        for i in range(num_inner):
                            totals[r, i] += inner_sums[row, i]
                            inner_sums[row, i] = zero
            for r in range(rows):
                row = start + r
                for c in range(width):
                    channel_sums[row, c] = sums[r, c]
                for i in range(num_inner):
                    inner_sums[row, i] += totals[r, i]

    return query_gradients


@no_type_check
def make_token_gradients(dtype: np.dtype[Any], masked: bool) -> Any:
    """Returns the loop over a range of outer places, for any number of channels."""
    exp2, real = exp2_of(dtype), dtype.type
    shown = make_tile(dtype, 1, masked).shown
    zero, lowest, ln_2 = real(0.0), real(LOWEST), real(LN_2)

    @njit(nogil=True, fastmath=FASTMATH, cache=True, error_model="numpy")
    def token_gradients(
        first, last, queries, outer, inner, channels, rho, present, lse2, grad_channels, grad_outer, grad_inner, delta,
        constants, channel_grads, rho_grads,
    ):  # fmt: skip
        """Fills the gradients of the tokens of outer places first to last of one sample: each sums over all rows."""
        width, _, num_inner = channels.shape
        constant = read_constants(constants)
        score, grad = np.empty(num_inner, rho.dtype), np.empty(num_inner, rho.dtype)
        for o in range(first, last):
            h = rho[o]
            for k in range(width):
                channel_grads[k, o, :] = zero
            rho_grads[o, :] = zero
            for row in range(queries.shape[0]):
                base, grad_base = outer[row, o], grad_outer[row, o]
                for i in range(num_inner):
                    score[i] = base + inner[row, i]
                    grad[i] = grad_base + grad_inner[row, i]
                for k in range(width):
                    values, q, g = channels[k, o], queries[row, k], grad_channels[row, k]
                    for i in range(num_inner):
                        score[i] += q * values[i]
                        grad[i] += g * values[i]
                down, common = lse2[row], delta[row]
                for i in range(num_inner):
                    shifted = shown(score[i] * h[i] - down, present, o, i, lowest)
                    p = shown(exp2(shifted, constant), present, o, i, zero)
                    d = p * (grad[i] * h[i] - common)
                    # The queries came in base 2; the gradients are of natural scores.
                    rho_grads[o, i] += d * (score[i] * ln_2) + p * grad[i]
                    score[i] = d * h[i] * ln_2
                    grad[i] = p * h[i]
                for k in range(width):
                    q, g, found = queries[row, k], grad_channels[row, k], channel_grads[k, o]
                    for i in range(num_inner):
                        found[i] += q * score[i] + g * grad[i]

    return token_gradients
