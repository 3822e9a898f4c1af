"""Reads any window of the sound in sound and video files, by seeking, and refuses all other files in one line.

Time 0 is where the sound begins as a player shows it, without an encoder's priming. In a file with moving pictures it
is the first picture, so that sound and picture of one moment have one time: sound that sets in later has zeros before
it, and what is heard before the first picture is left out.

A file whose end is cut off is used as far as it goes, as players do. One that is damaged further in is refused, as far
as the format lets us know: bytes that change in a WAV are other samples, and nothing tells.
"""

from types import TracebackType
from typing import Literal, Protocol, runtime_checkable

import numpy as np

from perceptio.data.audio_samples import as_float, mixed, window_at_rate
from perceptio.data.audio_track import PADDING_SECONDS, Track
from perceptio.data.items import File
from perceptio.data.limits import Limits
from perceptio.data.media import media_errors
from perceptio.errors import AbsentError, FileError

# Sound of this length is decoded once and kept: it covers AudioSet's clips of 10 s.
_WHOLE_SECONDS = 12


@runtime_checkable
class Sound(Protocol):
    """An opened sound."""

    @property
    def seconds(self) -> float:
        """How long it lasts."""

    def read(self, start_seconds: float, num_samples: int, sample_rate_hz: int) -> np.ndarray:
        """Returns float32 samples (num_samples, channels) within [-1, 1], zero past the end."""

    def close(self) -> None:
        """Lets go of the file."""


def probe_audio(file: File, limits: Limits) -> dict[str, float]:
    """Returns seconds, sample_rate_hz and num_channels of a file's sound without decoding it.

    The header is believed if the last packet agrees with it; otherwise packets are counted.

    Raises:
        AbsentError: the file has no sound.
        FileError: the file cannot be used. One line, without a path.
        MissingExtraError: PyAV is not installed.
        OSError: the disk or the network failed, which says nothing about the file.
    """
    track = Track(file, limits)
    try:
        with media_errors(file):
            seconds = track.find_end()
    finally:
        track.close()
    if seconds <= 0:
        raise AbsentError("its sound is empty (0 samples)")
    return {
        "seconds": float(seconds),
        "sample_rate_hz": float(track.sample_rate_hz),
        "num_channels": float(track.num_channels),
    }


