"""What probe_audio and AudioFile do with files that are broken, hostile or hold no sound."""

import os
import re
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from perceptio.data.audio_files import AudioFile, SoundArray, probe_audio
from perceptio.data.limits import Limits
from perceptio.errors import AbsentError, FileError
from support.sounds import FLOAT, encode, tones, wav_bytes
from support.videos import Pipe

READERS = ("AudioFile", "probe_audio")
pytestmark = pytest.mark.usefixtures("either_place")

RATE = 22_050
LONG = 17


def save(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def scan(path: Path) -> None:
    with AudioFile(path, 1, Limits()) as file:
        file.scan()


def refusal(work, path: Path) -> str:
    """Returns why a file is refused, or nothing; anything but a FileError ends the test."""
    try:
        work(path)
    except FileError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("work", [scan, lambda path: probe_audio(path, Limits())])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"^empty file \(0 bytes\)$"),
        (b"<!DOCTYPE html>\n<html>404</html>", "^no sound or video file: it begins with '<!DOCTYPE html>"),
        (b"\x13\x37\xfe\xed\xfa\xce\0\0\x01" * 99, "^damaged, or no sound or video file of a known kind$"),
        (wav_bytes(np.zeros((0, 1)), 8000, bits=16), r"^its sound is empty \(0 samples\)$"),
        (wav_bytes(np.zeros((9, 1)), 0, bits=16), "^damaged, or no sound or video file of a known kind$"),
        (
            wav_bytes(np.zeros((9, 1)), 2**31 - 1, bits=16),
            r"^declares 2,147,483,647 samples a second; it must be 1 to 1,000,000 "
            r"\(--source.limits.max-sample-rate-hz\)$",
        ),
        (
            wav_bytes(np.zeros((9, 65)), 8000, bits=16),
            r"^declares 65 channels of sound; it must be 1 to 64 \(--source.limits.max-sound-channels\)$",
        ),
    ],
)
def test_what_is_no_sound(tmp_path: Path, content: bytes, message: str, work) -> None:
    with pytest.raises(FileError, match=message):
        work(save(tmp_path / "a.wav", content))


