"""What AudioModality accepts, reads and shows."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from perceptio.data.limits import Limits
from perceptio.data.log_mel import LogMel
from perceptio.data.spec_augment import SpecAugment
from perceptio.errors import AbsentError, FileError, UsageError
from perceptio.inputs.grid import GridEncoding, GridInput
from perceptio.modalities.audio import RATES_HZ, AudioModality
from perceptio.modalities.contract import Content
from support.sounds import encode, tones, wav_bytes

LIMITS = Limits()
# 5 segments of 7 samples; 11 frames of 16 samples in 3 bins.
WAVE = AudioModality(features="waveform", sample_rate_hz=8000, clip_samples=35, segment=7)
MEL = AudioModality(sample_rate_hz=8000, clip_samples=176, hop=16, window=32, mel_bins=3)


def clip(modality: AudioModality, item, start: float = 0.0, random: np.random.Generator | None = None) -> np.ndarray:
    content = modality.open(item, LIMITS)
    try:
        assert isinstance(content, Content)
        return content.view(start, random)
    finally:
        content.close()


def test_the_papers_sizes() -> None:
    """Section 4.2: 1.28 s at 48 kHz are 61,440 samples, as 480 segments of 128, or 4,800 log-mel values."""
    wave = AudioModality(features="waveform")
    assert wave.clip_seconds == 1.28
    assert wave.blends
    assert (wave.input_config().num_tokens, wave.input_config().token_channels) == (480, 128)
    assert wave.describe() == "61,440 samples (1.28 s at 48 kHz)"
    mel = AudioModality()
    assert mel.input_config().token_axes == (80, 60)
    assert (mel.input_config().num_tokens, mel.input_config().token_channels) == (4800, 1)
    assert mel.describe() == "80 frames x 60 mel bins (1.28 s at 48 kHz)"
    assert replace(mel, flatten=True).input_config().token_axes == (4800,)
    assert AudioModality(features="waveform", num_channels=2).describe() == (
        "61,440 samples x 2 channels (1.28 s at 48 kHz)"
    )


@pytest.mark.parametrize("modality", [WAVE, replace(WAVE, num_channels=2), MEL, replace(MEL, flatten=True)])
def test_views_fit_the_input(modality: AudioModality) -> None:
    config = modality.input_config()
    view = clip(modality, np.random.default_rng(0).uniform(-1, 1, (211, 2)))
    assert view.dtype == np.float32
    assert view.shape == (*config.axes, config.channels)
    prepared = modality.prepare(torch.from_numpy(view)[None])
    assert prepared.dtype == torch.float32
    tokens = GridInput(config)(prepared)
    assert tokens.num_tokens == config.num_tokens


def test_values_of_a_waveform(tmp_path: Path) -> None:
    stored = np.random.default_rng(0).integers(-(2**15), 2**15, (101, 2))
    path = tmp_path / "a.wav"
    path.write_bytes(wav_bytes(stored, 8000, bits=16))
    both = replace(WAVE, num_channels=2)
    np.testing.assert_array_equal(clip(both, path, start=11 / 8000), stored[11:46] / 2**15)
    np.testing.assert_array_equal(clip(both, stored.astype(np.int16), start=11 / 8000), stored[11:46] / 2**15)
    np.testing.assert_allclose(clip(WAVE, path)[:, 0], stored[:35].mean(axis=1) / 2**15, rtol=0, atol=1e-7)
    late = clip(both, path, start=90 / 8000)
    np.testing.assert_array_equal(late, np.concatenate([stored[90:] / 2**15, np.zeros((24, 2))]))
    content = both.open(path, LIMITS)
    assert content.seconds == 101 / 8000
    content.close()


def test_values_of_a_spectrogram() -> None:
    samples = np.random.default_rng(0).uniform(-1, 1, 400).astype(np.float32)
    expected = LogMel(sample_rate_hz=8000, num_bins=3, hop=16, window=32)(samples[40:216])
    found = clip(MEL, samples, start=40 / 8000)
    np.testing.assert_array_equal(found[:, :, 0], expected)
    flat = clip(replace(MEL, flatten=True), samples, start=40 / 8000)
    np.testing.assert_array_equal(flat[:, 0], expected.reshape(-1))
    prepared = replace(MEL, mean=-7.0, std=3.0).prepare(torch.from_numpy(found)[None])
    np.testing.assert_allclose(prepared[0, :, :, 0], (expected + 7) / 3, rtol=1e-6)
    htk = clip(replace(MEL, mel_scale="htk"), samples)
    assert not np.allclose(htk, clip(MEL, samples), rtol=0, atol=0.1)


def test_a_sound_of_another_rate_is_resampled(tmp_path: Path) -> None:
    """A sine of 500 Hz at 44.1 kHz is one of 500 Hz at 8 kHz."""
    path = tmp_path / "a.wav"
    path.write_bytes(wav_bytes(2**14 * np.sin(2 * np.pi * 500 * np.arange(44_100) / 44_100)[:, None], 44_100, bits=16))
    found = clip(WAVE, path, start=0.5)[:, 0]
    # The resampler's filter ripples by a thousandth.
    np.testing.assert_allclose(found, 0.5 * np.sin(2 * np.pi * 500 * (0.5 + np.arange(35) / 8000)), rtol=0, atol=2e-3)


def test_gain() -> None:
    samples = np.random.default_rng(0).uniform(-0.9, 0.9, 35).astype(np.float32)
    loud = replace(WAVE, gain_db=6.0)
    np.testing.assert_array_equal(clip(loud, samples)[:, 0], samples)
    small = samples / 4
    gains = []
    for seed in range(100):
        view = clip(loud, small, random=np.random.default_rng(seed))[:, 0]
        gain = 20 * np.log10(view[3] / small[3])
        np.testing.assert_allclose(view, small * 10 ** (gain / 20), rtol=1e-5)
        gains.append(gain)
    # The largest of 100 uniform draws is above 5.4 of 6 but for a chance of 0.95 ** 100 = 0.6 %.
    assert -6 <= min(gains) < -5.4 < 5.4 < max(gains) <= 6
    assert np.abs(clip(replace(WAVE, gain_db=60.0), samples, random=np.random.default_rng(5))).max() <= 1.0
    np.testing.assert_array_equal(clip(WAVE, samples, random=np.random.default_rng(0))[:, 0], samples)


def test_spec_augment_is_for_training_only() -> None:
    samples = np.random.default_rng(0).uniform(-1, 1, 400).astype(np.float32)
    masked = replace(MEL, spec_augment=SpecAugment(num_time_masks=2, max_time_frames=5))
    plain = clip(MEL, samples)
    np.testing.assert_array_equal(clip(masked, samples), plain)
    views = [clip(masked, samples, random=np.random.default_rng(seed)) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(views[0], views[1])
    assert not np.array_equal(views[0], views[2])
    hidden = views[0] != plain
    assert hidden.any()
    np.testing.assert_allclose(views[0][hidden], plain.mean(), rtol=1e-5)


def test_pictures_of_waveforms() -> None:
    ramp = np.linspace(-0.5, 0.5, 35, dtype=np.float32)[:, None]
    picture = WAVE.picture(ramp)
    assert picture.shape == (96, 385, 1)
    assert picture.dtype == np.uint8
    ink = picture[:, :, 0] < 100
    heights = [np.flatnonzero(column).mean() for column in ink.T]
    assert heights[0] == 95
    assert heights[-1] == 0
    assert np.all(np.diff(heights) <= 0)
    assert ink.any(axis=0).all()
    silent = WAVE.picture(np.zeros((35, 1), np.float32))[:, :, 0]
    assert (silent < 100).sum(axis=0).tolist() == [1] * 385
    both = replace(WAVE, num_channels=2).picture(np.concatenate([ramp, 0 * ramp], axis=1))[:, :, 0] < 100
    assert both.shape == (96, 385)
    assert both[:48].sum() > 0
    assert np.flatnonzero(both[48:].any(axis=1)).tolist() == [24]


def test_a_picture_shows_the_loudest_and_the_quietest_sample_of_each_column() -> None:
    modality = AudioModality(features="waveform", clip_samples=61_440)
    samples = np.zeros((61_440, 1), np.float32)
    samples[30_000], samples[45_001] = 1.0, -1.0
    ink = modality.picture(samples)[:, :, 0] < 100
    assert ink.shape == (96, 480)
    assert np.flatnonzero(ink[0]).tolist() == [30_000 // 128]
    assert np.flatnonzero(ink[95]).tolist() == [45_001 // 128]


def test_spreading_over_waveforms() -> None:
    scores = np.array([2.0, 3, 5, 7, 11])
    np.testing.assert_array_equal(WAVE.spread(np.zeros((35, 1)), scores), scores[None])
    assert WAVE.picture(np.zeros((35, 1), np.float32)).shape[1] % 5 == 0
    fine = AudioModality(features="waveform", sample_rate_hz=8000, clip_samples=2053, segment=1)
    scores = np.random.default_rng(0).uniform(size=2053)
    spread = fine.spread(np.zeros((2053, 1)), scores)
    assert spread.shape == (1, 1024)
    assert fine.picture(np.zeros((2053, 1), np.float32)).shape[1] == 1024
    for column in (0, 500, 1023):
        first, last = column * 2053 // 1024, (column + 1) * 2053 // 1024
        assert spread[0, column] == pytest.approx(scores[first:last].mean())


@pytest.mark.parametrize("flatten", [False, True])
def test_pictures_and_spreading_of_spectrograms(flatten: bool) -> None:
    modality = replace(MEL, flatten=flatten)
    values = np.full((11, 3), -20.0, np.float32)
    values[2, 0], values[7, 2] = 0.0, -9.0
    view = values.reshape(-1, 1) if flatten else values[:, :, None]
    picture = modality.picture(view)
    assert picture.dtype == np.uint8
    # Enlarged by whole factors: 3 bins to 192 rows, 11 frames to 330 columns.
    assert picture.shape == (192, 330, 1)
    small = picture[::64, ::30, 0]
    np.testing.assert_array_equal(np.repeat(np.repeat(small, 64, 0), 30, 1), picture[:, :, 0])
    # Low pitch at the bottom, time from left to right, the loudest white; black is 80 decibels (18.4) below.
    assert small[2, 2] == 255
    assert small[0, 7] == round(255 * (1 - 9 / (8 * np.log(10))))
    assert np.count_nonzero(small) == 2
    scores = np.arange(33.0).reshape(11, 3)
    spread = modality.spread(view, scores.reshape(-1) if flatten else scores)
    assert spread.shape == (3, 11)
    assert spread[2, 2] == scores[2, 0]
    assert spread[0, 7] == scores[7, 2]
    assert modality.picture(np.zeros_like(view)).shape == picture.shape


def test_spreading_with_patches() -> None:
    two = replace(MEL, clip_samples=192, mel_bins=4, encoding=GridEncoding(patch=(3, 2)))
    scores = np.arange(8.0).reshape(4, 2)
    np.testing.assert_array_equal(two.spread(np.zeros((12, 4, 1)), scores), scores.T[::-1])
    one = replace(MEL, flatten=True, clip_samples=192, mel_bins=4, encoding=GridEncoding(patch=(6,)))
    spread = one.spread(np.zeros((48, 1)), np.arange(8.0))
    # Six values of four bins a frame: the first token has all of frame 0 and the lower half of frame 1.
    assert spread[:, 0].tolist() == [0, 0, 0, 0]
    assert spread[:, 1].tolist() == [1, 1, 0, 0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sample_rate_hz": 0}, r"^sample_rate_hz must be 1 to 1,000,000: got 0$"),
        ({"clip_samples": 0}, r"^clip_samples must be 1 to 67,108,864: got 0$"),
        ({"gain_db": -1.0}, r"^gain_db must lie in 0 to 60: got -1.0$"),
        ({"segment": 64}, r"^segment has no effect with features='log_mel'; leave it at its default, 128$"),
        ({"num_channels": 2}, r"^num_channels must be 1 with log_mel: files are mixed down. Set features='waveform'$"),
        ({"hop": 1000}, r"^hop must divide clip_samples: got 1000 and 61440; 61000 or 62000 samples would do$"),
        ({"hop": 512, "clip_samples": 1024}, r"^clip_samples must be at least window: got 1024 and 1536$"),
        ({"window": 512}, r"^window must be at least 4 samples and no shorter than hop: got 512 and 768$"),
        ({"std": 0.0}, r"^mean and std must be finite and std above 0: got -10.0 and 0.0$"),
        ({"mel_bins": 500}, r"^mel_bins must be fewer or window longer: with 500 bins at 48000 Hz bin 0 "),
        (
            {"spec_augment": SpecAugment(num_time_masks=1, max_time_frames=81)},
            r"^spec_augment must not hide more than there is: got max_time_frames 81 of 80 and max_frequency_bins 0 of "
            r"60$",
        ),
        ({"encoding": GridEncoding(patch=(7, 1))}, r"^patch must divide the axes: got patch \(7, 1\) and axes \(80, "),
        ({"features": "waveform", "hop": 512}, r"^hop has no effect with features='waveform'; leave it at its "),
        (
            {"features": "waveform", "spec_augment": SpecAugment(num_time_masks=1, max_time_frames=8)},
            r"^spec_augment has no effect with features='waveform'; leave it at its default$",
        ),
        (
            {"features": "waveform", "segment": 1000},
            r"^segment must divide clip_samples: got 1000 and 61440; 61000 or 62000 samples would do$",
        ),
        (
            {"features": "waveform", "encoding": GridEncoding(patch=(8,))},
            r"^encoding.patch must be empty with waveform: got \(8,\). Set segment$",
        ),
    ],
)  # fmt: skip
def test_settings_that_cannot_be(changes: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        AudioModality(**changes)


@pytest.mark.parametrize("rate", RATES_HZ)
def test_what_was_chosen_for_files_can_be_heard_as_samples(rate: int) -> None:
    """Hop, bins and masks of the choice are nobody's wish: they give way to the features that are."""
    for candidate in AudioModality.candidates([{"seconds": 9.0, "sample_rate_hz": rate, "num_channels": 2}]):
        modality = candidate.modality.adapted({"features": "waveform", "num_channels": 2})
        assert modality == AudioModality(
            features="waveform",
            num_channels=2,
            sample_rate_hz=candidate.modality.sample_rate_hz,
            clip_samples=candidate.modality.clip_samples,
        )


