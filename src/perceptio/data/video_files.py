"""Reads the frames of video files by the moment at which they are on the screen, wherever that is in the file.

Times count from the first frame. A moment is found by going to the keyframe at or before it and decoding from there,
so a clip from the middle of a long file costs one group of pictures. Formats without keyframes to go to (GIF, raw
MPEG-4) are read from the start.

What is done to frames: rotation and mirroring by the display matrix (quarter turns; the first frame's counts for all),
pixels that are not square are made square by scaling the width, 10-bit and other layouts become 8-bit RGB by the colour
matrix and range that the file states (BT.601 where it states none; up to 1.5 of 255 darker than exact, as FFmpeg's
fast conversion is), transparent parts are laid on white. Interlaced frames are left as they are, and HDR is not mapped
to standard range.

A file whose end is missing, and packets that are damaged, are no reason to refuse it: the frame before stays.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType

import numpy as np

from perceptio.data.crops import Box
from perceptio.data.items import File
from perceptio.data.limits import Limits
from perceptio.data.media import media_errors
from perceptio.data.video_frames import Picturing, check_frame_size
from perceptio.data.video_reading import FrameReader, TimedFrame
from perceptio.errors import FileError

# A moment so little after the last decoded one is reached faster by decoding on than by going back to a keyframe.
_ON_FOOT_SECONDS = 2.0
# Matroska rounds its stamps to milliseconds: a frame that begins this little after the asked time is the one meant.
_MOST_ROUNDING_SECONDS = 0.0005


@dataclass(frozen=True, eq=False)
class _Shown:
    """A picture and the time during which it is on the screen."""

    start: float
    end: float
    picture: np.ndarray


class Video:
    """An open video file. Close it, or use it as a context.

    Attributes:
        size: height and width of the upright picture with square pixels.
        seconds: how long the pictures last, as the header says; of a file whose end is missing, what it lasted once.
            Where no header says it, by the stamps of all packets.
        frames_per_second: average rate.
        has_sound: whether the file holds sound as well.
    """

    def __init__(self, file: File, limits: Limits) -> None:
        """Opens the file and decodes its first frame; raises as `open_video`."""
        self._file = file
        self._limits = limits
        self._reader = FrameReader(file, limits)
        try:
            with media_errors(file):
                self._picturing = self._begin(limits)
                self.seconds = self._find_seconds(limits)
        except BaseException:
            self._reader.close()
            raise
        self.size = self._picturing.size
        self.frames_per_second = float(self._reader.frames_per_second)
        self.has_sound = self._reader.has_sound

    def _begin(self, limits: Limits) -> Picturing:
        first = self._reader.read()
        if first is None:
            raise self._reader.without_frames()
        picturing = Picturing(first.frame, self._reader.pixel_aspect, limits)
        self._origin = first.stamp
        self._tolerance = min(self._reader.tick / 2, _MOST_ROUNDING_SECONDS) + 1e-9
        self._on_foot = _ON_FOOT_SECONDS
        self._current: TimedFrame | None = first
        self._following = self._reader.read()
        self._kept: list[_Shown] = []
        self._kept_view: tuple[tuple[int, int], Box | None] | None = None
        return picturing

    def _find_seconds(self, limits: Limits) -> float:
        declared = self._reader.declared_seconds
        if declared is not None:
            return declared
        reader = FrameReader(self._file, limits)
        try:
            return reader.seconds_by_packets()
        finally:
            reader.close()

    def __enter__(self) -> "Video":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the file."""
        self._reader.close()
        self._current = self._following = None
        self._kept = []

    def frames_at(
        self, times: Sequence[float], *, size: tuple[int, int] | None = None, box: Box | None = None
    ) -> np.ndarray:
        """Returns the frames that are on the screen at some moments: bytes (times, height, width, 3).

        A moment past the end shows the last frame, one before the start the first. Frames of a call that come again in
        the next one with the same size and box (overlapping clips) are not decoded again.

        Args:
            times: in seconds from the first frame, in any order.
            size: height and width to scale the upright picture to while decoding; None: as it is.
            box: the part of the scaled picture that is wanted; None: all of it.

        Raises:
            FileError: the file turns out to be damaged so that no frame is left, or the frames would be too many or
                too large. One line, without a path.
            OSError: the disk or the network failed, which says nothing about the file.
            ValueError: no times, times that are no numbers, or a box that does not lie within the picture.
        """
        size = size or self.size
        box = box or Box(0, 0, size[1], size[0])
        _check_request(times, size, box, self._limits)
        if self._kept_view != (size, box):
            self._kept, self._kept_view = [], (size, box)
        used: dict[float, _Shown] = {}
        with media_errors(self._file):
            for time in sorted(set(times)):
                used[time] = self._known(used, time) or self._decoded(time, size, box)
        self._kept = list(dict.fromkeys(used.values()))
        return np.stack([used[time].picture for time in times])

    def _known(self, used: dict[float, _Shown], time: float) -> _Shown | None:
        """Returns the picture of a moment if this call or the last one has made it already."""
        moment = time + self._tolerance
        newest = [next(reversed(used.values()))] if used else []
        return next((shown for shown in (*newest, *self._kept) if shown.start <= moment < shown.end), None)

    def _decoded(self, time: float, size: tuple[int, int], box: Box) -> _Shown:
        moment = time + self._tolerance
        if not self._reachable(moment):
            self._go_to(moment)
        while self._following is not None and self._following.stamp - self._origin <= moment:
            self._current, self._following = self._following, self._reader.read()
        if self._current is None:
            raise self._reader.without_frames()
        start = self._current.stamp - self._origin
        first = start <= 0
        end = math.inf if self._following is None else self._following.stamp - self._origin
        picture = self._picturing.picture(self._current.frame, size, box)
        return _Shown(-math.inf if first else start, end, picture)

    def _reachable(self, moment: float) -> bool:
        """Tells whether decoding on from the current frame is the way to a moment."""
        if self._current is None:
            return False
        ahead = moment - (self._current.stamp - self._origin)
        if ahead < 0:
            return moment <= 0 and self._current.stamp <= self._origin
        return ahead <= self._on_foot or self._following is None or not self._reader.seeks

    def _go_to(self, moment: float) -> None:
        """Goes to a frame at or before a moment: the nearest keyframe, or one further back where formats seek badly."""
        left = -math.inf if self._current is None else self._current.stamp - self._origin
        target, back = min(moment, self.seconds), 0.0
        self._current = self._following = None
        while self._current is None or self._current.stamp - self._origin > moment:
            begins = target - back <= 0 or not self._reader.seek(self._origin + target - back)
            if begins:
                self._reader.restart()
            self._current, self._following = self._reader.read(), self._reader.read()
            if begins:
                break
            back = max(1.0, 2 * back)
        landed = left if self._current is None else self._current.stamp - self._origin
        if landed <= left < moment:
            # The keyframe lies before where we were: keyframes are rarer than thought, so walk further next time.
            self._on_foot = max(self._on_foot, moment - landed)


