"""Sound as arrays: every kind of sample as float32, any number of channels as one or two, any rate as any other."""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from perceptio.data.limits import Limits
from perceptio.data.media import load_av
from perceptio.errors import FileError

# Floating-point files may go a little past full scale; a thousand times as loud are whole numbers in disguise.
_MAX_PEAK = 100.0
_FULL_SCALE = {"i1": 2.0**7, "i2": 2.0**15, "i4": 2.0**31, "i8": 2.0**63}
# The filter of FFmpeg's resampler reaches 16 samples to either side, of the slower of the two rates.
_FILTER_REACH = 32


def as_float(samples: np.ndarray) -> np.ndarray:
    """Returns samples of any kind as float32: whole numbers are divided by their full scale, so that it becomes 1.

    Raises:
        FileError: a sample is NaN or infinite, lies far beyond full scale, or is no number.
    """
    kind = samples.dtype
    if kind == np.uint8:
        centred: np.ndarray = samples.astype(np.float32) - np.float32(128.0)
        return centred * np.float32(1 / 128.0)
    if kind.kind == "i":
        # In float64 first: float32 would round 32-bit samples before they are scaled.
        scale = 1 / _FULL_SCALE[kind.str[1:]]
        if kind.itemsize <= 2:
            return np.asarray(samples.astype(np.float32) * np.float32(scale))
        return np.asarray((samples.astype(np.float64) * scale).astype(np.float32))
    if kind.kind != "f":
        raise FileError(f"its samples are {kind}; they must be whole or floating-point numbers")
    peak = float(np.max(np.abs(samples))) if samples.size else 0.0
    if not math.isfinite(peak):
        raise FileError("holds samples that are no numbers (NaN or infinite)")
    if peak > _MAX_PEAK:
        raise FileError(f"has samples up to {peak:,.0f}; floating-point sound must lie within -1 to 1")
    return samples.astype(np.float32)


def mixing_weights(names: Sequence[str], num_channels: Literal[1, 2]) -> np.ndarray:
    """Returns how much of each channel of a file goes to each wanted channel: (channels of the file, num_channels).

    One channel is the plain mean of all, as in librosa, so that it never leaves [-1, 1]. Two channels: each side is
    the plain mean of its own channels and of those in the middle. The bass effects channel (LFE) is left out where
    there is another.

    Args:
        names: FFmpeg's names, such as ("FL", "FR", "FC", "LFE", "BL", "BR"). Channels of unknown place stand in the
            middle, except that two of them are left and right.
    """
    if len(names) == 2 and not any("L" in name or "R" in name for name in names):
        names = ("FL", "FR")
    effects = np.array([name.startswith("LFE") for name in names])
    if effects.all():
        effects[:] = False
    if num_channels == 1:
        sides = [~effects]
    else:
        left = np.array(["L" in name for name in names])
        right = np.array(["R" in name for name in names])
        sides = [~effects & ~right, ~effects & ~left]
        sides = [side if side.any() else ~effects for side in sides]
    return np.stack([side / side.sum() for side in sides], axis=1).astype(np.float32)


def mixed(samples: np.ndarray, names: Sequence[str], num_channels: Literal[1, 2]) -> np.ndarray:
    """Returns float32 samples (n, channels of the file) as (n, num_channels); see `mixing_weights`."""
    if samples.shape[1] == num_channels == 1:
        return samples
    recipe = _mixing_recipe(tuple(names), num_channels)
    if recipe is None:
        return samples
    # Channel by channel: a matrix product of so narrow matrices may run in several threads, and sums in any order.
    found = np.zeros((len(samples), num_channels), np.float32)
    for target, sources in enumerate(recipe):
        for source, weight in sources:
            found[:, target] += samples[:, source] * weight
    return found


# Asked for every packet: a hundredth of a second. Files name channels as they like, so that it must not grow.
@lru_cache(maxsize=64)
def _mixing_recipe(names: tuple[str, ...], num_channels: Literal[1, 2]) -> list[list[tuple[int, np.float32]]] | None:
    """Returns the (channel, weight) pairs of each wanted channel; None: the channels are what is wanted."""
    weights = mixing_weights(names, num_channels)
    if np.array_equal(weights, np.eye(num_channels)):
        return None
    return [[(source, weight) for source, weight in enumerate(column) if weight] for column in weights.T]


def window_at_rate(
    window: Callable[[int, int], np.ndarray],
    source_hz: int,
    start_seconds: float,
    num_samples: int,
    target_hz: int,
    num_channels: int,
    limits: Limits,
) -> np.ndarray:
    """Returns a window of a sound at another rate, within [-1, 1]: the same samples as if all of it were resampled.

    Resampling starts at a sample that both rates share and far enough before the window, so that two windows that
    overlap agree on what they have in common.

    Args:
        window: returns samples (count, num_channels) at the source rate from (first sample, count), zeros outside.
        start_seconds: rounded to the nearest sample of the target rate.

    Raises:
        FileError: the window would be too large at the source rate.
    """
    first = round(start_seconds * target_hz)
    if source_hz == target_hz:
        return _bounded(window(first, _checked(num_samples, source_hz, num_channels, limits)))
    shared = math.gcd(source_hz, target_hz)
    source_step, target_step = source_hz // shared, target_hz // shared
    reach = math.ceil(_FILTER_REACH * max(1.0, source_hz / target_hz))
    lead = math.ceil(reach * target_hz / source_hz)
    block = (first - lead) // target_step
    skipped = first - block * target_step
    count = math.ceil((skipped + num_samples) * source_hz / target_hz) + reach
    source = window(block * source_step, _checked(count, source_hz, num_channels, limits))
    return _bounded(_resampled(source, source_hz, target_hz)[skipped : skipped + num_samples])


def _checked(count: int, source_hz: int, num_channels: int, limits: Limits) -> int:
    if count * num_channels > limits.max_window_values:
        raise FileError(
            f"a window of {count / source_hz:,.1f} s has {count:,} samples at its {source_hz:,} Hz; the limit is "
            f"{limits.max_window_values // num_channels:,} (--source.limits.max-window-values)"
        )
    return count


def _resampled(samples: np.ndarray, source_hz: int, target_hz: int) -> np.ndarray:
    """Returns samples at another rate, as `av.AudioResampler` does, but in this thread.

    That class lets FFmpeg start a pool of threads for each window, and waits for it: on two busy cores 8 ms of the
    16 ms that a drum hit took in all, against 0.3 ms for the work itself.
    """
    av: Any = load_av()
    channels = samples.shape[1]
    layout = "mono" if channels == 1 else "stereo"
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples).reshape(1, -1), format="flt", layout=layout)
    frame.sample_rate = source_hz
    graph = av.filter.Graph()
    graph.threads = 1
    source = graph.add_abuffer(format="flt", layout=layout, sample_rate=source_hz)
    target = graph.add("aformat", f"sample_fmts=flt:sample_rates={target_hz}:channel_layouts={layout}")
    sink = graph.add("abuffersink")
    graph.link_nodes(source, target, sink).configure()
    source.push(frame)
    source.push(None)
    return np.concatenate([part.reshape(-1, channels) for part in _pulled(sink, av.error.EOFError)])


def _pulled(sink: Any, end: type[Exception]) -> Iterator[np.ndarray]:
    """Yields what comes out at the end of a graph that has been given everything."""
    while True:
        try:
            yield sink.pull().to_ndarray()
        except end:
            return


def _bounded(samples: np.ndarray) -> np.ndarray:
    # Lossy decoders and resampling overshoot full scale a little; a player's output stage cuts that off as well.
    return np.asarray(np.clip(samples, -1.0, 1.0))