def test_features_that_are_not_changed_keep_their_fields_and_wishes_without_effect_are_refused() -> None:
    fine = AudioModality(hop=512, window=1024)
    assert fine.adapted({"mel_bins": 40}) == replace(fine, mel_bins=40)
    assert fine.adapted({"features": "log_mel"}) == fine
    raw = AudioModality(features="waveform", segment=256)
    assert raw.adapted({"features": "log_mel", "gain_db": 3.0}) == AudioModality(gain_db=3.0)
    with pytest.raises(UsageError, match=r"^hop has no effect with features='waveform'; leave it at its default$"):
        fine.adapted({"features": "waveform", "hop": 512})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("features", "mfcc", r"^features must be log_mel or waveform: got 'mfcc'$"),
        ("num_channels", 3, r"^num_channels must be 1 or 2: got 3$"),
    ],
)
def test_words_that_mean_nothing(name: str, value: object, message: str) -> None:
    """The types forbid them, which these tests check and a program that reads a config file does not."""
    modality = AudioModality()
    object.__setattr__(modality, name, value)
    with pytest.raises(UsageError, match=message):
        modality.__post_init__()


def test_probe_and_check(tmp_path: Path) -> None:
    good = encode(tmp_path / "a.flac", tones(17, 22_050, 2), 22_050, "flac")
    assert MEL.probe(good, LIMITS) == {"seconds": 17.0, "sample_rate_hz": 22_050.0, "num_channels": 2.0}
    MEL.check(good, LIMITS)
    raw = bytearray(good.read_bytes())
    raw[len(raw) // 2 : len(raw) // 2 + 3000] = bytes(3000)
    bad = tmp_path / "b.flac"
    bad.write_bytes(raw)
    MEL.probe(bad, LIMITS)
    with pytest.raises(FileError, match=r"^damaged: its sound is broken [89]\.\d\d s after the beginning$"):
        MEL.check(bad, LIMITS)
    empty = tmp_path / "c.wav"
    empty.write_bytes(wav_bytes(np.zeros((0, 1)), 8000, bits=16))
    for work in (MEL.probe, MEL.check, MEL.open):
        with pytest.raises(AbsentError, match=r"^its sound is empty \(0 samples\)$"):
            work(empty, LIMITS)


def facts(*seconds: float, rate: float = 16_000) -> list[dict[str, float]]:
    return [{"seconds": one, "sample_rate_hz": rate, "num_channels": 1} for one in seconds]


@pytest.mark.parametrize(
    ("lasting", "longest", "steps"),
    [(0.2, 0.64, 1), (0.9, 1.28, 2), (1.0, 1.28, 2), (2.0, 2.56, 3), (10.0, 5.12, 4), (3000.0, 5.12, 4)],
)
@pytest.mark.parametrize("rate", [8000, 16_000, 22_050, 44_100, 48_000, 192_000])
def test_candidates(lasting: float, longest: float, steps: int, rate: int) -> None:
    found = AudioModality.candidates(facts(0.1, lasting, lasting, lasting, 9999.0, rate=rate))
    modalities = [candidate.modality for candidate in found]
    assert len(modalities) == steps + 2
    tokens = [modality.input_config().num_tokens for modality in modalities]
    assert tokens == sorted(set(tokens))
    assert [modality.clip_seconds for modality in modalities[-3:]] == [longest] * 3
    expected = {8000: 8000, 16_000: 16_000, 22_050: 24_000}.get(rate, 32_000)
    assert {modality.sample_rate_hz for modality in modalities} == {expected}
    assert modalities[-1].mel_bins == 60
    assert all(modality.spec_augment.is_on for modality in modalities)


def test_candidates_say_why() -> None:
    found = AudioModality.candidates(facts(0.5, 0.9, 1.1))
    assert [candidate.why for candidate in found] == [
        "clips of 0.64 s as 20 x 32 log-mel values: the files last 0.9 s (median)",
        "clips of 1.28 s as 40 x 32 log-mel values: the files last 0.9 s (median)",
        "clips of 1.28 s as 80 x 32 log-mel values: the files last 0.9 s (median)",
        "clips of 1.28 s as 80 x 60 log-mel values: the files last 0.9 s (median)",
    ]
    unknown = AudioModality.candidates(())
    assert unknown[-1].why == "clips of 1.28 s as 80 x 60 log-mel values: their length is not known"


@pytest.mark.parametrize(
    "modality",
    [
        AudioModality(),
        AudioModality(flatten=True),
        AudioModality(flatten=True, encoding=GridEncoding(patch=(48,))),
        AudioModality(encoding=GridEncoding(patch=(4, 5))),
        AudioModality(spec_augment=SpecAugment(num_time_masks=2, max_time_frames=20)),
        AudioModality(encoding=GridEncoding(positions="learned")),
        AudioModality(features="waveform"),
        AudioModality(features="waveform", num_channels=2, segment=512),
        WAVE,
        MEL,
    ],
)
def test_shrunk(modality: AudioModality) -> None:
    small = modality.shrunk()
    assert small.input_config().num_tokens <= min(modality.input_config().num_tokens, 400)
    assert small.features == modality.features
    assert small.flatten == modality.flatten
    assert small.input_config().token_channels == modality.input_config().token_channels
    view = clip(small, np.random.default_rng(0).uniform(-1, 1, 20_011), random=np.random.default_rng(0))
    assert view.shape == (*small.input_config().axes, small.input_config().channels)


def test_modalities_are_values() -> None:
    clip(MEL, np.zeros(400))
    copy = pickle.loads(pickle.dumps(MEL))  # noqa: S301 - what was just written
    assert copy == MEL
    assert hash(copy) == hash(MEL)
    assert MEL.kind == "audio"
    assert {".wav", ".mp3", ".flac", ".opus", ".m4a"} <= MEL.suffixes
    assert all(suffix.startswith(".") and suffix == suffix.lower() for suffix in MEL.suffixes)