def open_video(file: File, limits: Limits) -> Video:
    """Opens a video file and decodes its first frame.

    Raises:
        AbsentError: the file is whole but has no pictures, as a sound file; its cover does not count.
        FileError: the file is none, damaged, or larger than the limits allow. One line, without a path.
        MissingExtraError: PyAV is not installed.
        OSError: the disk or the network failed, which says nothing about the file.
    """
    return Video(file, limits)


def probe_video(file: File, limits: Limits) -> dict[str, float]:
    """Returns seconds, height and width (upright, square pixels), frames_per_second and has_sound (1 or 0).

    From the header and the first frame, which alone tells the rotation. Only a file whose header does not say how long
    it lasts, such as a live recording, is read to its end, without decoding it. Raises as `open_video`.
    """
    with open_video(file, limits) as video:
        height, width = video.size
        return {
            "seconds": video.seconds,
            "height": float(height),
            "width": float(width),
            "frames_per_second": video.frames_per_second,
            "has_sound": float(video.has_sound),
        }


def check_video(file: File, limits: Limits) -> None:
    """Decodes a file frame by frame, the first 100,000 of them, and raises as `open_video` if it cannot be used.

    A file can be used if a frame of it can be decoded and no more than half of its packets are damaged.
    """
    reader = FrameReader(file, limits)
    try:
        with media_errors(file):
            count = 0
            while count < limits.max_checked_frames and (timed := reader.read()) is not None:
                check_frame_size(timed.frame.width, timed.frame.height, limits)
                count += 1
            if count == 0:
                raise reader.without_frames()
            if 2 * reader.num_bad_packets > reader.num_packets:
                raise FileError(
                    f"damaged: {reader.num_bad_packets:,} of {reader.num_packets:,} packets of its video cannot be "
                    "decoded"
                )
    finally:
        reader.close()


def _check_request(times: Sequence[float], size: tuple[int, int], box: Box, limits: Limits) -> None:
    if len(times) == 0 or not all(math.isfinite(time) for time in times):
        raise ValueError(f"times must be at least one number of seconds: got {list(times)[:5]}")
    if not (0 <= box.left < box.left + box.width <= size[1] and 0 <= box.top < box.top + box.height <= size[0]):
        raise ValueError(f"a box must lie within the picture of {size[1]} x {size[0]} pixels: got {box}")
    if len(times) * box.height * box.width > limits.max_clip_pixels:
        raise FileError(
            f"{len(times):,} frames of {box.width:,} x {box.height:,} pixels are asked for; the limit is "
            f"{limits.max_clip_pixels:,} pixels (--source.limits.max-clip-pixels)"
        )
