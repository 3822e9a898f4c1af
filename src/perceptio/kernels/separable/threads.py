"""Runs a compiled function over a range by as many threads as PyTorch uses.

Numba's own parallel loops would start a second pool beside PyTorch's, whose OpenMP form must not be used after a fork
and whose other form must not be entered by two threads at once. Functions that release the interpreter's lock need
neither: plain Python threads serve, and each process has its own.
"""

import ctypes
import functools
import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

PIECES_PER_THREAD = 4
"""Enough to even out threads that are slowed by others, few enough to cost nothing."""

_OMP_PAUSE_SOFT = 1

_pools: dict[int, ThreadPoolExecutor] = {}


def run_pieces(task: Callable[[int, int], None], length: int, *, step: int, worth_threads: bool) -> None:
    """Calls task(first, last) for consecutive pieces of range(length), each a multiple of `step` but the last.

    Args:
        worth_threads: False runs all of it here: small work is done before a thread has woken up.
    """
    num_threads = torch.get_num_threads() if worth_threads else 1
    num_steps = -(-length // step)
    if num_threads == 1 or num_steps == 1:
        task(0, length)
        return
    pieces = min(num_steps, num_threads * PIECES_PER_THREAD)
    bounds = [min(length, step * (num_steps * piece // pieces)) for piece in range(pieces + 1)]
    spans = list(itertools.pairwise(bounds))
    _stop_spinning()
    # Reading every result raises here what was raised in any piece.
    list(_pool(num_threads).map(lambda span: task(*span), spans))


def _pool(num_threads: int) -> ThreadPoolExecutor:
    if num_threads not in _pools:
        _pools[num_threads] = ThreadPoolExecutor(num_threads, thread_name_prefix="perceptio")
    return _pools[num_threads]


def _stop_spinning() -> None:
    """Sends PyTorch's idle OpenMP threads to rest: GNU's wait busily for milliseconds, on the cores that we want now.

    Measured with two cores: 18 ms of work take 22 after any PyTorch operation without this, and 0.1 ms more with it.
    """
    pause = _find_pause()
    if pause is not None:
        pause(_OMP_PAUSE_SOFT)


@functools.cache
def _find_pause() -> Callable[[int], int] | None:
    """Returns OpenMP 5.0's `omp_pause_resource_all` of the GNU library in this process, None where there is none."""
    no_load = getattr(os, "RTLD_NOLOAD", None)
    if no_load is None:
        return None
    try:
        pause: Callable[[int], int] = ctypes.CDLL("libgomp.so.1", mode=no_load | os.RTLD_LAZY).omp_pause_resource_all
    except (OSError, AttributeError):
        return None
    return pause


# A forked child has the parent's pools without their threads: it must start its own.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pools.clear)
