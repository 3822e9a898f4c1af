"""Frames by the moment at which they are on the screen: frames bear their number, so a wrong one is noticed."""

import tracemalloc
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from perceptio.data.crops import Box
from perceptio.data.limits import Limits
from perceptio.data.video_files import check_video, open_video, probe_video
from perceptio.data.video_reading import FrameReader
from perceptio.errors import AbsentError, FileError
from support.videos import (
    KINDS,
    Pipe,
    middles,
    number_of,
    numbered_frame,
    numbers_of,
    quarters,
    write_frames,
    write_numbered,
)

READERS = ("check_video", "open_video", "probe_video")
pytestmark = pytest.mark.usefixtures("either_place")


@pytest.fixture(scope="module")
def numbered(tmp_path_factory):
    """Files of 61 numbered frames, each written once."""
    folder = tmp_path_factory.mktemp("numbered")

    def make(name: str) -> Path:
        path = folder / name
        return path if path.exists() else write_numbered(path, 61, rate=rate_of(name), **KINDS[name])

    return make


def rate_of(name: str) -> int:
    return 10 if name.endswith("gif") else 25


@pytest.fixture
def frames_decoded(monkeypatch):
    """Counts the frames that are decoded."""
    count = []
    original = FrameReader.read

    def read(self):
        timed = original(self)
        count.append(timed)
        return timed

    monkeypatch.setattr(FrameReader, "read", read)
    return count


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("first", [0, 1, 11, 12, 13, 29, 47, 60])
def test_any_moment_of_any_kind_of_file(numbered, name: str, first: int) -> None:
    """A group of pictures is 12 frames, so these starts lie at, before and behind keyframes."""
    rate = rate_of(name)
    wanted = [first, first + 1, min(first + 7, 60)] if first < 60 else [first]
    with open_video(numbered(name), Limits()) as video:
        assert numbers_of(video.frames_at(middles(wanted, rate))) == wanted
        assert numbers_of(video.frames_at([number / rate for number in wanted])) == wanted  # as they appear
        # Back and forth in an open file, and in any order.
        assert numbers_of(video.frames_at(middles([60, 3, 31], rate))) == [60, 3, 31]
        assert numbers_of(video.frames_at(middles([first], rate))) == [first]


@pytest.mark.parametrize("name", KINDS)
def test_past_the_end_the_last_frame_stays_and_before_the_start_the_first(numbered, name: str) -> None:
    rate = rate_of(name)
    with open_video(numbered(name), Limits()) as video:
        assert numbers_of(video.frames_at([1e6, -3.0, 60 / rate, 100.0])) == [60, 0, 60, 60]
        assert video.seconds == pytest.approx(61 / rate, abs=0.01)
        assert video.frames_per_second == pytest.approx(rate, rel=1e-6)
    check_video(numbered(name), Limits())


@pytest.mark.parametrize("codec", ["mpeg1video", "mpeg2video"])
@pytest.mark.parametrize("noisy", [range(0), range(25), range(25, 50)], ids=["nowhere", "first", "last"])
def test_a_program_stream_is_as_long_as_its_packets_say(tmp_path: Path, codec: str, noisy: range) -> None:
    """What FFmpeg takes for the length misses frames without a stamp: more of them where frames are small."""
    random = np.random.default_rng(0)
    noise, black = random.integers(0, 256, (25, 66, 98, 3), dtype=np.uint8), np.zeros((66, 98, 3), np.uint8)
    path = tmp_path / "a.mpg"
    write_frames(path, [noise[number % 25] if number in noisy else black for number in range(50)], codec)
    with open_video(path, Limits()) as video:
        assert video.seconds == pytest.approx(2.0, abs=1e-4)
    assert probe_video(path, Limits())["seconds"] == pytest.approx(2.0, abs=1e-4)


@pytest.mark.parametrize(("name", "codec"), [("a.mpg", "mpeg2video"), ("a.ts", "libx264"), ("a.avi", "libx264")])
def test_formats_that_seek_badly(tmp_path: Path, name: str, codec: str) -> None:
    """Long enough for many groups of pictures on either side: these demuxers land late or make stamps up."""
    path = write_numbered(tmp_path / name, 300, codec, b_frames=2, group=25)
    order = np.random.default_rng(0).permutation(300)[:80].tolist()
    with open_video(path, Limits()) as video:
        assert [number_of(video.frames_at(middles([number]))[0]) for number in order] == order
    for number in order[::8]:
        with open_video(path, Limits()) as video:  # the first thing asked of an open file
            assert number_of(video.frames_at(middles([number]))[0]) == number