def test_a_file_without_sound_is_whole_but_of_no_use(tmp_path: Path) -> None:
    """AbsentError, so that a video without sound can still be used as a video."""
    import av

    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(5):
            output.mux(stream.encode(av.VideoFrame(64, 48, "yuv420p")))
        output.mux(stream.encode(None))
    for work in (scan, lambda path: probe_audio(path, Limits())):
        with pytest.raises(AbsentError, match=r"^has no sound$"):
            work(path)
    with pytest.raises(AbsentError, match=r"^its sound is empty"):
        scan(save(tmp_path / "a.wav", wav_bytes(np.zeros((0, 1)), 8000, bits=16)))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.nan, r"^holds samples that are no numbers \(NaN or infinite\)$"),
        (-np.inf, r"^holds samples that are no numbers \(NaN or infinite\)$"),
        (20_000.0, "^has samples up to 20,000; floating-point sound must lie within -1 to 1$"),
    ],
)
@pytest.mark.parametrize("seconds", [1, LONG])
def test_samples_that_are_no_sound(tmp_path: Path, value: float, message: str, seconds: int) -> None:
    samples = np.zeros((seconds * RATE, 1))
    samples[seconds * RATE // 2] = value
    path = save(tmp_path / "a.wav", wav_bytes(samples, RATE, bits=32, kind=FLOAT))
    with pytest.raises(FileError, match=message):
        scan(path)
    if seconds == LONG:
        with AudioFile(path, 1, Limits()) as file:
            file.read(1.0, RATE, RATE)
            with pytest.raises(FileError, match=message):
                file.read(LONG / 2 - 0.5, RATE, RATE)


@pytest.mark.parametrize(
    ("name", "codec", "settings"),
    [
        ("a.flac", "flac", {}),
        ("a.mp3", "libmp3lame", {}),
        ("a.opus", "libopus", {}),
        ("a.m4a", "aac", {}),
    ],
)
@pytest.mark.parametrize("seconds", [5, 3 * LONG])
def test_damage_in_the_middle_is_refused_and_located(
    tmp_path: Path, name: str, codec: str, settings: dict, seconds: int
) -> None:
    rate = 48_000 if codec == "libopus" else RATE
    raw = bytearray(encode(tmp_path / name, tones(seconds, rate, 2), rate, codec, **settings).read_bytes())
    middle = len(raw) // 2
    raw[middle : middle + len(raw) // 10] = np.random.default_rng(0).bytes(len(raw) // 10)
    path = save(tmp_path / f"bad{name}", bytes(raw))
    with pytest.raises(FileError) as caught:
        scan(path)
    place = re.fullmatch(r"damaged: its sound is broken ([\d.]+) s after the beginning", str(caught.value))
    assert place is not None, str(caught.value)
    # A page of Ogg lasts a second or two, and is lost from its beginning on.
    assert 0.5 * seconds - 2.5 < float(place[1]) < 0.65 * seconds
    if seconds == 3 * LONG:
        with AudioFile(path, 1, Limits()) as file:
            assert np.abs(file.read(5.0, RATE, RATE)).max() > 0.1
            assert np.abs(file.read(0.9 * seconds, RATE, RATE)).max() > 0.1
            with pytest.raises(FileError, match=r"^damaged: its sound is broken "):
                file.read(0.45 * seconds, round(0.25 * seconds * RATE), RATE)


@pytest.mark.parametrize(("name", "codec"), [("a.m4a", "aac"), ("a.flac", "flac")])
def test_damage_spoils_the_windows_that_it_lies_in_and_no_others(tmp_path: Path, name: str, codec: str) -> None:
    """A few packets of 46 ms (AAC) or 0.2 s (FLAC) are lost. Soon after them decoding begins before them."""
    raw = bytearray(encode(tmp_path / name, tones(LONG, RATE), RATE, codec).read_bytes())
    raw[len(raw) // 2 : len(raw) // 2 + 600] = b"\xff" * 600
    path = save(tmp_path / f"bad{name}", bytes(raw))
    with pytest.raises(FileError, match=r"^damaged") as caught:
        scan(path)
    place = float(re.search(r"[\d.]+", str(caught.value))[0])
    with AudioFile(path, 1, Limits()) as file:
        file.read(place - 0.5, round(0.3 * RATE), RATE)
        assert np.abs(file.read(place + 0.45, RATE, RATE)).max() > 0.1
        with pytest.raises(FileError, match=r"^damaged"):
            file.read(place - 0.5, RATE, RATE)


def test_recordings_one_after_the_other_are_refused(tmp_path: Path) -> None:
    """Radio recorders write such Ogg files: the clock starts again in the middle."""
    one = encode(tmp_path / "a.opus", tones(3, 48_000), 48_000, "libopus").read_bytes()
    with pytest.raises(FileError, match=r"^holds several recordings one after the other; split it$"):
        scan(save(tmp_path / "b.opus", one + one))


@pytest.mark.parametrize(
    ("name", "codec", "settings"),
    [
        ("a.wav", "pcm_s16le", {}),
        ("a.flac", "flac", {}),
        ("a.mp3", "libmp3lame", {}),
        ("a.opus", "libopus", {}),
        ("a.m4a", "aac", {}),
        ("a.webm", "libopus", {}),
    ],
)
def test_flipped_bytes_and_cuts_raise_nothing_but_file_errors(
    tmp_path: Path, name: str, codec: str, settings: dict
) -> None:
    whole = encode(tmp_path / name, tones(1, 48_000), 48_000, codec, **settings).read_bytes()
    random = np.random.default_rng(1)
    for turn in range(60):
        bad = np.frombuffer(whole, np.uint8).copy()
        # Half of the flips in the headers, where they do most harm.
        reach = len(bad) if turn % 2 else 200
        bad[random.integers(reach, size=3)] = random.integers(256, size=3)
        end = len(bad) if turn % 3 else random.integers(1, len(bad))
        path = save(tmp_path / f"bad{name}", bad[:end].tobytes())
        for work in (scan, lambda path: probe_audio(path, Limits())):
            reason = refusal(work, path)
            assert reason.isprintable()
            assert str(tmp_path) not in reason


def test_limits(tmp_path: Path) -> None:
    path = save(tmp_path / "a.wav", wav_bytes(np.zeros((50, 1)), 1_000_000, bits=8))
    with pytest.raises(FileError, match=r"^has 94 bytes; the limit is 93 \(--source.limits.max-file-bytes\)$"):
        probe_audio(path, Limits(max_file_bytes=93))
    with (
        AudioFile(path, 1, Limits()) as file,
        pytest.raises(
            FileError,
            match=r"^a window of 164.0 s has 164,000,000 samples at its 1,000,000 Hz; the limit is 134,217,728 "
            r"\(--source.limits.max-window-values\)$",
        ),
    ):
        file.read(0.0, 100, 1)
    with AudioFile(path, 2, Limits()) as file, pytest.raises(FileError, match=r"; the limit is 67,108,864 "):
        file.read(0.0, 100, 1)
    flac = bytearray(encode(tmp_path / "a.flac", tones(1, 8000), 8000, "flac").read_bytes())
    flac[21] |= 0x0F  # the four highest of 36 bits that count the samples
    with pytest.raises(
        FileError,
        match=r"^declares 8,0\d\d,\d{3} s of sound; the limit is 2,678,400 s \(--source.limits.max-sound-seconds\)$",
    ):
        probe_audio(save(tmp_path / "b.flac", bytes(flac)), Limits())


@pytest.mark.parametrize(("name", "codec"), [("a.mka", "pcm_s16le"), ("a.oga", "flac")])
def test_packets_may_say_no_more_than_a_header(tmp_path: Path, name: str, codec: str) -> None:
    """A recording that was broadcast has no length in its header; its last packet says 35 days."""
    pipe = Pipe()
    with av.open(pipe, "w", format="matroska" if name.endswith("mka") else "ogg") as container:
        stream = container.add_stream(codec, rate=8000, layout="mono")
        for start in (0, 8000 * 3_000_000):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.int16), format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 8000, start, Fraction(1, 8000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    path = save(tmp_path / name, bytes(pipe.content))
    message = r"^declares 3,000,00\d s of sound; the limit is 2,678,400 s \(--source.limits.max-sound-seconds\)$"
    for read in (lambda: probe_audio(path, Limits()), lambda: AudioFile(path, 1, Limits())):
        with pytest.raises(FileError, match=message):
            read()


def test_sound_of_an_unknown_kind(tmp_path: Path) -> None:
    content = encode(tmp_path / "a.mka", tones(1, RATE), RATE, "aac").read_bytes()
    path = save(tmp_path / "b.mka", content.replace(b"A_AAC", b"A_ZZZ"))
    with pytest.raises(FileError, match=r"^its sound is of a kind that cannot be decoded$"):
        probe_audio(path, Limits())


def test_a_rate_that_changes(tmp_path: Path) -> None:
    parts = [encode(tmp_path / f"{rate}.aac", tones(2, rate), rate, "aac", container="adts") for rate in (44_100, RATE)]
    path = save(tmp_path / "a.aac", b"".join(part.read_bytes() for part in parts))
    message = r"^changes its sample rate from 44,100 to 22,050 Hz in the middle; convert it to one rate$"
    with pytest.raises(FileError, match=message):
        scan(path)


def test_a_long_file_of_which_nothing_is_left(tmp_path: Path) -> None:
    content = encode(tmp_path / "a.flac", tones(LONG, RATE), RATE, "flac").read_bytes()
    path = save(tmp_path / "b.flac", content[:9000] + bytes(len(content) - 9000))
    with pytest.raises(FileError, match=r"^damaged: nothing of its sound can be decoded$"):
        scan(path)


def test_a_pipe_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.wav")
    with pytest.raises(FileError, match=r"^not a regular file but a pipe$"):
        probe_audio(tmp_path / "a.wav", Limits())


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (
            np.zeros((2, 48_000)),
            r"^a sound array must be \(samples,\) or \(samples, channels\) with at most 64 channels, not \(2, 48000\); "
            r"channels come last$",
        ),
        (np.zeros(0), r"not \(0,\); channels come last$"),
        (np.zeros((2, 3, 5)), r"not \(2, 3, 5\); channels come last$"),
        (np.array([0.0, np.nan]), r"^holds samples that are no numbers \(NaN or infinite\)$"),
        (np.array([True, False]), "^its samples are bool; they must be whole or floating-point numbers$"),
        (np.array([1, 2], np.uint16), "^its samples are uint16; they must be whole or floating-point numbers$"),
        (np.array(["a", "b"]), "^its samples are <U1; they must be whole or floating-point numbers$"),
    ],
)
def test_arrays_that_are_no_sound(array: np.ndarray, message: str) -> None:
    with pytest.raises(FileError, match=message):
        SoundArray(array, 8000, 1, Limits())
