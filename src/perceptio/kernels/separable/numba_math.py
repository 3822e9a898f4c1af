"""Exponentials that Numba's loops vectorise."""

import math
from typing import Any, no_type_check

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, register_jitable

LN_2 = math.log(2.0)

# Never "nnan": a diverged model must give NaN, not a number.
FASTMATH = {"contract", "reassoc", "nsz", "arcp"}

# `no_type_check`: what Numba compiles must reach it as written, without the wrapper of a run-time type checker.


@intrinsic
@no_type_check
def _bits_to_float(typing_context: Any, bits: Any) -> Any:
    """Reads the bits of an int32 as a float32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), generate


@intrinsic
@no_type_check
def _round(typing_context: Any, value: Any) -> Any:
    """Rounds a float32 to the nearest whole number, by one instruction that vectorises."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.call(builder.module.declare_intrinsic("llvm.rint", [ir.FloatType()]), arguments)

    return types.float32(types.float32), generate


EXP2_CONSTANTS = (-126.0, 0.001327647174, 0.00967554154, 0.05550713276, 0.2402211972, 0.6931469671, 1.000000072)
"""The lowest argument, then the minimax fit of degree 5 to 2^f on [-1/2, 1/2] (relative error 7.5e-8), highest power
first."""


@register_jitable(forceinline=True)
@no_type_check
def exp2_float32(x, k):
    """2^x for x <= 126, to 2e-7 relative; below 2^-126 it stays there. NaN gives NaN.

    2^x = 2^round(x) 2^f with f in [-1/2, 1/2].

    Args:
        k: `EXP2_CONSTANTS`, read from an argument of the compiled loop: constants that the compiler knows are fetched
            by two instructions each, in every pass of the loop; values that it does not know wait in memory.
    """
    clamped = k[0] if x < k[0] else x
    whole = _round(clamped)
    f = clamped - whole
    p4 = k[1] * f + k[2]
    p3 = p4 * f + k[3]
    p2 = p3 * f + k[4]
    p1 = p2 * f + k[5]
    p0 = p1 * f + k[6]
    return p0 * _bits_to_float((np.int32(whole) + np.int32(127)) << np.int32(23))


@register_jitable(forceinline=True)
@no_type_check
def exp2_float64(x, k):
    """2^x in double precision: exact, and not vectorised; for tests and reference runs."""
    return math.exp(x * LN_2)


@register_jitable(forceinline=True)
@no_type_check
def read_constants(values):
    """The constants as a tuple of scalars, out of the array that brought them."""
    return values[0], values[1], values[2], values[3], values[4], values[5], values[6]


def exp2_of(dtype: np.dtype[Any]) -> Any:
    """Returns the base-2 exponential of a number type."""
    return exp2_float32 if dtype == np.float32 else exp2_float64
