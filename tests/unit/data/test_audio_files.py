"""What probe_audio, AudioFile and SoundArray read, against samples that the tests know."""

import gc
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from perceptio.data.audio_files import AudioFile, SoundArray, probe_audio
from perceptio.data.audio_samples import mixing_weights
from perceptio.data.audio_track import Track, rounded_ratio
from perceptio.data.limits import Limits
from support.sounds import FLOAT, decoded, encode, tones, wav_bytes

READERS = ("AudioFile", "probe_audio")
pytestmark = pytest.mark.usefixtures("either_place")

RATE = 22_050
LONG = 17  # seconds: longer than what is decoded as a whole

# name, codec, further settings, and by how much a window may differ from the same samples decoded from the beginning:
# nothing where samples are stored; decoders of AAC and Opus settle, they do not reach the very same state.
LONG_FILES = [
    ("a.wav", "pcm_s16le", {}, 0.0),
    ("a.aiff", "pcm_s16be", {}, 0.0),
    ("a.flac", "flac", {}, 0.0),
    ("a.mp3", "libmp3lame", {}, 1e-6),
    ("a.ogg", "vorbis", {"options": {"strict": "-2"}}, 1e-6),
    ("a.opus", "libopus", {}, 1e-4),
    ("a.m4a", "aac", {"options": {"aac_pns": "0"}}, 2e-5),
    ("a.aac", "aac", {"options": {"aac_pns": "0"}, "container": "adts"}, 2e-5),
]


def read(path: Path, start: float = 0.0, count: int = 29, rate: int = RATE, channels: int = 1) -> np.ndarray:
    with AudioFile(path, channels, Limits()) as file:
        return file.read(start, count, rate)


def save(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("bits", "kind", "unit"), [(8, 1, 2**7), (16, 1, 2**15), (24, 1, 2**23), (32, 1, 2**31), (32, 3, 1), (64, 3, 1)]
)
def test_every_kind_of_wav_comes_out_to_the_last_bit(tmp_path: Path, bits: int, kind: int, unit: int) -> None:
    random = np.random.default_rng(0)
    if kind == FLOAT:
        stored = random.uniform(-1, 1, (1009, 2))
    else:
        stored = random.integers(-unit, unit, (1009, 2))
        stored[:2] = [[-unit, unit - 1], [0, 1]]
    path = save(tmp_path / "a.wav", wav_bytes(stored, RATE, bits=bits, kind=kind))
    expected = (stored / unit).astype(np.float32)
    np.testing.assert_array_equal(read(path, 0.0, 1009, RATE, channels=2), expected)
    np.testing.assert_array_equal(read(path, 101 / RATE, 97, RATE, channels=2), expected[101 : 101 + 97])
    assert probe_audio(path, Limits()) == {"seconds": 1009 / RATE, "sample_rate_hz": RATE, "num_channels": 2}


@pytest.mark.parametrize(("sample_format", "unit"), [("s16", 2**15), ("s32", 2**23)])
def test_flac_comes_out_to_the_last_bit(tmp_path: Path, sample_format: str, unit: int) -> None:
    stored = np.random.default_rng(0).integers(-unit, unit, (1009, 2)) / unit
    path = encode(tmp_path / "a.flac", stored, RATE, "flac", sample_format=sample_format)
    np.testing.assert_array_equal(read(path, 0.0, 1009, RATE, channels=2), stored.astype(np.float32))


@pytest.mark.parametrize(("name", "codec", "settings", "tolerance"), LONG_FILES)
def test_a_window_of_a_long_file_is_what_decoding_from_the_beginning_gives(
    tmp_path: Path, name: str, codec: str, settings: dict, tolerance: float
) -> None:
    rate = 48_000 if codec == "libopus" else RATE
    path = encode(tmp_path / name, tones(LONG, rate, 2), rate, codec, **settings)
    whole, _ = decoded(path)
    with AudioFile(path, 2, Limits()) as file:
        length = round(file.seconds * rate)
        # The header of an Ogg counts the 6.5 ms that Opus skips, AAC and Vorbis fill up their last packet.
        assert abs(length - LONG * rate) < 0.1 * rate
        # Back and forth, at the very beginning, within the first half second, and across the end.
        for start in (11.0, 3.1234, 0.0, 0.25, 0.75, 16.9, 5.5):
            first = round(start * rate)
            found = file.read(start, 3001, rate)
            expected = np.zeros((3001, 2))
            there = whole[first : min(first + 3001, length)]
            expected[: len(there)] = np.clip(there, -1, 1)
            np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance + 1e-7, err_msg=f"{name} at {start} s")
        assert not file.read(LONG + 1.0, 31, rate).any()


