"""What the reader of videos does with files that are broken, hostile or no videos at all, and with odd requests."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from perceptio.data.crops import Box
from perceptio.data.limits import Limits
from perceptio.data.video_files import check_video, open_video, probe_video
from perceptio.data.video_frames import check_frame_size
from perceptio.errors import AbsentError, FileError
from support.pictures import grey_png
from support.videos import (
    KINDS,
    middles,
    numbered_frame,
    numbers_of,
    quarters,
    write_frames,
    write_numbered,
    write_packets,
)

READERS = ("check_video", "open_video", "probe_video")
pytestmark = pytest.mark.usefixtures("either_place")


def test_damaged_packets_are_passed_over(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "a.avi", 100, "mjpeg", layout="yuvj420p")
    content = bytearray(path.read_bytes())
    movie = content.index(b"movi")
    starts = [place for place in range(movie, len(content) - 4) if content[place : place + 4] == b"00dc"][:100]
    for number in (40, 41, 42):
        content[starts[number] + 8 : starts[number + 1]] = bytes(starts[number + 1] - starts[number] - 8)
    path.write_bytes(bytes(content))
    check_video(path, Limits())
    with open_video(path, Limits()) as video:
        assert numbers_of(video.frames_at(middles([38, 39, 40, 42, 43, 44]))) == [38, 39, 39, 39, 43, 44]
    for number in range(1, 99):
        content[starts[number] + 8 : starts[number + 1]] = bytes(starts[number + 1] - starts[number] - 8)
    path.write_bytes(bytes(content))
    with pytest.raises(FileError, match=r"^damaged: 98 of 100 packets of its video cannot be decoded$"):
        check_video(path, Limits(max_bad_packets=98))
    message = (
        r"^damaged: 98 packets of its video in a row cannot be decoded; the limit is 97 "
        r"\(--source\.limits\.max-bad-packets\)$"
    )
    with pytest.raises(FileError, match=message):
        check_video(path, Limits(max_bad_packets=97))


def without(path: Path, start: bytes) -> bytes:
    content = path.read_bytes()
    return content[: content.index(start)]


def test_an_avi_without_its_index(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "a.avi", 61, "mpeg4", b_frames=2)
    path.write_bytes(without(path, b"idx1"))
    with open_video(path, Limits()) as video:
        assert numbers_of(video.frames_at(middles([50, 7, 30]))) == [50, 7, 30]


def test_what_is_no_video(tmp_path: Path) -> None:
    whole = write_numbered(tmp_path / "whole.mp4", 12)
    content = whole.read_bytes()
    text = tmp_path / "text.mp4"
    text.write_bytes(b"not a video at all\n" * 40)
    headless = tmp_path / "headless.mp4"
    headless.write_bytes(content[: content.index(b"moov") - 4])
    unknown = tmp_path / "unknown.mp4"
    unknown.write_bytes(content.replace(b"avc1", b"zzz9"))
    broken = tmp_path / "broken.mp4"
    start = content.index(b"mdat") + 4
    end = content.index(b"moov") - 4
    broken.write_bytes(content[:start] + bytes(end - start) + content[end:])
    expected = {
        text: "^no sound or video file: it begins with 'not a video at ?a?'$",
        headless: "^damaged, or no sound or video file of a known kind$",
        unknown: "^its video has a codec that cannot be decoded here; convert it to H.264 in MP4$",
        broken: "^not one frame of its video can be decoded$",
    }
    for path, message in expected.items():
        for read in (open_video, probe_video, check_video):
            with pytest.raises(FileError, match=message) as caught:
                read(path, Limits())
            assert str(tmp_path) not in str(caught.value)
            assert "\n" not in str(caught.value)


def test_a_video_without_frames(tmp_path: Path) -> None:
    """MP4 leaves an empty track out, so it has no picture; in Matroska the track is there and the file ends."""
    for name in ("a.mp4", "a.mkv"):
        with av.open(str(tmp_path / name), "w") as container:
            stream = container.add_stream("libx264", rate=25)
            stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv420p"
            container.start_encoding()
    with pytest.raises(AbsentError, match=r"^has no picture$"):
        open_video(tmp_path / "a.mp4", Limits())
    with pytest.raises(FileError, match=r"^damaged sound or video file: End of file$"):
        open_video(tmp_path / "a.mkv", Limits())


def refusal(path: Path) -> str:
    """Returns why a file is refused, or nothing; anything but a FileError ends the test."""
    limits = Limits(max_frame_pixels=10**6)
    try:
        check_video(path, limits)
        with open_video(path, limits) as video:
            assert video.frames_at([0.3, 0.9], size=(33, 49)).shape == (2, 33, 49, 3)
    except FileError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", ["h264.mp4", "h264.mkv", "mpeg4.avi", "film.gif"])
def test_any_cut_and_flipped_bytes_raise_nothing_but_file_errors(tmp_path: Path, name: str) -> None:
    whole = write_numbered(tmp_path / name, 24, **KINDS[name]).read_bytes()
    random = np.random.default_rng(3)
    path = tmp_path / f"bad-{name}"
    for trial in range(40):
        bad = np.frombuffer(whole, np.uint8).copy()
        if trial % 2:
            bad = bad[: int(random.integers(1, len(bad)))]
        else:
            bad[random.integers(len(bad), size=20)] = random.integers(256, size=20)
        path.write_bytes(bad.tobytes())
        reason = refusal(path)
        assert reason.isprintable()
        assert str(tmp_path) not in reason


def test_frames_without_a_pixel_are_refused() -> None:
    with pytest.raises(FileError, match=r"^declares frames of 98 x 0 pixels; there must be at least one$"):
        check_frame_size(98, 0, Limits())


def test_limits_come_before_memory(tmp_path: Path, monkeypatch) -> None:
    path = write_numbered(tmp_path / "a.mp4", 3)
    with pytest.raises(
        FileError,
        match=r"^declares frames of 98 x 66 = 6,468 pixels; the limit is 6,467 \(--source.limits.max-frame-pixels\)$",
    ):
        open_video(path, Limits(max_frame_pixels=6467))
    with pytest.raises(
        FileError,
        match=r"^declares frames of 98 x 66 pixels; the limit is 97 a side \(--source.limits.max-image-side\)$",
    ):
        check_video(path, Limits(max_image_side=97))
    check_video(path, Limits(max_frame_pixels=6468))
    stretched = tmp_path / "b.mp4"
    write_frames(stretched, [quarters(64, 96)], layout="yuv444p", pixel_aspect=Fraction(5, 1))
    with pytest.raises(FileError, match=r"^declares frames of 480 x 64 = 30,720 pixels; the limit is 30,000 "):
        probe_video(stretched, Limits(max_frame_pixels=30_000))
    with open_video(path, Limits(max_clip_pixels=4 * 66 * 98)) as video:
        assert video.frames_at([0.0] * 4).shape == (4, 66, 98, 3)
        message = (
            r"^5 frames of 98 x 66 pixels are asked for; the limit is 25,872 pixels "
            r"\(--source.limits.max-clip-pixels\)$"
        )
        with pytest.raises(FileError, match=message):
            video.frames_at([0.0] * 5)


@pytest.mark.parametrize("name", KINDS)
def test_a_frame_just_inside_the_limit_is_read_whatever_margin_its_codec_keeps(tmp_path: Path, name: str) -> None:
    path = write_numbered(tmp_path / name, 40, **KINDS[name])
    check_video(path, Limits(max_frame_pixels=66 * 98))
    with pytest.raises(FileError, match=r"^declares frames of 98 x 66 = 6,468 pixels; the limit is 6,467 "):
        check_video(path, Limits(max_frame_pixels=66 * 98 - 1))


@pytest.mark.parametrize("size", [(66, 98), (9000, 9000)])
def test_opening_a_file_decodes_no_frame_beyond_the_limit(tmp_path: Path, size: tuple[int, int]) -> None:
    """FFmpeg decodes a PNG to learn its layout, whatever size the container declares."""
    path = write_packets(tmp_path / "a.mov", "png", [grey_png(9000, 9000)], size)
    message = (
        r"^not one frame of its video can be decoded: it declares no size, or one beyond the limit of 36,000,000 "
        r"pixels \(--source\.limits\.max-frame-pixels\)$"
    )
    for read in (open_video, check_video):
        with pytest.raises(FileError, match=message):
            read(path, Limits())


def test_a_size_that_changes_in_mid_file(tmp_path: Path) -> None:
    """VP8 may change its size at a keyframe: later frames are scaled to the first one's size, or beyond the limit."""
    path = tmp_path / "a.webm"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libvpx", rate=25)
        stream.height, stream.width, stream.pix_fmt = 66, 98, "yuv420p"
        larger = av.CodecContext.create("libvpx", "w")
        larger.height, larger.width, larger.pix_fmt, larger.time_base = 396, 588, "yuv420p", Fraction(1, 25)
        for number in range(24):
            encoder, scale = (stream, 1) if number < 12 else (larger, 6)
            picture = av.VideoFrame.from_ndarray(numbered_frame(number, 66 * scale, 98 * scale), format="rgb24")
            picture = picture.reformat(format="yuv420p")
            picture.pts, picture.time_base = number, Fraction(1, 25)
            for packet in encoder.encode(picture):
                packet.stream, packet.time_base = stream, Fraction(1, 25)
                container.mux(packet)
            if number == 11:
                container.mux(stream.encode(None))
        for packet in larger.encode(None):
            packet.stream, packet.time_base = stream, Fraction(1, 25)
            container.mux(packet)
    check_video(path, Limits())
    with open_video(path, Limits()) as video:
        frames = video.frames_at(middles([3, 20, 11, 23]))
        assert frames.shape == (4, 66, 98, 3)
        assert numbers_of(frames) == [3, 20, 11, 23]
    small = Limits(max_frame_pixels=10_000)
    check_video(path, small)
    with open_video(path, small) as video:
        assert numbers_of(video.frames_at(middles([20, 3]))) == [11, 3]  # what cannot be decoded does not appear


def test_requests_that_make_no_sense(tmp_path: Path) -> None:
    with open_video(write_numbered(tmp_path / "a.mp4", 3), Limits()) as video:
        for times in ([], [0.0, float("nan")], [float("inf")]):
            with pytest.raises(ValueError, match=r"^times must be at least one number of seconds: got "):
                video.frames_at(times)
        for box in (Box(0, 0, 99, 10), Box(-1, 0, 5, 5), Box(90, 0, 9, 10), Box(0, 0, 5, 0)):
            with pytest.raises(ValueError, match=r"^a box must lie within the picture of 98 x 66 pixels: got Box"):
                video.frames_at([0.0], box=box)
