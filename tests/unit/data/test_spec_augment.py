"""What SpecAugment hides, how often, and that nothing but the given generator decides."""

import numpy as np
import pytest

from perceptio.data.spec_augment import SpecAugment
from perceptio.errors import UsageError

FRAMES, BINS = 23, 13


def spectrogram() -> np.ndarray:
    return np.random.default_rng(7).normal(-10, 4, (FRAMES, BINS)).astype(np.float32)


def hidden(augment: SpecAugment, seed: int) -> np.ndarray:
    """Where a spectrogram was replaced, after checking by what."""
    values = spectrogram()
    masked = augment(values, np.random.default_rng(seed))
    assert masked.dtype == np.float32
    changed = masked != values
    np.testing.assert_allclose(masked[changed], values.mean(dtype=np.float64), rtol=1e-6)
    np.testing.assert_array_equal(values, spectrogram())
    return changed


def test_masks_are_whole_spans_of_time_and_bands_of_pitch() -> None:
    augment = SpecAugment(num_time_masks=1, max_time_frames=5, num_frequency_masks=1, max_frequency_bins=3)
    widths = set()
    for seed in range(200):
        changed = hidden(augment, seed)
        times, bands = changed.all(axis=1), changed.all(axis=0)
        np.testing.assert_array_equal(changed, times[:, None] | bands[None, :])
        for mask in (times, bands):
            places = np.flatnonzero(mask)
            assert len(places) == 0 or np.ptp(places) == len(places) - 1
        widths.add((int(times.sum()), int(bands.sum())))
    # Every width from none to the largest, in every combination: 24 of them in 200 draws.
    assert widths == {(time, band) for time in range(6) for band in range(4)}


def test_every_place_is_hidden_and_the_ends_not_past_them() -> None:
    augment = SpecAugment(num_time_masks=1, max_time_frames=FRAMES)
    counts = sum(hidden(augment, seed).any(axis=1).astype(int) for seed in range(300))
    assert counts.min() > 0
    assert counts.max() < 300


class Highest(np.random.Generator):
    """Draws the largest number each time."""

    def integers(self, high, size=None, endpoint=False):
        number = high if endpoint else high - 1
        return number if size is None else np.full(size, number)


def test_the_last_place_ends_with_the_spectrogram() -> None:
    masked = SpecAugment(num_time_masks=1, max_time_frames=5, num_frequency_masks=1, max_frequency_bins=3)(
        spectrogram(), Highest(np.random.PCG64(0))
    )
    changed = masked != spectrogram()
    assert np.flatnonzero(changed.all(axis=1)).tolist() == [18, 19, 20, 21, 22]
    assert np.flatnonzero(changed.all(axis=0)).tolist() == [10, 11, 12]


def test_several_masks() -> None:
    augment = SpecAugment(num_time_masks=3, max_time_frames=2)
    assert max(int(hidden(augment, seed).any(axis=1).sum()) for seed in range(200)) == 6


def test_the_generator_alone_decides() -> None:
    augment = SpecAugment(num_time_masks=2, max_time_frames=5, num_frequency_masks=2, max_frequency_bins=3)
    np.random.seed(0)  # noqa: NPY002 - to show that it does not matter
    first = augment(spectrogram(), np.random.default_rng(3))
    np.testing.assert_array_equal(first, augment(spectrogram(), np.random.default_rng(3)))
    assert not np.array_equal(first, augment(spectrogram(), np.random.default_rng(4)))


def test_off_by_default() -> None:
    assert not SpecAugment().is_on
    assert SpecAugment(num_frequency_masks=1, max_frequency_bins=1).is_on
    np.testing.assert_array_equal(SpecAugment()(spectrogram(), np.random.default_rng(0)), spectrogram())


def test_settings_that_cannot_be() -> None:
    with pytest.raises(UsageError, match=r"^num_time_masks and max_time_frames must be at least 0: got -1 and 5$"):
        SpecAugment(num_time_masks=-1, max_time_frames=5)
    with pytest.raises(
        UsageError,
        match=r"^num_frequency_masks has no effect without max_frequency_bins and the other way round: got 2 and 0. "
        r"Set both, or leave both at 0$",
    ):
        SpecAugment(num_frequency_masks=2)
    with pytest.raises(ValueError, match=r"^masks of 24 x 0 exceed 23 x 13$"):
        SpecAugment(num_time_masks=1, max_time_frames=24)(spectrogram(), np.random.default_rng(0))