@pytest.mark.parametrize("picture_codec", [None, "libvpx-vp9"])
def test_matroska_is_exact_to_the_millisecond(tmp_path: Path, picture_codec: str | None) -> None:
    """Its time stamps are whole milliseconds: a window is right but for a shift of at most one."""
    rate = 48_000
    sound = tones(LONG, rate)
    path = encode(tmp_path / "a.webm", sound, rate, "libopus", bit_rate=256_000, picture_codec=picture_codec)
    with AudioFile(path, 1, Limits()) as file:
        for start in (7.0, 0.1, 13.31):
            first = round(start * rate)
            found = file.read(start, 4801, rate)[:, 0]
            shifts = range(-60, 61) if start > 0.1 else range(-4, 61)
            errors = {shift: np.abs(found - sound[first + shift :][:4801, 0]).mean() for shift in shifts}
            best = min(errors, key=errors.get)
            assert abs(best) <= rate / 1000 + 1
            assert errors[best] < 0.02 < 0.05 < np.mean(list(errors.values()))


def test_reading_the_middle_decodes_little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four minutes of MP3 have 9,000 frames of 576 samples; half a second before the window is what is decoded.

    Nor is the file read through to find its end.
    """
    path = encode(tmp_path / "a.mp3", np.tile(tones(4, RATE), (60, 1)), RATE, "libmp3lame")
    frames = []
    samples = Track._samples
    monkeypatch.delattr(Track, "_last_packet_end")
    monkeypatch.setattr(Track, "_samples", lambda track, frame: frames.append(frame.pts) or samples(track, frame))
    found = read(path, 201.5, RATE, RATE)
    assert np.abs(found).max() > 0.3
    assert 1 + 1.4 * RATE / 576 < len(frames) < 5 + 1.7 * RATE / 576


@pytest.mark.parametrize("overshoot", [3, 30])
def test_a_file_that_cannot_be_entered_just_before_the_window(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overshoot: int
) -> None:
    """Where seeking leads past the window it is tried from further back, then from the beginning."""
    sound = np.random.default_rng(0).integers(-(2**15), 2**15, (LONG * RATE, 1))
    path = save(tmp_path / "a.wav", wav_bytes(sound, RATE, bits=16))
    seek = Track._seek
    with AudioFile(path, 1, Limits()) as file:
        monkeypatch.setattr(
            Track, "_seek", lambda track, seconds: seek(track, min(seconds + overshoot, Fraction(LONG - 1)))
        )
        found = file.read(13.0, 101, RATE)
    np.testing.assert_array_equal(found, sound[13 * RATE : 13 * RATE + 101] / 2**15)


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000, 22_051])
@pytest.mark.parametrize("seconds", [3, LONG])
def test_resampling_keeps_time_and_pitch(tmp_path: Path, rate: int, seconds: int) -> None:
    """A sine of 1 kHz at one rate is the same sine at any other, wherever the window begins."""
    path = tmp_path / "a.wav"
    sine = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(seconds * RATE) / RATE)
    path.write_bytes(wav_bytes(sine[:, None], RATE, bits=32, kind=FLOAT))
    with AudioFile(path, 1, Limits()) as file:
        for start in (1.0, 0.7777, 2.25):
            found = file.read(start, 2003, rate)[:, 0]
            times = (round(start * rate) + np.arange(2003)) / rate
            # The resampler's filter ripples by a thousandth.
            np.testing.assert_allclose(found, 0.5 * np.sin(2 * np.pi * 1000 * times), rtol=0, atol=2e-3)


@pytest.mark.parametrize("layout", ["mono", "stereo"])
@pytest.mark.parametrize(("source_hz", "target_hz"), [(44_100, 32_000), (48_000, 8_000), (8_000, 48_000)])
def test_resampling_gives_what_ffmpegs_resampler_does(layout: str, source_hz: int, target_hz: int) -> None:
    """Against PyAV's own class for it, but for the beginning: before it a window has silence, the class nothing."""
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, (30_011, 1 + (layout == "stereo"))).astype(np.float32)
    frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="flt", layout=layout)
    frame.sample_rate = source_hz
    resampler = av.AudioResampler(format="flt", layout=layout, rate=target_hz)
    parts = [part.to_ndarray() for part in (*resampler.resample(frame), *resampler.resample(None))]
    expected = np.concatenate([part.reshape(-1, samples.shape[1]) for part in parts])[:3_001]
    found = SoundArray(samples, source_hz, samples.shape[1], Limits()).read(0.0, 3_001, target_hz)
    reach = 128
    np.testing.assert_allclose(found[reach:], expected[reach:], rtol=0, atol=1e-6)