def test_what_probe_says(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "a.mp4", 31, sound=True, rate=Fraction(30000, 1001))
    facts = probe_video(path, Limits())
    assert facts == {
        "seconds": pytest.approx(31 * 1001 / 30000, abs=1e-4),
        "height": 66.0,
        "width": 98.0,
        "frames_per_second": pytest.approx(30000 / 1001),
        "has_sound": 1.0,
    }
    assert probe_video(write_numbered(tmp_path / "b.mp4", 3), Limits())["has_sound"] == 0.0


def test_variable_rates_go_by_the_time_stamps(tmp_path: Path) -> None:
    """Frame k appears at its own moment; the one on the screen is the last that has appeared."""
    stamps = [0, 40, 45, 300, 310, 311, 700, 1500, 1520, 4000]
    for name in ("a.mkv", "a.mp4"):
        path = tmp_path / name
        frames = [numbered_frame(number) for number in range(len(stamps))]
        write_frames(path, frames, stamps=stamps, time_base=Fraction(1, 1000), rate=1000, b_frames=2, group=4)
        with open_video(path, Limits()) as video:
            for moment in (0, 39, 40, 44, 46, 299, 300, 309, 310, 312, 699, 701, 1499, 1510, 1521, 3999, 4001):
                expected = max(number for number, stamp in enumerate(stamps) if stamp <= moment)
                assert number_of(video.frames_at([moment / 1000])[0]) == expected, (name, moment)


def test_rounded_stamps_of_matroska_do_not_shift_frames(tmp_path: Path) -> None:
    """At 30 frames a second stamps are 0, 33, 67 ms: frame 2 is asked for at 66.7 ms and begins at 67."""
    path = write_numbered(tmp_path / "a.mkv", 40, rate=30)
    with open_video(path, Limits()) as video:
        assert numbers_of(video.frames_at([number / 30 for number in range(40)])) == list(range(40))


def test_the_clock_starts_with_the_first_frame(tmp_path: Path) -> None:
    """Stamps that begin late, as in a cut-out part of a broadcast."""
    stamps = [7_000 + 40 * number for number in range(40)]
    frames = [numbered_frame(number) for number in range(40)]
    for name in ("a.mkv", "a.ts"):
        write_frames(tmp_path / name, frames, stamps=stamps, time_base=Fraction(1, 1000), rate=25, b_frames=2)
        with open_video(tmp_path / name, Limits()) as video:
            assert numbers_of(video.frames_at(middles([0, 5, 25, 39]))) == [0, 5, 25, 39], name


def test_a_clip_from_the_middle_costs_one_group_of_pictures(tmp_path: Path, frames_decoded) -> None:
    path = write_numbered(tmp_path / "a.mp4", 500, group=25, b_frames=2, options={"sc_threshold": "0"})
    with open_video(path, Limits()) as video:
        frames_decoded.clear()
        assert numbers_of(video.frames_at(middles(range(380, 388)))) == list(range(380, 388))
        assert len(frames_decoded) <= 25 + 8 + 2
        frames_decoded.clear()
        assert numbers_of(video.frames_at(middles(range(130, 138)))) == list(range(130, 138))
        assert len(frames_decoded) <= 25 + 8 + 2


def test_overlapping_clips_are_decoded_once(tmp_path: Path, frames_decoded) -> None:
    path = write_numbered(tmp_path / "a.mp4", 250, group=250, b_frames=2, options={"sc_threshold": "0"})
    with open_video(path, Limits()) as video:
        for first in range(0, 240, 5):
            wanted = list(range(first, first + 10))
            assert numbers_of(video.frames_at([number / 25 for number in wanted], size=(33, 49))) == wanted
        assert len(frames_decoded) <= 250
        # Another size shares nothing with the last call.
        assert video.frames_at([1.0], size=(22, 44)).shape == (1, 22, 44, 3)


def test_keyframes_that_are_rare_are_not_gone_back_to_for_every_frame(tmp_path: Path, frames_decoded) -> None:
    path = write_numbered(tmp_path / "a.mp4", 500, group=500, options={"sc_threshold": "0"})
    with open_video(path, Limits()) as video:
        assert numbers_of(video.frames_at(middles(range(0, 500, 60)))) == list(range(0, 500, 60))
        assert len(frames_decoded) < 2 * 500


