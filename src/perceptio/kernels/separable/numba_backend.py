"""The core on a CPU, compiled by Numba: within three times the time that the exponentials alone would take.

Good for few sample channels (up to a dozen) and inner axes of 32 places or more; with many channels the products
dominate and the matrix products of the PyTorch backend win. The first call of a kind compiles for a few seconds; the
result is kept on disk (Numba's cache, in the package's folder or NUMBA_CACHE_DIR).
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from perceptio.kernels.separable.contract import Queries, Reads, Tokens
from perceptio.kernels.separable.numba_attend import ROWS_PER_BLOCK, make_attend
from perceptio.kernels.separable.numba_gradients import make_query_gradients, make_token_gradients
from perceptio.kernels.separable.numba_math import EXP2_CONSTANTS
from perceptio.kernels.separable.numba_tiles import FUSED_CHANNELS
from perceptio.kernels.separable.threads import run_pieces
from perceptio.shapes import Tensor

LOG2_E = math.log2(math.e)
MIN_ELEMENTS_FOR_THREADS = 200_000
"""Scores from which a second thread pays: 0.1 ms of work."""


@dataclass(frozen=True)
class NumbaBackend:
    """Implements `Backend`. Raises ValueError for anything but float32 and float64 on the CPU."""

    def attend(self, queries: Queries, tokens: Tokens) -> Reads:
        """Returns what the rows read."""
        function = make_loop("attend", *_kind_of(tokens))
        batch, width, num_outer, num_inner = tokens.channels.shape
        rows = queries.channels.shape[1]
        reads = [queries.channels.new_empty(batch, rows, *size) for size in ((width,), (num_outer,), (num_inner,), ())]
        extremes = (tokens.channels.amin(dim=3), tokens.channels.amax(dim=3), tokens.rho.amax(dim=2))
        samples = _samples([*_base2(queries), *_token_arrays(tokens), *extremes, _constants(tokens), *reads])
        _for_each_sample(function, samples, rows, ROWS_PER_BLOCK, tokens)
        return Reads(*reads)

    def query_gradients(self, queries: Queries, tokens: Tokens, lse: Tensor, grads: Reads, delta: Tensor) -> Queries:
        """Returns the gradients of the queries, one per sample."""
        batch, rows = lse.shape
        found = [
            queries.channels.new_empty(batch, rows, tensor.shape[2])
            for tensor in (queries.channels, queries.outer, queries.inner)
        ]
        samples = _samples([*_gradient_arrays(queries, tokens, lse, grads, delta), _constants(tokens), *found])
        function = make_loop("query_gradients", *_kind_of(tokens))
        _for_each_sample(function, samples, rows, ROWS_PER_BLOCK, tokens)
        return Queries(*found)

    def token_gradients(
        self, queries: Queries, tokens: Tokens, lse: Tensor, grads: Reads, delta: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Returns the gradients of sample channels and rho."""
        found = torch.empty_like(tokens.channels), torch.empty_like(tokens.rho)
        samples = _samples([*_gradient_arrays(queries, tokens, lse, grads, delta), _constants(tokens), *found])
        function = make_loop("token_gradients", *_kind_of(tokens))
        _for_each_sample(function, samples, tokens.rho.shape[1], 1, tokens)
        return found


LoopName = Literal["attend", "query_gradients", "token_gradients"]


@functools.cache
def make_loop(name: LoopName, dtype: str, num_channels: int, masked: bool) -> Callable[..., None]:
    """Returns a compiled loop, one for each kind of tokens."""
    kind: np.dtype[Any] = np.dtype(dtype)
    loop: Callable[..., None]
    if name == "token_gradients":
        loop = make_token_gradients(kind, masked)
    else:
        loop = (make_attend if name == "attend" else make_query_gradients)(kind, num_channels, masked)
    return loop


def _kind_of(tokens: Tokens) -> tuple[str, int, bool]:
    """Returns what loops are compiled for: type, channels up to one more than are fused, masked or not."""
    names = {torch.float32: "float32", torch.float64: "float64"}
    if tokens.rho.dtype not in names or tokens.rho.device.type != "cpu":
        raise ValueError(
            f"the Numba backend takes float32 or float64 on the CPU, got {tokens.rho.dtype} on {tokens.rho.device}"
        )
    num_channels = min(tokens.channels.shape[1], FUSED_CHANNELS + 1)
    return names[tokens.rho.dtype], num_channels, tokens.present is not None


def _base2(queries: Queries) -> list[Tensor]:
    return [tensor * LOG2_E for tensor in (queries.channels, queries.outer, queries.inner)]


def _constants(tokens: Tokens) -> Tensor:
    return torch.tensor([EXP2_CONSTANTS], dtype=tokens.rho.dtype)


def _token_arrays(tokens: Tokens) -> list[Tensor]:
    # Without a mask the loops never read it; they still want an array of its kind.
    present = torch.ones(1, 1, 1, dtype=torch.bool) if tokens.present is None else tokens.present
    return [tokens.channels, tokens.rho, present]


def _gradient_arrays(queries: Queries, tokens: Tokens, lse: Tensor, grads: Reads, delta: Tensor) -> list[Tensor]:
    return [
        *_base2(queries),
        *_token_arrays(tokens),
        lse * LOG2_E,
        grads.channels,
        grads.outer,
        grads.inner,
        delta,
    ]


def _samples(tensors: list[Tensor]) -> Callable[[int], list[np.ndarray]]:
    """Returns a function from a sample's number to its arrays; what samples share has a first axis of length 1."""
    arrays = [tensor.detach().contiguous().numpy() for tensor in tensors]
    return lambda b: [array[b if len(array) > 1 else 0] for array in arrays]


def _for_each_sample(
    function: Callable[..., None],
    samples: Callable[[int], list[np.ndarray]],
    length: int,
    step: int,
    tokens: Tokens,
) -> None:
    """Runs `function` over all samples' ranges; the pieces of all samples form one queue."""
    batch = len(tokens.rho)
    padded = -(-length // step) * step
    of_sample = [samples(b) for b in range(batch)]

    def run(first: int, last: int) -> None:
        while first < last:
            b, start = divmod(first, padded)
            stop = min(last - b * padded, length)
            function(start, stop, *of_sample[b])
            first = (b + 1) * padded

    elements = batch * length * (math.prod(tokens.rho.shape[1:]) if step > 1 else tokens.rho.shape[2] * 8)
    run_pieces(run, batch * padded, step=step, worth_threads=elements >= MIN_ELEMENTS_FOR_THREADS)
