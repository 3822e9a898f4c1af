"""Small videos whose frames bear their number, written with PyAV."""

import io
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

BITS = 9


KINDS = {
    "h264.mp4": {"codec": "libx264", "b_frames": 3},
    "h264.mov": {"codec": "libx264", "b_frames": 2},
    "h264.mkv": {"codec": "libx264", "b_frames": 3},
    "h264.ts": {"codec": "libx264", "b_frames": 3},
    "h264.avi": {"codec": "libx264", "b_frames": 3},
    "mpeg4.avi": {"codec": "mpeg4", "b_frames": 2},
    "mpeg4.m4v": {"codec": "mpeg4", "b_frames": 2, "format": "m4v"},
    "mpeg2.mpg": {"codec": "mpeg2video", "b_frames": 2},
    "vp9.webm": {"codec": "libvpx-vp9"},
    "vp8.webm": {"codec": "libvpx"},
    "hevc.mp4": {"codec": "libx265", "b_frames": 3, "options": {"x265-params": "log-level=none"}},
    "film.gif": {"codec": "gif", "layout": "rgb8"},
}


def numbered_frame(number: int, height: int = 66, width: int = 98) -> np.ndarray:
    """Returns a frame of nine upright stripes, black or white: the number in binary, lowest bit at the left."""
    frame = np.zeros((height, width, 3), np.uint8)
    for bit in range(BITS):
        if number >> bit & 1:
            frame[:, bit * width // BITS : (bit + 1) * width // BITS] = 255
    return frame


def number_of(frame: np.ndarray) -> int:
    """Returns the number that a frame bears, whatever its size."""
    width = frame.shape[1]
    middles = [(2 * bit + 1) * width // (2 * BITS) for bit in range(BITS)]
    return sum(int(frame[:, middle].mean() > 128) << bit for bit, middle in enumerate(middles))


def numbers_of(frames: np.ndarray) -> list[int]:
    return [number_of(frame) for frame in frames]


def write_frames(
    target: Path | io.RawIOBase,
    frames: Sequence[np.ndarray],
    codec: str = "libx264",
    *,
    rate: Fraction | int = 25,
    layout: str = "yuv420p",
    group: int = 12,
    b_frames: int | None = None,
    stamps: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    rotation: int | None = None,
    matrix: Sequence[int] | None = None,
    pixel_aspect: Fraction | None = None,
    format: str | None = None,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    sound: bool = False,
) -> None:
    """Writes RGB (or RGBA) frames; `stamps` in units of `time_base` take the place of an even rate."""
    file = str(target) if isinstance(target, Path) else target
    with av.open(file, "w", format=format, container_options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = layout
        stream.gop_size = group
        if b_frames is not None:
            stream.codec_context.max_b_frames = b_frames
        if time_base is not None:
            stream.codec_context.time_base = time_base
        if rotation is not None:
            stream.set_display_rotation(rotation)
        if matrix is not None:
            stream.set_display_matrix(matrix)
        if pixel_aspect is not None:
            stream.codec_context.sample_aspect_ratio = pixel_aspect
        voice = container.add_stream("aac", rate=8000, layout="mono") if sound else None
        for number, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame, format="rgba" if frame.shape[2] == 4 else "rgb24")
            picture = picture.reformat(format=layout)
            if stamps is not None:
                picture.pts, picture.time_base = stamps[number], time_base
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
        if voice is not None:
            for start in range(0, 8192, 1024):
                part = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
                part.sample_rate, part.pts, part.time_base = 8000, start, Fraction(1, 8000)
                container.mux(voice.encode(part))
            container.mux(voice.encode(None))


def write_packets(path: Path, codec: str, packets: Sequence[bytes], size: tuple[int, int]) -> Path:
    """Writes packets as they are into a file that declares frames of a height and a width, and returns the path."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width = size
        stream.pix_fmt = "rgb24"
        container.start_encoding()
        for number, content in enumerate(packets):
            packet = av.Packet(content)
            packet.stream, packet.time_base, packet.pts, packet.dts = stream, Fraction(1, 25), number, number
            container.mux(packet)
    return path


def write_numbered(path: Path, count: int, codec: str = "libx264", **settings) -> Path:
    """Writes `count` numbered frames and returns the path."""
    size = settings.pop("size", (66, 98))
    write_frames(path, [numbered_frame(number, *size) for number in range(count)], codec, **settings)
    return path


def middles(numbers, rate: float = 25.0) -> list[float]:
    """Returns moments in the middle of frames."""
    return [(number + 0.5) / rate for number in numbers]


COLOURS = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], np.uint8)


def quarters(height: int, width: int) -> np.ndarray:
    """Red, green, blue and white quarters: told apart however the picture is turned."""
    return COLOURS.repeat(height // 2, axis=0).repeat(width // 2, axis=1)


class Pipe(io.RawIOBase):
    """A target that cannot be gone back in, as when a recording is broadcast: headers stay without a duration."""

    def __init__(self) -> None:
        self.content = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data) -> int:
        self.content += data
        return len(data)