class AudioFile:
    """The sound of an opened file, read window by window. Close it.

    Exact to the sample wherever the format counts samples, to one packet of the codec otherwise (Matroska rounds time
    stamps to milliseconds). The first 12 s are all that is ever kept, and only of files that are no longer.

    Args:
        num_channels: 1 or 2; files with more or fewer are mixed, see `audio_samples.mixing_weights`.

    Raises:
        AbsentError, FileError, MissingExtraError, OSError: as `probe_audio`.
    """

    def __init__(self, file: File, num_channels: Literal[1, 2], limits: Limits) -> None:
        self._track = Track(file, limits)
        self._limits = limits
        self._channels = num_channels
        self._whole: np.ndarray | None = None
        try:
            with media_errors(file):
                self._length = self._find_length()
            if self._length < 1:
                raise AbsentError("its sound is empty (0 samples)")
        except BaseException:
            self.close()
            raise

    @property
    def sample_rate_hz(self) -> int:
        """Rate of the file."""
        return self._track.sample_rate_hz

    @property
    def seconds(self) -> float:
        """How long the sound lasts: what is there, whatever the header promises."""
        return self._length / self.sample_rate_hz

    def read(self, start_seconds: float, num_samples: int, sample_rate_hz: int) -> np.ndarray:
        """Returns float32 samples (num_samples, channels) within [-1, 1], zero before the beginning and past the end.

        Raises:
            FileError: the sound turns out to be damaged.
            OSError: the disk or the network failed.
        """
        with media_errors(self._track.file):
            return window_at_rate(
                self._window,
                self.sample_rate_hz,
                start_seconds,
                num_samples,
                sample_rate_hz,
                self._channels,
                self._limits,
            )

    def scan(self) -> None:
        """Decodes everything, piece by piece, and keeps nothing.

        Raises:
            FileError: the sound is damaged.
        """
        if self._whole is not None:
            return  # decoded when it was opened
        with media_errors(self._track.file):
            self._track.reopen()
            if sum(len(piece) for _, piece in self._track.pieces(0, self._channels)) == 0:
                raise FileError("damaged: nothing of its sound can be decoded")

    def close(self) -> None:
        """Lets go of the file."""
        self._track.close()

    def __enter__(self) -> "AudioFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _find_length(self) -> int:
        """Returns the number of samples and, if they are few, keeps them."""
        track, rate = self._track, self.sample_rate_hz
        stated = track.stated_end()
        if stated is None or stated <= _WHOLE_SECONDS:
            kept = self._decoded_from_the_beginning()
            if kept is not None:
                ending = len(kept) if stated is None else round(stated * rate)
                # A codec fills up its last packet; the header knows where the sound ends.
                if ending < len(kept) <= ending + PADDING_SECONDS * rate:
                    kept = kept[:ending]
                self._whole = kept
                return len(kept)
        return round(track.find_end() * rate)

    def _decoded_from_the_beginning(self) -> np.ndarray | None:
        """Returns the whole sound, or None if it is longer than it should be."""
        most = 2 * _WHOLE_SECONDS * self.sample_rate_hz
        parts: list[np.ndarray] = []
        length = 0
        for first, piece in self._track.pieces(0, self._channels):
            if first + len(piece) > most:
                return None
            piece, first = (piece[-first:], 0) if first < 0 else (piece, first)
            gap = max(0, first - length)
            parts += [np.zeros((gap, self._channels), np.float32), piece[max(0, length - first) :]]
            length += len(parts[-2]) + len(parts[-1])
        return np.concatenate(parts) if parts else np.zeros((0, self._channels), np.float32)

    def _window(self, first: int, count: int) -> np.ndarray:
        """Returns samples (count, channels) at the file's rate from sample `first` on, zeros where there are none."""
        window = np.zeros((count, self._channels), np.float32)
        begin, end = max(first, 0), min(first + count, self._length)
        if begin >= end:
            return window
        if self._whole is not None:
            window[begin - first : end - first] = self._whole[begin:end]
            return window
        for index, piece in self._track.pieces_from(begin, self._channels):
            if index >= end:
                break
            low, high = max(index, begin), min(index + len(piece), end)
            if low < high:
                window[low - first : high - first] = piece[low - index : high - index]
            if high == end:
                break
        return window


class SoundArray:
    """Samples in memory as a sound.

    Args:
        samples: (samples,) or (samples, channels), floating-point within -1 to 1 or whole numbers at full scale.
        sample_rate_hz: their rate.

    Raises:
        FileError: the array is empty, has another shape, or holds something else than sound.
    """

    def __init__(self, samples: np.ndarray, sample_rate_hz: int, num_channels: Literal[1, 2], limits: Limits) -> None:
        most = limits.max_sound_channels
        if samples.ndim not in (1, 2) or samples.size == 0 or (samples.ndim == 2 and samples.shape[1] > most):
            raise FileError(
                f"a sound array must be (samples,) or (samples, channels) with at most {most} channels, not "
                f"{samples.shape}; channels come last"
            )
        columns = samples.reshape(len(samples), -1)
        self._samples = mixed(as_float(columns), ["NONE"] * columns.shape[1], num_channels)
        self._rate = sample_rate_hz
        self._limits = limits

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return len(self._samples) / self._rate

    def read(self, start_seconds: float, num_samples: int, sample_rate_hz: int) -> np.ndarray:
        """Returns float32 samples (num_samples, channels) within [-1, 1], zero before the beginning and past the end.

        Raises:
            FileError: the window would be too large.
        """
        num_channels = self._samples.shape[1]
        return window_at_rate(
            self._window, self._rate, start_seconds, num_samples, sample_rate_hz, num_channels, self._limits
        )

    def close(self) -> None:
        """Does nothing: there is no file."""

    def _window(self, first: int, count: int) -> np.ndarray:
        window = np.zeros((count, self._samples.shape[1]), np.float32)
        begin, end = max(first, 0), min(first + count, len(self._samples))
        if begin < end:
            window[begin - first : end - first] = self._samples[begin:end]
        return window
