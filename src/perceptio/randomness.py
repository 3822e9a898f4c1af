"""Randomness as a function: every random choice is drawn from a generator keyed by what it is for.

Nothing random is ever saved. The crop of sample 17 in epoch 3 is the same in any process, in any worker and after any
number of restarts, because its generator is `generator(seed, "sample", 3, 17)`.
"""

import hashlib

import numpy as np


def derive(*key: int | str) -> int:
    """Returns a 63-bit seed that depends on every part of the key; unlike `hash()`, the same in every process."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in key)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(*key: int | str) -> np.random.Generator:
    """Returns the random generator of a key, such as `generator(seed, "sample", epoch, index)`."""
    return np.random.Generator(np.random.PCG64(derive(*key)))
