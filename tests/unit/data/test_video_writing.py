"""write_video: what is read back is what was given, as far as H.264 and AAC keep it."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from perceptio.data.limits import Limits
from perceptio.data.video_files import open_video, probe_video
from perceptio.data.video_writing import write_video
from perceptio.errors import UsageError
from support.videos import numbered_frame, numbers_of


def soft_frames(count: int, height: int, width: int) -> np.ndarray:
    """Smooth colours that move: what a codec is made for."""
    time, row, column = np.mgrid[0:count, 0:height, 0:width]
    red = 128 + 90 * np.sin(row / 11 + time / 5)
    green = 128 + 90 * np.cos(column / 13 - time / 7)
    blue = 128 + 90 * np.sin((row + column) / 17)
    return np.stack([red, green, blue], axis=-1).astype(np.uint8)


def peak_ratio(found: np.ndarray, expected: np.ndarray) -> float:
    """Returns the peak signal-to-noise ratio in dB."""
    error = np.mean((found.astype(np.float64) - expected) ** 2)
    return float(10 * np.log10(255**2 / error))


@pytest.mark.parametrize("size", [(90, 122), (61, 101)])
def test_frames_come_back(tmp_path: Path, size: tuple[int, int]) -> None:
    """At least 38 dB in RGB; 35 to 40 is what good lossy video has, and halved colour resolution costs most of it."""
    frames = soft_frames(30, *size)
    write_video(tmp_path / "a.mp4", frames, 12.5)
    facts = probe_video(tmp_path / "a.mp4", Limits())
    even = (size[0] + size[0] % 2, size[1] + size[1] % 2)
    assert (facts["height"], facts["width"]) == even
    assert facts["frames_per_second"] == pytest.approx(12.5)
    assert facts["seconds"] == pytest.approx(30 / 12.5, abs=1e-3)
    assert facts["has_sound"] == 0.0
    with open_video(tmp_path / "a.mp4", Limits()) as video:
        found = video.frames_at([(number + 0.5) / 12.5 for number in range(30)])
    assert peak_ratio(found[:, : size[0], : size[1]], frames) > 38
    # The row and the column that make the sides even repeat the last ones.
    assert peak_ratio(found[:, -1, : size[1]], frames[:, -1]) > 32
    assert peak_ratio(found[:, : size[0], -1], frames[:, :, -1]) > 32
    # A larger shift of colours than FFmpeg's fast conversion has would be a mistake in matrix or range.
    np.testing.assert_allclose(
        found[:, : size[0], : size[1]].mean(axis=(0, 1, 2)), frames.mean(axis=(0, 1, 2)), atol=1.5
    )


def test_every_frame_is_there_in_order(tmp_path: Path) -> None:
    rate = 30000 / 1001
    write_video(tmp_path / "a.mp4", (numbered_frame(number) for number in range(100)), rate)
    with open_video(tmp_path / "a.mp4", Limits()) as video:
        assert video.frames_per_second == pytest.approx(rate, rel=1e-9)
        assert numbers_of(video.frames_at([(number + 0.5) / rate for number in range(100)])) == list(range(100))


def test_grey_frames_and_colours_as_players_expect_them(tmp_path: Path) -> None:
    write_video(tmp_path / "grey.mp4", np.full((3, 32, 48, 1), 77, np.uint8), 10)
    with open_video(tmp_path / "grey.mp4", Limits()) as video:
        np.testing.assert_allclose(video.frames_at([0.0]), 77, atol=1)
    with av.open(str(tmp_path / "grey.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert (context.pix_fmt, context.colorspace, context.color_range) == ("yuv420p", 1, 1)  # BT.709, limited
        assert context.name == "h264"
    assert not [path for path in tmp_path.iterdir() if path.name != "grey.mp4"]
    # The index stands first: a browser shows the film while it is loading.
    content = (tmp_path / "grey.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


@pytest.mark.parametrize("channels", [1, 2])
def test_sound(tmp_path: Path, channels: int) -> None:
    """A tone of its own in each channel, found again by its frequency and strength; AAC at 96 kbit/s a channel."""
    rate, seconds = 16_000, 2.0
    time = np.arange(int(rate * seconds)) / rate
    sound = np.stack([0.5 * np.sin(2 * np.pi * 440 * (1 + channel) * time) for channel in range(channels)], axis=1)
    frames = soft_frames(50, 32, 48)
    write_video(tmp_path / "a.mp4", frames, 25, sound=sound[:, 0] if channels == 1 else sound, sample_rate_hz=rate)
    facts = probe_video(tmp_path / "a.mp4", Limits())
    assert facts["has_sound"] == 1.0
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.audio[0]
        parts = [frame.to_ndarray() for frame in container.decode(stream)]
        assert (stream.rate, stream.channels) == (rate, channels)
        start = float((stream.start_time or 0) * stream.time_base)
    heard = np.concatenate(parts, axis=1)
    assert start == pytest.approx(0.0, abs=1e-3)
    assert heard.shape[1] == pytest.approx(len(sound), abs=2048)
    middle = heard[:, 8000:24000]
    for channel in range(channels):
        expected = sound[8000:24000, channel]
        assert np.sqrt(np.mean((middle[channel] - expected) ** 2)) < 0.02  # in step as well: the tone is 0.35
        spectrum = np.abs(np.fft.rfft(middle[channel]))
        assert int(spectrum.argmax()) == 440 * (1 + channel)


def test_sound_and_pictures_stand_side_by_side_in_the_file(tmp_path: Path) -> None:
    """Otherwise players that read as they play stall."""
    sound = np.zeros(8000 * 8, np.float32)
    write_video(tmp_path / "a.mp4", soft_frames(200, 32, 48), 25, sound=sound, sample_rate_hz=8000)
    with av.open(str(tmp_path / "a.mp4")) as container:
        last = {"video": 0.0, "audio": 0.0}
        apart = []
        for packet in container.demux():
            if packet.dts is not None:
                last[packet.stream.type] = float(packet.dts * packet.time_base)
                apart.append(abs(last["video"] - last["audio"]))
    assert max(apart) < 1.5


@pytest.mark.parametrize(
    ("frames", "rate", "settings", "message"),
    [
        ([], 25, {}, "^a video needs at least one frame; none is given$"),
        (np.zeros((2, 8, 8, 3), np.float32), 25, {}, r"^a frame must be bytes \(uint8\) of shape \(height, width, 1 "
                                                     r"or 3\): got float32 "),
        (np.zeros((2, 8, 8), np.uint8), 25, {}, r"1 or 3\): got uint8 \(8, 8\)$"),
        (np.zeros((2, 8, 8, 4), np.uint8), 25, {}, r"got uint8 \(8, 8, 4\)$"),
        (
            [np.zeros((8, 8, 3), np.uint8), np.zeros((8, 9, 3), np.uint8)],
            25,
            {},
            r"^all frames must have one size: got \(8, 9, 3\) after \(8, 8, 3\)$",
        ),
        (np.zeros((2, 8, 8, 3), np.uint8), 0, {}, r"^frames_per_second must lie in 0.01 to 1000: got 0$"),
        (np.zeros((2, 8, 8, 3), np.uint8), 25, {"sound": np.zeros(9)}, "^sound and sample_rate_hz belong together: "
                                                                       "give both or neither$"),
        (
            np.zeros((2, 8, 8, 3), np.uint8),
            25,
            {"sound": np.zeros(9), "sample_rate_hz": 12345},
            r"^sample_rate_hz must be one that AAC knows \(8000, .*\): got 12345; resample first$",
        ),
        (
            np.zeros((2, 8, 8, 3), np.uint8),
            25,
            {"sound": np.zeros((9, 3)), "sample_rate_hz": 8000},
            r"^sound must be \(samples,\) or \(samples, 1 or 2 channels\): got \(9, 3\)$",
        ),
        (
            np.zeros((2, 8, 8, 3), np.uint8),
            25,
            {"sound": np.array([0.0, 1.5]), "sample_rate_hz": 8000},
            "^sound must be floating-point samples from -1 to 1; divide by the largest one first$",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_written(tmp_path: Path, frames, rate, settings, message: str) -> None:
    """An earlier file of that name stays, and nothing half-written is left."""
    (tmp_path / "a.mp4").write_bytes(b"before")
    with pytest.raises(UsageError, match=message):
        write_video(tmp_path / "a.mp4", frames, rate, **settings)
    assert (tmp_path / "a.mp4").read_bytes() == b"before"
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_names_that_ffmpeg_would_read_as_addresses(tmp_path: Path) -> None:
    path = tmp_path / "concat:a|b%03d.mp4"
    write_video(path, soft_frames(2, 16, 16), Fraction(25, 1).numerator)
    assert probe_video(path, Limits())["width"] == 16.0


def test_a_disk_error_is_one(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file or directory"):
        write_video(tmp_path / "nowhere" / "a.mp4", soft_frames(2, 16, 16), 25)
