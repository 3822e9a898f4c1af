"""What audio looks like to people: waveforms as lines, spectrograms in grey, time from left to right."""

import math

import numpy as np

MAX_COLUMNS = 1024
"""A waveform's picture has a column for each token, or for several where there are more tokens than this."""

_LANES_HEIGHT = 96
_LEAST_WIDTH = 384
_SPECTROGRAM_LEAST = (192, 320)
# How far below its loudest value a spectrogram is shown: 80 decibels as a natural logarithm of power.
_SHOWN_LOG_POWER = 80 / 10 * math.log(10)
_PAPER, _AXIS, _INK = 255, 190, 20


def waveform_picture(samples: np.ndarray, num_tokens: int) -> np.ndarray:
    """Returns samples (n, channels) as a line picture, uint8 (96, width, 1), one lane below the other.

    Each column is inked from the lowest to the highest sample of its time. The loudest sample reaches the edge of its
    lane, so that quiet sounds can be seen. The width is a multiple of the columns of `waveform_spread`.
    """
    columns = min(num_tokens, MAX_COLUMNS)
    width = columns * math.ceil(_LEAST_WIDTH / columns)
    num_lanes = samples.shape[1]
    height = _LANES_HEIGHT // num_lanes
    peak = max(float(np.abs(samples).max()), 1e-6)
    # A column of a picture wider than the sound shows the sample that it falls into.
    edges = np.arange(width) * len(samples) // width
    picture = np.full((num_lanes * height, width, 1), _PAPER, np.uint8)
    rows = np.arange(height)[:, None]
    for lane in range(num_lanes):
        wave = samples[:, lane] / peak
        # Neighbouring columns share a sample, so that the line has no breaks.
        following = wave[np.minimum(np.append(edges[1:], len(wave)), len(wave) - 1)]
        high = np.maximum(np.maximum.reduceat(wave, edges), following)
        low = np.minimum(np.minimum.reduceat(wave, edges), following)
        top = np.round((1.0 - high) / 2 * (height - 1))
        bottom = np.round((1.0 - low) / 2 * (height - 1))
        part = picture[lane * height : (lane + 1) * height, :, 0]
        part[height // 2] = _AXIS
        part[(rows >= top) & (rows <= bottom)] = _INK
    return picture


def waveform_spread(scores: np.ndarray) -> np.ndarray:
    """Returns scores (tokens,) as (1, columns), means where several tokens share a column of the picture."""
    columns = min(len(scores), MAX_COLUMNS)
    edges = np.append(np.arange(columns) * len(scores) // columns, len(scores))
    return (np.add.reduceat(scores, edges[:-1]) / np.diff(edges))[None, :]


def spectrogram_picture(spectrogram: np.ndarray) -> np.ndarray:
    """Returns log power (frames, bins) in grey, uint8 (height, width, 1), low pitch at the bottom, loud in white.

    What is 80 decibels or more below the loudest value is black. Small spectrograms are enlarged by whole factors.
    """
    top = float(spectrogram.max())
    bottom = max(float(spectrogram.min()), top - _SHOWN_LOG_POWER)
    grey = np.clip((spectrogram - bottom) / max(top - bottom, 1e-6), 0.0, 1.0)
    upright = np.round(255 * upright_spectrogram(grey)).astype(np.uint8)
    for axis, least in enumerate(_SPECTROGRAM_LEAST):
        upright = np.repeat(upright, math.ceil(least / upright.shape[axis]), axis=axis)
    return upright[:, :, None]


def upright_spectrogram(spectrogram: np.ndarray) -> np.ndarray:
    """Returns (frames, bins) as (bins, frames) with the lowest bin at the bottom."""
    return np.ascontiguousarray(spectrogram.T[::-1])