@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_overlapping_windows_agree_after_resampling(tmp_path: Path, rate: int) -> None:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (LONG * RATE, 2))
    path = save(tmp_path / "a.wav", wav_bytes(noise, RATE, bits=32, kind=FLOAT))
    with AudioFile(path, 2, Limits()) as file:
        one, other = file.read(5.0, rate, rate), file.read(5.0 + 307 / rate, rate, rate)
        # float32 sums of about thirty products below 1: the same products in both, whatever came before.
        np.testing.assert_allclose(one[307:], other[:-307], rtol=0, atol=1e-6)
        assert np.abs(one).max() > 0.4


def test_sound_stands_between_zeros(tmp_path: Path) -> None:
    stored = np.array([[3], [5], [7]]) * 2**10
    path = save(tmp_path / "a.wav", wav_bytes(stored, 8000, bits=16))
    with AudioFile(path, 1, Limits()) as file:
        assert file.seconds == 3 / 8000
        np.testing.assert_array_equal(file.read(1 / 8000, 5, 8000)[:, 0] * 2**5, [5, 7, 0, 0, 0])
        np.testing.assert_array_equal(file.read(-2 / 8000, 4, 8000)[:, 0] * 2**5, [0, 0, 3, 5])


def test_a_file_of_one_sample(tmp_path: Path) -> None:
    path = save(tmp_path / "a.wav", wav_bytes(np.array([[2**14]]), 8000, bits=16))
    assert probe_audio(path, Limits())["seconds"] == 1 / 8000
    np.testing.assert_array_equal(read(path, 0.0, 3, 8000), [[0.5], [0], [0]])
    assert read(path, 0.0, 7, 48_000).shape == (7, 1)


def test_priming_is_not_heard_and_covers_are_not_seen(tmp_path: Path) -> None:
    """An MP3 begins with 1,105 samples of its encoder's; with a cover it holds a picture stream as well."""
    sound = tones(3, RATE)
    path = encode(tmp_path / "a.mp3", sound, RATE, "libmp3lame", bit_rate=128_000)
    with av.open(str(path)) as file:
        assert file.streams.audio[0].start_time > 0
    plain = read(path, 0.0, RATE, RATE)
    assert np.abs(plain - sound[:RATE]).max() < 0.05
    png = av.CodecContext.create("png", "w")
    png.width, png.height, png.pix_fmt, png.time_base = 8, 8, "rgb24", 1
    picture = b"".join(bytes(packet) for packet in png.encode(av.VideoFrame(8, 8, "rgb24")))
    body = b"\0image/png\0\x03\0" + picture
    frame = b"APIC" + len(body).to_bytes(4, "big") + b"\0\0" + body
    size = bytes([(len(frame) >> shift) & 127 for shift in (21, 14, 7, 0)])
    raw = path.read_bytes()
    tagged = 10 + sum(byte << shift for byte, shift in zip(raw[6:10], (21, 14, 7, 0), strict=True))
    covered = save(tmp_path / "b.mp3", b"ID3\x03\0\0" + size + frame + raw[tagged:])
    with av.open(str(covered)) as file:
        assert [stream.type for stream in file.streams] == ["audio", "video"]
    np.testing.assert_array_equal(read(covered, 0.0, RATE, RATE), plain)
    assert probe_audio(covered, Limits())["seconds"] == 3.0


