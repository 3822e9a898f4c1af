"""Writes videos: H.264 in MP4, which every player and browser shows, with AAC sound if there is any."""

import os
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from perceptio.data.media import load_av
from perceptio.errors import UsageError

if TYPE_CHECKING:
    import av.container

CONSTANT_RATE_FACTOR = 18
"""Quality of libx264 (crf): 18 is hard to tell from the original; lower is better and larger."""
SOUND_RATES_HZ = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)
"""Sample rates that AAC knows and that players are likely to take."""

_BT709 = 1
_LIMITED_RANGE = 1
_SOUND_LAYOUTS = {1: "mono", 2: "stereo"}
_SLOWEST, _FASTEST = 0.01, 1000  # frames per second
_SOUND_BITS_PER_SECOND_AND_CHANNEL = 96_000


def write_video(
    path: Path,
    frames: Iterable[np.ndarray],
    frames_per_second: float,
    *,
    sound: np.ndarray | None = None,
    sample_rate_hz: int | None = None,
) -> None:
    """Writes frames as H.264 (libx264, yuv420p, crf 18) in MP4; a file of that name is replaced once all is written.

    H.264 with halved colour resolution wants even sides: an odd last row or column is written twice.

    Args:
        path: the file to write.
        frames: bytes (height, width, 1 or 3) of one size each, one after the other; also an array of them, or an
            iterator if they are too many for memory.
        frames_per_second: rate.
        sound: samples from -1 to 1, (samples,) or (samples, 1 or 2 channels), from the first frame on.
        sample_rate_hz: rate of the sound, one of `SOUND_RATES_HZ`.

    Raises:
        MissingExtraError: PyAV is not installed.
        OSError: the file cannot be written.
        UsageError: frames or sound are not as described.
    """
    module = load_av()
    if not _SLOWEST <= frames_per_second <= _FASTEST:
        raise UsageError(f"frames_per_second must lie in {_SLOWEST} to {_FASTEST}: got {frames_per_second}")
    _check_sound(sound, sample_rate_hz)
    iterator = iter(frames)
    first = next(iterator, None)
    if first is None:
        raise UsageError("a video needs at least one frame; none is given")
    _check_frame(first, first.shape)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        options = {"movflags": "+faststart"}  # readable while it is still being downloaded
        with module.open(f"file:{unfinished.absolute()}", "w", format="mp4", container_options=options) as container:
            _Writer(container, first.shape, frames_per_second, sound, sample_rate_hz).write(chain([first], iterator))
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


class _Writer:
    """Encodes pictures and sound side by side, so that neither waits in memory for the other."""

    def __init__(
        self,
        container: "av.container.OutputContainer",
        shape: tuple[int, ...],
        frames_per_second: float,
        sound: np.ndarray | None,
        sample_rate_hz: int | None,
    ) -> None:
        self._container = container
        self._shape = shape
        self._rate = Fraction(frames_per_second).limit_denominator(1001)
        self._video: Any = container.add_stream(
            "libx264", rate=self._rate, options={"crf": str(CONSTANT_RATE_FACTOR), "preset": "medium"}
        )
        self._video.height, self._video.width = (side + side % 2 for side in shape[:2])
        self._video.pix_fmt = "yuv420p"
        context = self._video.codec_context
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = _LIMITED_RANGE
        self._scaler = load_av().video.reformatter.VideoReformatter()
        self._sound_rate = sample_rate_hz
        self._sound_stream: Any = None
        self._sound_parts: Iterator[tuple[int, np.ndarray]] = iter(())
        if sound is not None:
            planes = sound.reshape(len(sound), -1).T.astype(np.float32)
            self._sound_layout = _SOUND_LAYOUTS[len(planes)]
            self._sound_stream = container.add_stream("aac", rate=sample_rate_hz, layout=self._sound_layout)
            self._sound_stream.bit_rate = _SOUND_BITS_PER_SECOND_AND_CHANNEL * len(planes)
            starts = range(0, planes.shape[1], 1024)
            self._sound_parts = ((start, np.ascontiguousarray(planes[:, start : start + 1024])) for start in starts)

    def write(self, frames: Iterable[np.ndarray]) -> None:
        """Encodes everything and ends the file's streams."""
        upcoming = next(self._sound_parts, None)
        for number, frame in enumerate(frames):
            _check_frame(frame, self._shape)
            self._container.mux(self._video.encode(self._picture(frame, number)))
            while upcoming is not None and upcoming[0] * self._rate <= (number + 1) * (self._sound_rate or 1):
                self._container.mux(self._sound_stream.encode(self._samples(*upcoming)))
                upcoming = next(self._sound_parts, None)
        while upcoming is not None:
            self._container.mux(self._sound_stream.encode(self._samples(*upcoming)))
            upcoming = next(self._sound_parts, None)
        for stream in (self._video, self._sound_stream):
            if stream is not None:
                self._container.mux(stream.encode(None))

    def _picture(self, frame: np.ndarray, number: int) -> Any:
        height, width = frame.shape[:2]
        even = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        rgb = np.ascontiguousarray(np.broadcast_to(even, (*even.shape[:2], 3)))
        interpolation = load_av().video.reformatter.Interpolation
        picture = self._scaler.reformat(
            load_av().VideoFrame.from_ndarray(rgb, format="rgb24"),
            format="yuv420p",
            dst_colorspace=_BT709,
            dst_color_range=_LIMITED_RANGE,
            interpolation=interpolation.BICUBIC | interpolation.ACCURATE_RND,
            threads=1,
        )
        picture.pts, picture.time_base = number, 1 / self._rate
        return picture

    def _samples(self, start: int, planes: np.ndarray) -> Any:
        part = load_av().AudioFrame.from_ndarray(planes, format="fltp", layout=self._sound_layout)
        part.sample_rate = self._sound_rate
        part.pts, part.time_base = start, Fraction(1, self._sound_rate or 1)
        return part


def _check_frame(frame: np.ndarray, shape: tuple[int, ...]) -> None:
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] not in (1, 3) or frame.size == 0:
        raise UsageError(
            f"a frame must be bytes (uint8) of shape (height, width, 1 or 3): got {frame.dtype} {frame.shape}"
        )
    if frame.shape != shape:
        raise UsageError(f"all frames must have one size: got {frame.shape} after {shape}")


def _check_sound(sound: np.ndarray | None, sample_rate_hz: int | None) -> None:
    if (sound is None) != (sample_rate_hz is None):
        raise UsageError("sound and sample_rate_hz belong together: give both or neither")
    if sound is None:
        return
    if sample_rate_hz not in SOUND_RATES_HZ:
        known = ", ".join(map(str, SOUND_RATES_HZ))
        raise UsageError(f"sample_rate_hz must be one that AAC knows ({known}): got {sample_rate_hz}; resample first")
    if not (sound.ndim == 1 or (sound.ndim == 2 and sound.shape[1] in _SOUND_LAYOUTS)) or sound.size == 0:
        raise UsageError(f"sound must be (samples,) or (samples, 1 or 2 channels): got {sound.shape}")
    if not np.issubdtype(sound.dtype, np.floating) or not np.isfinite(sound).all() or np.abs(sound).max() > 1:
        raise UsageError("sound must be floating-point samples from -1 to 1; divide by the largest one first")