def corners(picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    return picture[[height // 4, 3 * height // 4]][:, [width // 4, 3 * width // 4]]


@pytest.mark.parametrize("degrees", [0, 90, 180, 270, -90])
def test_rotation(tmp_path: Path, degrees: int) -> None:
    """FFmpeg's degrees are counterclockwise, as numpy's quarter turns."""
    write_frames(tmp_path / "a.mp4", [quarters(64, 96)] * 3, layout="yuv444p", rotation=degrees)
    expected = np.rot90(quarters(64, 96), k=degrees // 90)
    facts = probe_video(tmp_path / "a.mp4", Limits())
    assert (facts["height"], facts["width"]) == expected.shape[:2]
    with open_video(tmp_path / "a.mp4", Limits()) as video:
        picture = video.frames_at([0.0])[0]
        assert picture.shape == expected.shape
        np.testing.assert_allclose(picture.astype(int), expected, atol=40)  # edges of the quarters
        np.testing.assert_allclose(corners(picture).astype(int), corners(expected), atol=4)
        size = (expected.shape[0] // 2, expected.shape[1] // 2)
        box = Box(3, 5, 11, 17)
        part = video.frames_at([0.0], size=size, box=box)[0]
        whole = video.frames_at([0.0], size=size)[0]
        np.testing.assert_array_equal(part, whole[5:22, 3:14])
        np.testing.assert_allclose(corners(whole).astype(int), corners(expected), atol=4)


ONE = 1 << 16


@pytest.mark.parametrize(
    ("matrix", "turn"),
    [
        # (a, b, c, d) maps (x, y) to (a x + c y, b x + d y), y downwards; written into the file by hand.
        ((ONE, 0, 0, ONE), lambda p: p),
        ((0, ONE, -ONE, 0), lambda p: np.rot90(p, -1)),  # what a telephone held upright writes: clockwise
        ((-ONE, 0, 0, -ONE), lambda p: np.rot90(p, 2)),
        ((0, -ONE, ONE, 0), lambda p: np.rot90(p, 1)),
        ((-ONE, 0, 0, ONE), np.fliplr),
        ((ONE, 0, 0, -ONE), np.flipud),
        ((0, ONE, ONE, 0), lambda p: p.transpose(1, 0, 2)),
        ((0, -ONE, -ONE, 0), lambda p: np.rot90(p, 2).transpose(1, 0, 2)),
        ((46341, 46351, -46351, 46341), lambda p: np.rot90(p, -1)),  # 45 degrees and a little: the nearest quarter
    ],
)
def test_display_matrices_with_mirror_images(tmp_path: Path, matrix, turn) -> None:
    write_frames(tmp_path / "a.mp4", [quarters(64, 96)] * 2, layout="yuv444p")
    content = (tmp_path / "a.mp4").read_bytes()
    a, b, c, d = matrix
    identity = b"".join(value.to_bytes(4, "big", signed=True) for value in (ONE, 0, 0, 0, ONE, 0, 0, 0, 1 << 30))
    wanted = b"".join(value.to_bytes(4, "big", signed=True) for value in (a, b, 0, c, d, 0, 0, 0, 1 << 30))
    header = content.index(b"tkhd")
    place = content.index(identity, header)
    (tmp_path / "b.mp4").write_bytes(content[:place] + wanted + content[place + 36 :])
    with open_video(tmp_path / "b.mp4", Limits()) as video:
        picture = video.frames_at([0.0])[0]
    np.testing.assert_allclose(corners(picture).astype(int), corners(turn(quarters(64, 96))), atol=4)


@pytest.mark.parametrize(
    ("aspect", "width"), [(Fraction(4, 3), 128), (Fraction(1, 2), 48), (Fraction(16, 15), 102), (Fraction(99, 1), 96)]
)
def test_pixels_that_are_not_square_are_made_square(tmp_path: Path, aspect: Fraction, width: int) -> None:
    """The last one is beyond any real format and counts as square."""
    write_frames(tmp_path / "a.mp4", [quarters(64, 96)] * 2, layout="yuv444p", pixel_aspect=aspect)
    with open_video(tmp_path / "a.mp4", Limits()) as video:
        assert video.size == (64, width)
        picture = video.frames_at([0.0])[0]
    assert picture.shape == (64, width, 3)
    np.testing.assert_allclose(corners(picture).astype(int), corners(quarters(64, 96)), atol=4)


@pytest.mark.parametrize(
    ("codec", "layout", "name"),
    [
        ("libx264", "yuv444p", "a.mp4"),
        ("libx264", "yuv420p10le", "a.mp4"),
        ("libx264", "yuvj420p", "a.mp4"),  # full range
        ("ffv1", "yuv444p16le", "a.mkv"),
        ("ffv1", "bgr0", "a.mkv"),
        ("prores_ks", "yuv422p10le", "a.mov"),
        ("mjpeg", "yuvj422p", "a.avi"),
    ],
)  # fmt: skip
def test_layouts_of_pixels(tmp_path: Path, codec: str, layout: str, name: str) -> None:
    write_frames(tmp_path / name, [quarters(64, 96)] * 2, codec, layout=layout)
    with open_video(tmp_path / name, Limits()) as video:
        picture = video.frames_at([0.0])[0]
    np.testing.assert_allclose(corners(picture).astype(int), corners(quarters(64, 96)), atol=6)


def test_odd_sizes(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "a.mkv", 5, "ffv1", layout="yuv444p", size=(61, 101))
    with open_video(path, Limits()) as video:
        assert video.size == (61, 101)
        np.testing.assert_allclose(video.frames_at([0.1])[0].astype(int), numbered_frame(2, 61, 101), atol=2)


@pytest.mark.parametrize("colours", [1, 5])  # BT.709, BT.601
def test_the_stated_colour_matrix_is_used(tmp_path: Path, colours: int) -> None:
    """The same bytes mean other colours by the two matrices; expected from their published coefficients."""
    yuv = np.empty((48, 32), np.uint8)  # 32 x 32 of luma, then twice 16 x 16 of colour
    yuv[:32], yuv[32:40], yuv[40:] = 120, 90, 190
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width, stream.pix_fmt = 32, 32, "yuv420p"
        stream.codec_context.colorspace = colours
        stream.codec_context.color_range = 1
        container.mux(stream.encode(av.VideoFrame.from_ndarray(yuv, format="yuv420p")))
        container.mux(stream.encode(None))
    red_weight, blue_weight = {1: (0.2126, 0.0722), 5: (0.299, 0.114)}[colours]
    luma, blue, red = (120 - 16) / 219, (90 - 128) / 224, (190 - 128) / 224
    r, b = luma + 2 * (1 - red_weight) * red, luma + 2 * (1 - blue_weight) * blue
    g = (luma - red_weight * r - blue_weight * b) / (1 - red_weight - blue_weight)
    with open_video(tmp_path / "a.mkv", Limits()) as video:
        mean = video.frames_at([0.0])[0].mean(axis=(0, 1))
    np.testing.assert_allclose(mean, np.clip([255 * r, 255 * g, 255 * b], 0, 255), atol=2)


def test_transparent_parts_are_laid_on_white_before_scaling(tmp_path: Path) -> None:
    frame = np.zeros((64, 96, 4), np.uint8)
    frame[..., 0], frame[:, :48, 3], frame[:, 48:, 3] = 200, 255, 0
    frame[:, 48:, :3] = (0, 0, 0)  # hidden black
    frame[32:, :48, 3] = 51  # a fifth
    write_frames(tmp_path / "a.mov", [frame] * 2, "qtrle", layout="argb")
    with open_video(tmp_path / "a.mov", Limits()) as video:
        picture = video.frames_at([0.0])[0].astype(int)
        half = video.frames_at([0.0], size=(32, 47))[0].astype(int)
    np.testing.assert_array_equal(picture[:, 48:], 255)
    np.testing.assert_array_equal(picture[:32, :48], np.broadcast_to((200, 0, 0), (32, 48, 3)))
    np.testing.assert_allclose(picture[32:, :48], np.broadcast_to((244, 204, 204), (32, 48, 3)), atol=1)
    assert (half[:, :, 0] >= 195).all()  # no dark fringe where the hidden black begins


@pytest.mark.parametrize("delay", [0, 1, 2, 7])
def test_gifs_with_odd_delays(tmp_path: Path, delay: int) -> None:
    """Hundredths of a second; 0 means 10, as in browsers. Written by Pillow, not by the library that reads."""
    frames = [Image.fromarray(numbered_frame(number)) for number in range(9)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=10 * delay, loop=0, disposal=2)
    seconds = 0.01 * (delay or 10)
    with open_video(tmp_path / "a.gif", Limits()) as video:
        assert video.seconds == pytest.approx(9 * seconds, abs=1e-6)
        wanted = [4, 1, 8, 0]
        assert numbers_of(video.frames_at([(number + 0.5) * seconds for number in wanted])) == wanted


def test_a_gif_of_one_frame_and_frames_that_build_on_each_other(tmp_path: Path, frames_decoded) -> None:
    Image.fromarray(numbered_frame(5)).save(tmp_path / "one.gif")
    with open_video(tmp_path / "one.gif", Limits()) as video:
        assert numbers_of(video.frames_at([0.0, 3.0])) == [5, 5]
        assert video.seconds >= 0
    # Each frame adds a stripe and is transparent elsewhere: without the frames before it, it is nearly empty.
    parts = []
    for number in range(6):
        part = np.zeros((66, 98, 4), np.uint8)
        part[:, number * 98 // 9 : (number + 1) * 98 // 9] = 255
        if number == 0:
            part[..., 3] = 255
        parts.append(Image.fromarray(part))
    parts[0].save(tmp_path / "sum.gif", save_all=True, append_images=parts[1:], duration=4000, disposal=0)
    frames_decoded.clear()
    with open_video(tmp_path / "sum.gif", Limits()) as video:
        assert numbers_of(video.frames_at([22.0, 2.0, 14.0])) == [0b111111, 0b1, 0b1111]
    assert len(frames_decoded) == 7  # six frames and the end: never begun anew


def test_the_cover_of_a_sound_file_is_no_video(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "plain.mp3"), "w") as container:
        stream = container.add_stream("libmp3lame", rate=44100, layout="mono")
        part = av.AudioFrame.from_ndarray(np.zeros((1, 4608), np.float32), format="fltp", layout="mono")
        part.sample_rate = 44100
        container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    png = Path(tmp_path) / "cover.png"
    Image.fromarray(quarters(8, 8)).save(png)
    picture = b"\0image/png\0\x03\0" + png.read_bytes()  # ID3v2.3: encoding, type, kind 3 = front cover, description
    tag = b"APIC" + len(picture).to_bytes(4, "big") + b"\0\0" + picture
    length = bytes(len(tag) >> shift & 0x7F for shift in (21, 14, 7, 0))
    (tmp_path / "a.mp3").write_bytes(b"ID3\x03\0\0" + length + tag + (tmp_path / "plain.mp3").read_bytes())
    with av.open(str(tmp_path / "a.mp3")) as container:
        assert len(container.streams.video) == 1  # FFmpeg counts the cover as one
    for read in (open_video, probe_video, check_video):
        for name in ("a.mp3", "plain.mp3"):
            with pytest.raises(AbsentError, match=r"^has no picture$"):
                read(tmp_path / name, Limits())


def test_a_header_without_a_duration(tmp_path: Path, frames_decoded) -> None:
    pipe = Pipe()
    write_frames(pipe, [numbered_frame(number) for number in range(53)], format="matroska", b_frames=2)
    path = tmp_path / "live.mkv"
    path.write_bytes(bytes(pipe.content))
    with av.open(str(path)) as container:
        assert container.duration is None
        assert container.streams.video[0].duration is None
    with open_video(path, Limits()) as video:
        assert len(frames_decoded) == 2  # the first frames; packets tell the rest
        assert video.seconds == pytest.approx(53 / 25, abs=1e-6)
        assert numbers_of(video.frames_at(middles([40, 2, 52]))) == [40, 2, 52]


def test_a_file_whose_end_is_missing_shows_its_last_frame(tmp_path: Path) -> None:
    faststart = {"movflags": "faststart"}
    path = write_numbered(tmp_path / "a.mp4", 200, container_options=faststart, b_frames=2)
    content = path.read_bytes()
    path.write_bytes(content[: int(0.6 * len(content))])
    check_video(path, Limits())
    with open_video(path, Limits()) as video:
        assert video.seconds == pytest.approx(8.0)  # what the header promises
        numbers = numbers_of(video.frames_at([number / 25 for number in range(200)]))
        last = numbers[-1]
        assert 30 < last < 199
        assert numbers == [min(number, last) for number in range(200)]
    with open_video(path, Limits()) as video:  # straight to where nothing is left
        assert number_of(video.frames_at([7.5])[0]) == last


def test_files_are_closed(tmp_path: Path) -> None:
    def open_files() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    whole = write_numbered(tmp_path / "a.mp4", 30)
    broken = tmp_path / "b.mp4"
    broken.write_bytes(whole.read_bytes().replace(b"avc1", b"zzz9"))
    before = open_files()
    for _ in range(5):
        with open_video(whole, Limits()) as video:
            video.frames_at([1.0, 0.1])
        probe_video(whole, Limits())
        check_video(whole, Limits())
        with pytest.raises(FileError):
            open_video(broken, Limits())
    assert open_files() == before


def test_a_check_of_a_long_file_stays_in_bounded_memory(tmp_path: Path, frames_decoded) -> None:
    path = write_numbered(tmp_path / "a.mp4", 300)
    tracemalloc.start()
    check_video(path, Limits())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000  # 300 frames as RGB would take 5.8 MB
    frames_decoded.clear()
    check_video(path, Limits(max_checked_frames=20))
    assert len(frames_decoded) == 20
