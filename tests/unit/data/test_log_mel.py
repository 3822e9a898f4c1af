"""The mel scales against published values, the spectrogram against sums written out in float64."""

import math
import pickle

import numpy as np
import pytest
from transformers.audio_utils import mel_filter_bank

from perceptio.data.log_mel import LogMel, hz_to_mel, mel_matrix, mel_to_hz
from perceptio.errors import UsageError

# float32 has 24 bits; a power is a sum of squares of some hundred terms, and its logarithm turns relative errors of
# about 1e-5 into absolute ones.
LOG_TOLERANCE = 2e-4


def test_published_points_of_the_mel_scales() -> None:
    # HTK Book, and the round numbers that its formula was made for; librosa's documentation of hz_to_mel, mel_to_hz.
    assert hz_to_mel(1000.0, "htk") == pytest.approx(999.9855, abs=1e-4)
    np.testing.assert_allclose(hz_to_mel(np.array([60.0, 110, 220, 440, 1000]), "slaney"), [0.9, 1.65, 3.3, 6.6, 15])
    np.testing.assert_allclose(mel_to_hz(np.array([1.0, 2, 3, 4, 5]), "slaney"), np.arange(1, 6) * 200 / 3)
    np.testing.assert_allclose(hz_to_mel(6400.0, "slaney"), 42.0)
    # librosa's documentation of mel_frequencies(n_mels=40), which ends at 11,025 Hz.
    points = mel_to_hz(np.linspace(0, hz_to_mel(11_025.0, "slaney"), 40), "slaney")
    published = {1: 85.317, 11: 938.49, 12: 1024.856, 13: 1119.114, 34: 7101.009, 39: 11_025.0}
    for index, hz in published.items():
        assert points[index] == pytest.approx(hz, abs=5e-4)


