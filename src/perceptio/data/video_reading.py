"""Decodes the frames of a video file one after the other, and goes to a moment in it."""

import re
from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

from perceptio.data.items import File
from perceptio.data.limits import Limits
from perceptio.data.media import check_disk, counted_pixels, load_av, media_errors, open_media
from perceptio.data.video_frames import check_frame_size
from perceptio.errors import AbsentError, FileError

if TYPE_CHECKING:
    import av.container
    import av.video.frame
    import av.video.stream

# Frames of a GIF change the one before, so that a seek can only begin anew; raw MPEG-4 has no times to seek by.
_READ_FROM_START = frozenset({"gif", "m4v"})
# AVI has no presentation times: what FFmpeg reports as such are decoding times in the wrong order.
_WITHOUT_PRESENTATION_TIMES = frozenset({"avi"})
# Not every frame of an MPEG program stream has a stamp, and those that FFmpeg makes up for the first ones after a seek
# are wrong by several frames: go so much further back that only frames that nobody asked for are affected.
_RUN_UP_SECONDS = {"mpeg": 2.0}
# It has no header that says a length. What FFmpeg reports is taken from the last stamp in the file, and not every frame
# has one: up to 1 s too short (measured on films of 2 and 10 s), and nobody would see the last moments.
_WITHOUT_LENGTH = frozenset({"mpeg"})
_MOST_FRAMES_PER_SECOND = 1000
_USUAL_FRAMES_PER_SECOND = 25
_MATROSKA_DURATION = re.compile(r"(\d{1,6}):([0-5]\d):([0-5]\d(?:\.\d{1,12})?)")


class TimedFrame(NamedTuple):
    """A decoded frame and when it appears, in seconds of the file's own time stamps."""

    stamp: float
    frame: "av.video.frame.VideoFrame"