@pytest.mark.parametrize(
    ("name", "codec", "picture_codec"),
    [
        ("a.mp4", "aac", "libx264"),
        ("a.webm", "libopus", "libvpx-vp9"),
        ("a.ts", "aac", "libx264"),
        ("a.ogv", "libopus", "libvpx"),
    ],
)
@pytest.mark.parametrize("seconds", [2, LONG])
def test_sound_of_a_video_keeps_its_place_in_the_file(
    tmp_path: Path, name: str, codec: str, picture_codec: str, seconds: int
) -> None:
    """Sound that sets in 0.4 s after the pictures is heard 0.4 s after the beginning of the file."""
    rate = 48_000
    late = np.concatenate([np.zeros((rate // 2, 1)), tones(seconds, rate)])
    path = encode(tmp_path / name, late, rate, codec, picture_codec=picture_codec, start=0.4)
    onset = np.flatnonzero(np.abs(read(path, 0.0, 2 * rate, rate)[:, 0]) > 0.2)[0] / rate
    # Lossy codecs smear an onset by a part of a packet of 20 ms.
    assert 0.9 - 0.01 < onset < 0.9 + 0.01
    if seconds == LONG:
        with AudioFile(path, 1, Limits()) as file:
            shifted = file.read(0.9 + 7, rate // 2, rate)[:, 0]
        expected = tones(seconds, rate)[7 * rate : 7 * rate + rate // 2, 0]
        best = min(range(0, 97), key=lambda k: np.abs(shifted[48:-48] - expected[k : k + len(shifted) - 96]).mean())
        assert abs(best - 48) <= 48 + 1


@pytest.mark.parametrize(
    ("name", "codec", "picture_codec"),
    [("a.mp4", "aac", "libx264"), ("a.mkv", "flac", "mpeg4"), ("a.ogv", "libopus", "libvpx")],
)
def test_time_begins_with_the_first_picture(tmp_path: Path, name: str, codec: str, picture_codec: str) -> None:
    """Sound of 0.5 s after the file's beginning is at 0.1 s if the first picture is at 0.4 s."""
    rate = 48_000
    late = np.concatenate([np.zeros((rate // 2, 1)), tones(2, rate)])
    path = encode(tmp_path / name, late, rate, codec, picture_codec=picture_codec, pictures_start=0.4)
    with av.open(str(path)) as file:
        assert float(file.streams.video[0].start_time * file.streams.video[0].time_base) == pytest.approx(0.4, abs=2e-3)
    onset = np.flatnonzero(np.abs(read(path, 0.0, rate, rate)[:, 0]) > 0.2)[0] / rate
    assert 0.1 - 0.01 < onset < 0.1 + 0.01
    assert abs(read_seconds(path) - 2.1) < 0.03


def test_how_long_a_file_is_without_a_header_that_knows(tmp_path: Path) -> None:
    """ADTS has no header, a streamed WAV a size of nothing or of everything, a live Matroska no duration."""
    sound = tones(5, RATE)
    # The encoder's first packet of 1,024 samples is heard, and the last one is filled up.
    adts = probe_audio(encode(tmp_path / "a.aac", sound, RATE, "aac", container="adts"), Limits())["seconds"]
    assert 5 + 1024 / RATE <= adts <= 5 + 3 * 1024 / RATE
    live = encode(tmp_path / "a.mka", sound, 48_000, "libopus", file_options={"live": "1"})
    with av.open(str(live)) as file:
        assert file.duration is None
    assert abs(probe_audio(live, Limits())["seconds"] - len(sound) / 48_000) < 0.03
    for declared in (0, 0xFFFFFFFF):
        path = save(tmp_path / "a.wav", wav_bytes(np.ones((1009, 1)), 8000, bits=16, declared_bytes=declared))
        assert probe_audio(path, Limits())["seconds"] == 1009 / 8000


@pytest.mark.parametrize("name", ["a.wav", "a.aiff", "a.flac", "a.mp3", "a.opus", "a.aac"])
@pytest.mark.parametrize("seconds", [5, 3 * LONG])
def test_a_file_that_is_cut_off_is_as_long_as_what_is_there(tmp_path: Path, name: str, seconds: int) -> None:
    codec, settings = next((codec, settings) for known, codec, settings, _ in LONG_FILES if known == name)
    rate = 48_000 if codec == "libopus" else RATE
    raw = encode(tmp_path / name, tones(seconds, rate, 2), rate, codec, **settings).read_bytes()
    path = save(tmp_path / f"cut{name}", raw[: round(0.6 * len(raw))])
    with AudioFile(path, 1, Limits()) as file:
        assert 0.4 * seconds < file.seconds < 0.75 * seconds
        found = file.read(file.seconds - 1.5, RATE, RATE)
        assert np.abs(found[: RATE // 4]).max() > 0.1
        assert not file.read(0.8 * seconds, RATE, RATE).any()
        file.scan()
    assert abs(probe_audio(path, Limits())["seconds"] - read_seconds(path)) < 0.2


def read_seconds(path: Path) -> float:
    with AudioFile(path, 1, Limits()) as file:
        return file.seconds


def test_the_padding_of_the_last_packet_is_no_sound(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.m4a", tones(5, RATE), RATE, "aac")
    assert len(decoded(path)[0]) > 5 * RATE
    assert read_seconds(path) == 5
    assert not read(path, 5.0, 997).any()


def test_mixing() -> None:
    surround = ("FL", "FR", "FC", "LFE", "BL", "BR")
    np.testing.assert_allclose(mixing_weights(surround, 1)[:, 0], [0.2, 0.2, 0.2, 0, 0.2, 0.2], rtol=1e-7)
    third = 1 / 3
    left, right = mixing_weights(surround, 2).T
    np.testing.assert_allclose(left, [third, 0, third, 0, third, 0], rtol=1e-6)
    np.testing.assert_allclose(right, [0, third, third, 0, 0, third], rtol=1e-6)
    np.testing.assert_array_equal(mixing_weights(["FC"], 2), [[1, 1]])
    np.testing.assert_array_equal(mixing_weights(["NONE", "NONE"], 2), np.eye(2))
    np.testing.assert_array_equal(mixing_weights(["NONE"] * 4, 2), np.full((4, 2), 0.25))
    np.testing.assert_array_equal(mixing_weights(["LFE"], 1), [[1]])
    np.testing.assert_array_equal(mixing_weights(["FL", "FC"], 2), [[0.5, 0], [0.5, 1]])


def test_eight_and_more_channels_that_lie_apart_in_memory(tmp_path: Path) -> None:
    """PyAV counts their planes wrongly: 7.1 sound in AAC, ALAC and Opus ended the process that read it."""
    stored = np.random.default_rng(0).integers(-(2**13), 2**13, (1009, 8)) / 2**15
    eight = encode(tmp_path / "eight.m4a", stored, RATE, "alac", sample_format="s16p")
    assert probe_audio(eight, Limits())["num_channels"] == 8
    no_bass = mixing_weights(["FL", "FR", "FC", "LFE", "BL", "BR", "FLC", "FRC"], 1)
    np.testing.assert_allclose(read(eight, 0.0, 1009, RATE), stored @ no_bass, rtol=0, atol=1e-6)
    tones = np.sin(np.outer(np.arange(48_000), np.linspace(0.02, 0.1, 16))) / 2
    options = {"mapping_family": "255"}
    sixteen = encode(tmp_path / "sixteen.opus", tones, 48_000, "libopus", options=options, bit_rate=1_024_000)
    heard = read(sixteen, 0.25, 24_000, 48_000)[:, 0]
    expected = tones.mean(axis=1)[12_000:36_000]
    assert np.abs(heard - expected).max() < 0.02 < np.abs(expected).max() / 4


def test_files_of_six_and_of_one_channel(tmp_path: Path) -> None:
    stored = np.random.default_rng(0).integers(-(2**13), 2**13, (1009, 6)) / 2**15
    six = encode(tmp_path / "six.flac", stored, RATE, "flac", sample_format="s16")
    kept = stored[:, [0, 1, 2, 4, 5]]
    np.testing.assert_allclose(read(six, 0.0, 1009, RATE)[:, 0], kept.mean(axis=1), rtol=0, atol=1e-7)
    both = np.stack([stored[:, [0, 2, 4]].mean(axis=1), stored[:, [1, 2, 5]].mean(axis=1)], axis=1)
    np.testing.assert_allclose(read(six, 0.0, 1009, RATE, channels=2), both, rtol=0, atol=1e-7)
    one = encode(tmp_path / "one.flac", stored[:, :1], RATE, "flac", sample_format="s16")
    np.testing.assert_array_equal(read(one, 0.0, 1009, RATE, channels=2), stored[:, [0, 0]].astype(np.float32))


def test_overshoot_is_cut_off(tmp_path: Path) -> None:
    path = save(tmp_path / "a.wav", wav_bytes(np.array([[1.5], [-2.0], [0.5]]), 8000, bits=32, kind=FLOAT))
    np.testing.assert_array_equal(read(path, 0.0, 3, 8000)[:, 0], [1.0, -1.0, 0.5])


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16, np.int32, np.uint8])
@pytest.mark.parametrize("shape", [(11,), (11, 1), (11, 2)])
def test_arrays(dtype: type, shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).uniform(-0.9, 0.9, shape)
    unit = {"float32": 1, "float64": 1, "int16": 2**15, "int32": 2**31, "uint8": 2**7}[np.dtype(dtype).name]
    offset = 128 if dtype is np.uint8 else 0
    array = (values * unit + offset).astype(dtype)
    sound = SoundArray(array, 10, 1, Limits())
    columns = ((array.astype(np.float64) - offset) / unit).reshape(11, -1)
    assert sound.seconds == 1.1
    found = sound.read(0.3, 10, 10)
    assert found.dtype == np.float32
    expected = np.append(columns.mean(axis=1)[3:], [0, 0])
    np.testing.assert_allclose(found[:, 0], expected, rtol=0, atol=1e-7)
    sound.close()


def test_nothing_stays_open(tmp_path: Path) -> None:
    good = encode(tmp_path / "a.flac", tones(LONG, RATE), RATE, "flac")
    empty = save(tmp_path / "b.wav", wav_bytes(np.zeros((0, 1)), 8000, bits=16))
    bad = save(tmp_path / "c.wav", b"\x13\x37\xfe\xed\xfa\xce" * 99)
    gc.collect()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        read(good, 9.0)
        read(good, 0.0)
        probe_audio(good, Limits())
        for path in (empty, bad):
            for work in (read, lambda p: probe_audio(p, Limits())):
                with pytest.raises(Exception, match=r"empty|damaged"):
                    work(path)
    assert len(list(Path("/proc/self/fd").iterdir())) <= before  # what earlier tests left may go meanwhile


def test_a_file_can_be_read_again_after_a_scan(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.flac", tones(LONG, RATE), RATE, "flac")
    with AudioFile(path, 1, Limits()) as file:
        before = [file.read(start, 101, RATE) for start in (0.0, 8.0)]
        file.scan()
        after = [file.read(start, 101, RATE) for start in (0.0, 8.0)]
        file.scan()
    assert all(np.array_equal(one, other) for one, other in zip(before, after, strict=True))
    assert not any(np.array_equal(one, other) for one, other in pairwise(after))


@pytest.mark.parametrize("denominator", [1, 2, 3, 8, 48_000])
def test_a_ratio_is_rounded_to_the_nearest_whole_number(denominator: int):
    for numerator in range(-3 * denominator - 1, 3 * denominator + 2, max(1, denominator // 8)):
        found, exact = rounded_ratio(numerator, denominator), Fraction(numerator, denominator)
        assert -Fraction(1, 2) < found - exact <= Fraction(1, 2), "of two that are equally near, the larger"
