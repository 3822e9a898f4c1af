"""SpecAugment (arXiv 1904.08779): spans of time and bands of pitch are hidden from the model while it learns."""

from dataclasses import dataclass

import numpy as np

from perceptio.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class SpecAugment:
    """Hides spans of a spectrogram behind its mean.

    Each mask's width is uniform from 0 to the largest, both included, and its place uniform among those where it fits;
    masks may overlap. Differs from its paper in that time is not warped, which that paper found to be no major factor.

    Raises:
        UsageError: a value is negative, or has no effect.
    """

    num_time_masks: int = 0
    """Masks over spans of time; 0 switches them off."""
    max_time_frames: int = 0
    """Longest span of time that one mask hides, in frames."""
    num_frequency_masks: int = 0
    """Masks over bands of pitch; 0 switches them off."""
    max_frequency_bins: int = 0
    """Widest band of pitch that one mask hides, in mel bins."""

    def __post_init__(self) -> None:
        for count, width in (("num_time_masks", "max_time_frames"), ("num_frequency_masks", "max_frequency_bins")):
            values = getattr(self, count), getattr(self, width)
            if min(values) < 0:
                raise UsageError(f"{count} and {width} must be at least 0: got {values[0]} and {values[1]}")
            if (values[0] == 0) != (values[1] == 0):
                raise UsageError(
                    f"{count} has no effect without {width} and the other way round: got {values[0]} and {values[1]}. "
                    "Set both, or leave both at 0"
                )

    @property
    def is_on(self) -> bool:
        """Whether anything is ever hidden."""
        return self.num_time_masks > 0 or self.num_frequency_masks > 0

    def __call__(self, spectrogram: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Returns a copy of a spectrogram (frames, bins) with spans replaced by its mean.

        Raises:
            ValueError: a mask could be wider than the spectrogram.
        """
        frames, bins = spectrogram.shape
        if self.max_time_frames > frames or self.max_frequency_bins > bins:
            raise ValueError(f"masks of {self.max_time_frames} x {self.max_frequency_bins} exceed {frames} x {bins}")
        masked = spectrogram.copy()
        mean = spectrogram.mean(dtype=np.float64)
        for start, stop in _spans(self.num_time_masks, self.max_time_frames, frames, random):
            masked[start:stop] = mean
        for start, stop in _spans(self.num_frequency_masks, self.max_frequency_bins, bins, random):
            masked[:, start:stop] = mean
        return masked


def _spans(count: int, widest: int, length: int, random: np.random.Generator) -> list[tuple[int, int]]:
    spans = []
    for width in random.integers(widest, size=count, endpoint=True).tolist():
        start = int(random.integers(length - width, endpoint=True))
        spans.append((start, start + width))
    return spans