class FrameReader:
    """One open video file. Frames come in the order in which they are shown. Close it."""

    def __init__(self, file: File, limits: Limits) -> None:
        """Opens the file; raises as `video_files.open_video`."""
        self._file = file
        self._limits = limits
        self.num_packets = 0
        self.num_bad_packets = 0
        self._bad_in_a_row = 0
        self._open()

    def _open(self) -> None:
        self._media = open_media(self._file, self._limits)
        self._container = self._media.container
        try:
            with media_errors(self._file):
                self._stream = _video_stream(self._container)
                _prepare(self._stream, self._limits)
                self._time_base = self._stream.time_base or Fraction(1, 1000)
                self._begin(from_start=True)
        except BaseException:
            self._media.close()
            raise

    def _begin(self, *, from_start: bool) -> None:
        self._packets = self._demuxed()
        self._ready: deque[av.video.frame.VideoFrame] = deque()
        self._last_ticks = -1 if from_start else None

    def close(self) -> None:
        """Lets go of the file."""
        self._media.close()

    def restart(self) -> None:
        """Goes back to the first frame. By opening the file anew: some formats (MPEG-TS) seek past their beginning."""
        self.close()
        self._open()

    def seek(self, stamp: float) -> bool:
        """Goes to a keyframe at or before a time stamp, as far as the format can tell; False: it cannot seek.

        The next frame may nevertheless come later than asked.
        """
        if not self.seeks:
            return False
        stamp -= _RUN_UP_SECONDS.get(self._container.format.name, 0.0)
        try:
            self._container.seek(int(stamp / self._time_base), stream=self._stream, backward=True)
        except load_av().error.FFmpegError:
            return False
        self._begin(from_start=False)
        return True

    def read(self) -> TimedFrame | None:
        """Returns the next frame; None at the end, which is also where the rest of the file is missing."""
        while not self._ready:
            packet = next(self._packets, None)
            if packet is None:
                return None
            self._ready.extend(self._decoded(packet))
        frame = self._ready.popleft()
        ticks = frame.dts if self._container.format.name in _WITHOUT_PRESENTATION_TIMES else frame.pts
        if ticks is None:
            if self._last_ticks is None:
                return None  # after a seek, nobody knows where
            ticks = self._last_ticks + self._ticks_per_frame
        # Frames come in order; where stamps say otherwise, the order is right.
        self._last_ticks = ticks if self._last_ticks is None else max(ticks, self._last_ticks)
        return TimedFrame(float(self._last_ticks * self._time_base), frame)

    def seconds_by_packets(self) -> float:
        """Returns how long the pictures last by the time stamps of all packets: reads to the end, decodes nothing."""
        first, end, count = None, 0, 0
        for packet in self._packets:
            if packet.size == 0:
                continue
            count += 1
            stamp = packet.dts if packet.pts is None else packet.pts
            if stamp is not None:
                first = stamp if first is None else min(first, stamp)
                end = max(end, stamp + (packet.duration or self._ticks_per_frame))
        return (count * self._ticks_per_frame if first is None else end - first) * self.tick

    def without_frames(self) -> FileError:
        """Returns what is wrong with a file of which no frame was read."""
        reason = "not one frame of its video can be decoded"
        if self._stream.codec_context.width == 0:  # FFmpeg forgets a size that it refuses
            return FileError(
                f"{reason}: it declares no size, or one beyond the limit of {self._limits.max_frame_pixels:,} pixels "
                "(--source.limits.max-frame-pixels)"
            )
        return FileError(reason)

    def _demuxed(self) -> Iterator[Any]:
        error = load_av().error
        try:
            yield from self._container.demux(self._stream)
        except (error.InvalidDataError, error.EOFError):
            return  # the file is cut off or damaged from here on
        except OSError as failure:
            check_disk(failure, self._file)
            return  # the same

    def _decoded(self, packet: Any) -> list[Any]:
        """Returns the frames of a packet: none where it is damaged, so that the frame before stays on the screen."""
        error = load_av().error
        self.num_packets += packet.size > 0
        try:
            frames = list(packet.decode())
        except error.MemoryError:
            raise
        except error.FFmpegError:
            self.num_bad_packets += 1
            self._bad_in_a_row += 1
            if self._bad_in_a_row > self._limits.max_bad_packets:
                raise FileError(
                    f"damaged: {self._bad_in_a_row:,} packets of its video in a row cannot be decoded; the limit is "
                    f"{self._limits.max_bad_packets:,} (--source.limits.max-bad-packets)"
                ) from None
            return []
        self._bad_in_a_row = 0
        return frames

    @property
    def _ticks_per_frame(self) -> int:
        return max(1, round(1 / (self.frames_per_second * self._time_base)))

    @property
    def seeks(self) -> bool:
        """Whether this format can be entered at a keyframe."""
        return self._container.format.name not in _READ_FROM_START

    @property
    def tick(self) -> float:
        """The finest difference of two time stamps, in seconds."""
        return float(self._time_base)

    @property
    def has_sound(self) -> bool:
        """Whether the file holds a sound stream."""
        return len(self._container.streams.audio) > 0

    @property
    def pixel_aspect(self) -> Fraction | None:
        """Width to height of a pixel; None where the file does not say."""
        return self._stream.sample_aspect_ratio or None

    @property
    def frames_per_second(self) -> Fraction:
        """The average rate; 25 where the file does not say."""
        for rate in (self._stream.average_rate, self._stream.guessed_rate, self._stream.base_rate):
            if rate is not None and 0 < rate <= _MOST_FRAMES_PER_SECOND:
                return rate
        return Fraction(_USUAL_FRAMES_PER_SECOND)

    @property
    def declared_seconds(self) -> float | None:
        """How long the header says the pictures last, or else the whole file; None where it says neither."""
        if self._container.format.name in _WITHOUT_LENGTH:
            return None
        if self._stream.duration is not None and self._stream.duration > 0:
            return float(self._stream.duration * self._time_base)
        written = _MATROSKA_DURATION.fullmatch(self._stream.metadata.get("DURATION", ""))
        if written is not None:
            hours, minutes, seconds = written.groups()
            if (total := 3600 * int(hours) + 60 * int(minutes) + float(seconds)) > 0:
                return total
        if self._container.duration is not None and self._container.duration > 0:
            return float(self._container.duration / 1_000_000)
        return None


def _video_stream(container: "av.container.InputContainer") -> "av.video.stream.VideoStream":
    """Returns the first stream of pictures; the cover of a sound file is none.

    Raises:
        AbsentError: there is no such stream.
        FileError: its codec is unknown here.
    """
    for stream in container.streams.video:
        if not stream.disposition & load_av().stream.Disposition.attached_pic:
            if stream.codec_context is None:
                raise FileError("its video has a codec that cannot be decoded here; convert it to H.264 in MP4")
            return stream
    raise AbsentError("has no picture")


def _prepare(stream: "av.video.stream.VideoStream", limits: Limits) -> None:
    """Checks the declared size and sets the decoder up: bounded, and one thread, since there is a worker for each core.

    Raises:
        FileError: the size is beyond the limits.
    """
    context = stream.codec_context
    most = limits.max_frame_pixels
    if context.width > 0 and context.height > 0:  # otherwise known only once a frame is decoded
        check_frame_size(context.width, context.height, limits)
        most = max(most, counted_pixels(context.width, context.height))
    context.thread_count = 1
    # What the header declares is checked above; a change of size in mid-file meets this one.
    context.options = {"max_pixels": str(most)}
