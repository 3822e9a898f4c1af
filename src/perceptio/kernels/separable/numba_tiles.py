"""One row against one outer place: a *tile* of I tokens, in which all loops of the Numba backend are written.

A token's first four sample channels are part of a tile's one loop; further ones cost a pass each, before and after.
Constants such as `two` (there is a second channel) are known when the code is compiled, which leaves no trace of them.
Functions take an array and a row rather than the row: each view made in a loop costs two counts of references.
"""

from dataclasses import dataclass
from typing import Any, no_type_check

import numpy as np
from numba.extending import register_jitable

FUSED_CHANNELS = 4
LOWEST = -1e30
"""A score below all others that is still a number."""


@dataclass(frozen=True)
class Tile:
    """Functions of a tile, to be compiled into a loop over tiles."""

    views: Any
    factors: Any
    further: Any
    score: Any
    shown: Any
    further_sums: Any


# `no_type_check`: what Numba compiles must reach it as written, without the wrapper of a run-time type checker.
@no_type_check
def make_tile(dtype: np.dtype[Any], num_channels: int, masked: bool) -> Tile:
    """Returns the functions for one number type, number of fused channels, and with or without a mask."""
    real = dtype.type
    fused = min(num_channels, FUSED_CHANNELS)
    two, three, four, more = fused > 1, fused > 2, fused > 3, num_channels > FUSED_CHANNELS
    zero = real(0.0)

    @register_jitable(forceinline=True)
    def views(channels, o):
        """The fused channels at an outer place; the first stands in for those that there are not."""
        u1 = channels[1, o] if two else channels[0, o]
        u2 = channels[2, o] if three else channels[0, o]
        u3 = channels[3, o] if four else channels[0, o]
        return channels[0, o], u1, u2, u3

    @register_jitable(forceinline=True)
    def factors(rows, row):
        """A row's factors on the fused channels; zero on those that there are not."""
        q1 = rows[row, 1] if two else zero
        q2 = rows[row, 2] if three else zero
        q3 = rows[row, 3] if four else zero
        return rows[row, 0], q1, q2, q3

    @register_jitable(forceinline=True)
    def further(total, rows, row, channels, o):
        """Fills `total` with the products of the channels after the fused ones."""
        if more:
            total[:] = zero
            for k in range(fused, channels.shape[0]):
                factor, values = rows[row, k], channels[k, o]
                for i in range(total.shape[0]):
                    total[i] += factor * values[i]

    @register_jitable(forceinline=True)
    def score(i, start, q, u, rest):
        """start + q . u at token i."""
        total = start + q[0] * u[0][i]
        if two:
            total += q[1] * u[1][i]
        if three:
            total += q[2] * u[2][i]
        if four:
            total += q[3] * u[3][i]
        if more:
            total += rest[i]
        return total

    @register_jitable(forceinline=True)
    def shown(value, present, o, i, otherwise):
        """The value, or another where the token is absent."""
        if masked:
            return value if present[o, i] else otherwise
        return value

    @register_jitable(forceinline=True)
    def further_sums(sums, r, weights, channels, o):
        """Adds the weighted sums of the channels after the fused ones."""
        if more:
            for k in range(fused, channels.shape[0]):
                values, total = channels[k, o], zero
                for i in range(weights.shape[0]):
                    total += weights[i] * values[i]
                sums[r, k] += total

    return Tile(views, factors, further, score, shown, further_sums)
