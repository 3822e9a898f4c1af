"""Log-mel spectrograms: how loud each band of pitch is over time."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np
import torch

from perceptio.errors import UsageError
from perceptio.shapes import Float, Tensor

MelScale: TypeAlias = Literal["slaney", "htk"]

# Slaney's scale (Auditory Toolbox, 1998): straight up to 1 kHz, which is 15 mel; then a factor of 6.4 for 27 mel.
_HZ_PER_MEL = 200 / 3
_BREAK_HZ = 1000.0
_BREAK_MEL = _BREAK_HZ / _HZ_PER_MEL
_LOG_STEP = math.log(6.4) / 27


def hz_to_mel(hz: np.ndarray | float, scale: MelScale) -> np.ndarray:
    """Returns pitches in mel.

    "htk": 2595 log10(1 + f / 700), so that 1 kHz is about 1000 mel. "slaney": 3 f / 200 up to 1 kHz (15 mel) and
    15 + 27 ln(f / 1000) / ln 6.4 above. The two count in different units.
    """
    hz = np.asarray(hz, np.float64)
    if scale == "htk":
        return np.asarray(2595.0 * np.log10(1.0 + hz / 700.0))
    above = _BREAK_MEL + np.log(np.maximum(hz, _BREAK_HZ) / _BREAK_HZ) / _LOG_STEP
    return np.where(hz < _BREAK_HZ, hz / _HZ_PER_MEL, above)


def mel_to_hz(mel: np.ndarray | float, scale: MelScale) -> np.ndarray:
    """Returns pitches in Hz: the inverse of `hz_to_mel`."""
    mel = np.asarray(mel, np.float64)
    if scale == "htk":
        return np.asarray(700.0 * (10.0 ** (mel / 2595.0) - 1.0))
    above = _BREAK_HZ * np.exp((np.maximum(mel, _BREAK_MEL) - _BREAK_MEL) * _LOG_STEP)
    return np.where(mel < _BREAK_MEL, mel * _HZ_PER_MEL, above)


def mel_matrix(num_bins: int, window: int, sample_rate_hz: int, scale: MelScale) -> np.ndarray:
    """Returns triangular filters of area 1 (in Hz): float64 (num_bins, window // 2 + 1).

    Their corners are evenly spaced in mel from 0 to half the sample rate; filter i rises from corner i to i + 1 and
    falls to i + 2. With area 1 ("Slaney normalisation") a filter's height is 2 over its width.
    """
    corners = mel_to_hz(np.linspace(0.0, float(hz_to_mel(sample_rate_hz / 2, scale)), num_bins + 2), scale)
    frequencies = np.fft.rfftfreq(window, 1 / sample_rate_hz)
    low, middle, high = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    triangles = np.minimum((frequencies - low) / (middle - low), (high - frequencies) / (high - middle))
    return np.asarray(np.maximum(triangles, 0.0) * 2.0 / (high - low))


@dataclass(frozen=True, kw_only=True)
class LogMel:
    """Turns samples into a log-mel spectrogram.

    Each frame is the power spectrum of `window` samples under a Hann window (periodic), divided by the window's sum of
    squares, averaged within each band by `mel_matrix`; then the natural logarithm. So white noise of variance v gives
    about ln v in every band, whatever the window. Up to a constant these are librosa's mel spectrograms.

    Raises:
        UsageError: a value is out of range, or a filter is so narrow that no frequency falls into it.
    """

    sample_rate_hz: int
    num_bins: int
    """Mel bands."""
    hop: int
    """Samples from one frame to the next."""
    window: int
    """Samples that a frame looks at."""
    scale: MelScale = "slaney"
    """Formula of the mel scale."""
    floor: float = 1e-10
    """Power that silence counts as: about the rounding noise of 16-bit samples."""

    def __post_init__(self) -> None:
        if min(self.sample_rate_hz, self.num_bins, self.hop) < 1:
            raise UsageError(
                "sample_rate_hz, mel_bins and hop must be at least 1: got "
                f"{self.sample_rate_hz}, {self.num_bins} and {self.hop}"
            )
        if self.window < max(self.hop, 4):
            raise UsageError(
                f"window must be at least 4 samples and no shorter than hop: got {self.window} and {self.hop}"
            )
        if self.scale not in ("slaney", "htk"):
            raise UsageError(f"mel_scale must be slaney or htk: got {self.scale!r}")
        if not self.floor > 0.0:
            raise UsageError(f"floor must be above 0: got {self.floor}")
        # Filters widen with pitch, so the lowest are the first that fall between two frequencies.
        empty = np.flatnonzero(~self._matrix.any(axis=1))
        if len(empty):
            raise UsageError(
                f"mel_bins must be fewer or window longer: with {self.num_bins} bins at {self.sample_rate_hz} Hz bin "
                f"{empty[0]} lies between two of the frequencies that a window of {self.window} tells apart"
            )

    def num_frames(self, num_samples: int) -> int:
        """Returns the number of frames: whole hops in the samples."""
        return num_samples // self.hop

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        """Returns natural logarithms of power, float32 (frames, num_bins), low pitch first.

        Frame k is centred on the middle of hop k: the samples are mirrored at both ends by (window - hop) / 2.

        Args:
            samples: (n,) with n at least `hop`, within [-1, 1].
        """
        if samples.ndim != 1 or len(samples) < self.hop:
            raise ValueError(f"LogMel expects (n,) with n at least {self.hop}, got {samples.shape}")
        missing = self.window - self.hop
        padded = np.pad(samples.astype(np.float32, copy=False), (missing // 2, missing - missing // 2), mode="reflect")
        spectrum = torch.stft(
            torch.from_numpy(padded),
            self.window,
            hop_length=self.hop,
            window=self._hann,
            center=False,
            return_complex=True,
        )
        power = spectrum.real.square() + spectrum.imag.square()
        bands = (self._filters @ power).clamp_(min=self.floor).log_()
        return np.ascontiguousarray(bands.numpy().T)

    @cached_property
    def _matrix(self) -> np.ndarray:
        return mel_matrix(self.num_bins, self.window, self.sample_rate_hz, self.scale)

    @cached_property
    def _hann(self) -> Float[Tensor, " window"]:
        return torch.hann_window(self.window, periodic=True, dtype=torch.float32)

    @cached_property
    def _filters(self) -> Float[Tensor, "bins frequencies"]:
        """The filters, scaled so that white noise comes out with about its variance."""
        hz_per_frequency = self.sample_rate_hz / self.window
        # The sum of squares of a periodic Hann window is 3/8 of its length.
        return torch.from_numpy((self._matrix * hz_per_frequency / (0.375 * self.window)).astype(np.float32))