@pytest.mark.parametrize("scale", ["slaney", "htk"])
def test_scales_invert(scale: str) -> None:
    hz = np.array([0.0, 31, 999, 1000, 1001, 24_000])
    np.testing.assert_allclose(mel_to_hz(hz_to_mel(hz, scale), scale), hz, rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("scale", ["slaney", "htk"])
@pytest.mark.parametrize(("bins", "window", "rate"), [(60, 1536, 48_000), (23, 512, 16_000), (40, 2048, 22_050)])
def test_the_matrix_is_that_of_another_library(bins: int, window: int, rate: int, scale: str) -> None:
    expected = mel_filter_bank(window // 2 + 1, bins, 0.0, rate / 2, rate, norm="slaney", mel_scale=scale)
    np.testing.assert_allclose(mel_matrix(bins, window, rate, scale), expected.T, rtol=1e-9, atol=1e-15)


def test_filters_have_area_one() -> None:
    # A long window samples the triangles finely; the sum approaches the integral.
    matrix = mel_matrix(7, 2**17, 16_000, "slaney")
    np.testing.assert_allclose(matrix.sum(axis=1) * 16_000 / 2**17, np.ones(7), rtol=1e-5)


def oracle(samples: np.ndarray, log_mel: LogMel) -> np.ndarray:
    """The docstring of LogMel in float64, sum by sum."""
    window, hop = log_mel.window, log_mel.hop
    hann = np.array([0.5 - 0.5 * math.cos(2 * math.pi * k / window) for k in range(window)])
    turns = np.exp(-2j * np.pi * np.outer(np.arange(window // 2 + 1), np.arange(window)) / window)
    missing = window - hop
    before = samples[1 : missing // 2 + 1][::-1]
    after = samples[-(missing - missing // 2) - 1 : -1][::-1]
    padded = np.concatenate([before, samples, after]).astype(np.float64)
    filters = mel_filter_bank(
        window // 2 + 1, log_mel.num_bins, 0.0, log_mel.sample_rate_hz / 2, log_mel.sample_rate_hz,
        norm="slaney", mel_scale=log_mel.scale,
    )  # fmt: skip
    frames = []
    for k in range(len(samples) // hop):
        power = np.abs(turns @ (padded[k * hop : k * hop + window] * hann)) ** 2 / (hann**2).sum()
        frames.append(np.log(np.maximum(power @ filters * log_mel.sample_rate_hz / window, log_mel.floor)))
    return np.stack(frames)


@pytest.mark.parametrize("scale", ["slaney", "htk"])
@pytest.mark.parametrize(
    ("hop", "window", "num_samples"), [(96, 256, 7 * 96), (128, 256, 5 * 128 + 31), (101, 254, 606)]
)
def test_values(scale: str, hop: int, window: int, num_samples: int) -> None:
    random = np.random.default_rng(0)
    samples = (random.normal(0, 0.1, num_samples) + 0.4 * np.sin(np.arange(num_samples) * 0.7)).astype(np.float32)
    log_mel = LogMel(sample_rate_hz=8000, num_bins=13, hop=hop, window=window, scale=scale)
    found = log_mel(samples)
    assert found.dtype == np.float32
    assert found.shape == (num_samples // hop, 13) == (log_mel.num_frames(num_samples), 13)
    np.testing.assert_allclose(found, oracle(samples, log_mel), rtol=0, atol=LOG_TOLERANCE)


def test_the_papers_count_of_values() -> None:
    log_mel = LogMel(sample_rate_hz=48_000, num_bins=60, hop=768, window=1536)
    assert log_mel(np.zeros(61_440, np.float32)).size == 4800


@pytest.mark.parametrize("window", [512, 1536])
def test_white_noise_comes_out_with_its_variance(window: int) -> None:
    """The mean over n frames of a power has a deviation of about 1 / sqrt(n): here 1 / 40, and less in wide bands."""
    noise = np.random.default_rng(0).normal(0, 0.1, 1600 * 512).astype(np.float32)
    log_mel = LogMel(sample_rate_hz=16_000, num_bins=20, hop=512, window=window)
    means = np.exp(log_mel(noise).astype(np.float64)).mean(axis=0)
    # A filter of a few frequencies only samples its triangle: its sum is off by some per cent.
    np.testing.assert_allclose(means / 0.01, np.ones(20), rtol=0, atol=5 / 40 + 0.03)


def test_a_tone_shows_in_its_band_and_at_its_time() -> None:
    rate, hop = 16_000, 256
    samples = np.zeros(20 * hop, np.float32)
    samples[8 * hop : 12 * hop] = np.sin(2 * np.pi * 2000 * np.arange(4 * hop) / rate)
    found = LogMel(sample_rate_hz=rate, num_bins=24, hop=hop, window=512)(samples)
    centres = mel_to_hz(np.linspace(0, hz_to_mel(rate / 2, "slaney"), 26)[1:-1], "slaney")
    assert found[9:11].argmax(axis=1).tolist() == [np.abs(centres - 2000).argmin()] * 2
    loud = np.flatnonzero(found.max(axis=1) > -5)
    assert loud.min() >= 7
    assert loud.max() <= 12
    # Frame k is centred on hop k: what comes before a sound is as what comes after it.
    np.testing.assert_allclose(found[7].max(), found[12].max(), rtol=0, atol=0.5)


def test_silence_is_the_floor() -> None:
    found = LogMel(sample_rate_hz=16_000, num_bins=5, hop=128, window=256)(np.zeros(640, np.float32))
    np.testing.assert_allclose(found, np.full((5, 5), np.log(1e-10)), rtol=1e-6)


def test_it_travels_to_other_processes() -> None:
    log_mel = LogMel(sample_rate_hz=16_000, num_bins=5, hop=128, window=256)
    samples = np.random.default_rng(0).normal(0, 0.1, 640).astype(np.float32)
    first = log_mel(samples)
    copy = pickle.loads(pickle.dumps(log_mel))  # noqa: S301 - what was just written
    assert copy == log_mel
    np.testing.assert_array_equal(copy(samples), first)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hop": 0}, r"^sample_rate_hz, mel_bins and hop must be at least 1: got 16000, 20 and 0$"),
        ({"window": 255}, r"^window must be at least 4 samples and no shorter than hop: got 255 and 256$"),
        ({"floor": 0.0}, r"^floor must be above 0: got 0.0$"),
        (
            {"num_bins": 128},
            r"^mel_bins must be fewer or window longer: with 128 bins at 16000 Hz bin 0 lies between two of the "
            r"frequencies that a window of 256 tells apart$",
        ),
    ],
)
def test_settings_that_cannot_be(changes: dict, message: str) -> None:
    settings = {"sample_rate_hz": 16_000, "num_bins": 20, "hop": 256, "window": 256}
    with pytest.raises(UsageError, match=message):
        LogMel(**{**settings, **changes})


def test_a_scale_that_is_none() -> None:
    """The type forbids it, which these tests check and a program that reads a config file does not."""
    log_mel = LogMel(sample_rate_hz=16_000, num_bins=5, hop=128, window=256)
    object.__setattr__(log_mel, "scale", "bark")
    with pytest.raises(UsageError, match=r"^mel_scale must be slaney or htk: got 'bark'$"):
        log_mel.__post_init__()


def test_samples_that_cannot_be() -> None:
    log_mel = LogMel(sample_rate_hz=16_000, num_bins=5, hop=128, window=256)
    for shape in ((127,), (128, 1)):
        with pytest.raises(ValueError, match=rf"^LogMel expects \(n,\) with n at least 128, got \({shape[0]},"):
            log_mel(np.zeros(shape, np.float32))
