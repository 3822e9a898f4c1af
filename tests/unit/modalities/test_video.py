"""The video modality: the paper's sizes, clips of files and arrays, and maps that lie where the frames do."""

import pickle
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from perceptio.data.limits import Limits
from perceptio.errors import FileError, UsageError
from perceptio.inputs.grid import GridEncoding
from perceptio.modalities.video import VideoModality, shown_frames
from perceptio.randomness import generator
from support.videos import number_of, numbered_frame, numbers_of, write_frames, write_numbered


@pytest.fixture
def modality() -> VideoModality:
    """Eight frames at 10 a second, whole and without colours changed, so that numbers can be read."""
    return VideoModality(
        num_frames=8,
        frames_per_second=10.0,
        size=(44, 72),
        crop_area=(1.0, 1.0),
        crop_aspect=(1.0, 1.0),
        flip_probability=0.0,
        colour_strength=0.0,
        evaluation_crop=1.0,
        encoding=GridEncoding(patch=(2, 4, 4), num_bands=5),
    )


def test_the_papers_sizes() -> None:
    """Section 4.2: 32 frames at 25 a second, 12,544 inputs; 487 channels with sound, 4 of which tell it apart."""
    video = VideoModality()
    config = video.input_config()
    assert config.axes == (32, 224, 224)
    assert config.num_tokens == 12_544 == 16 * 28 * 28
    assert config.token_channels == 384
    assert config.input_channels == 483 == 487 - 4
    assert video.clip_seconds == pytest.approx(1.28)
    assert video.describe() == "32 frames of 224 x 224 x 3 at 25 a second"
    assert video.companions == ("audio",)
    tokens = config.build()(torch.zeros(1, 32, 224, 224, 3))
    assert sum(segment.channels.shape[1] for segment in tokens.segments) == 12_544


def test_the_smallest_version_keeps_the_structure(modality: VideoModality) -> None:
    small = VideoModality().shrunk()
    assert (small.num_frames, small.size) == (4, (16, 16))
    assert small.encoding == GridEncoding(patch=(2, 8, 8), num_bands=4)
    odd = replace(modality, encoding=GridEncoding(patch=(4, 11, 9), num_bands=5)).shrunk()
    assert (odd.num_frames, odd.size) == (8, (22, 18))
    learned = GridEncoding(patch=(2, 4, 4), positions="learned")
    assert replace(modality, encoding=learned).shrunk().encoding == learned


def test_a_clip_takes_what_is_on_the_screen_at_its_own_rate(tmp_path: Path, modality: VideoModality) -> None:
    """A film of 25 frames a second seen 10 times a second: frames 0, 2, 5, 7, 10, ..."""
    path = write_numbered(tmp_path / "a.mp4", 101, b_frames=2)
    content = modality.open(path, Limits())
    assert content.seconds == pytest.approx(101 / 25)
    view = content.view(0.0, None)
    assert (view.shape, view.dtype) == ((8, 44, 72, 3), np.uint8)
    assert numbers_of(view) == [0, 2, 5, 7, 10, 12, 15, 17]
    # From the multiple of a tenth of a second next to the start.
    assert numbers_of(content.view(1.04, None)) == [25, 27, 30, 32, 35, 37, 40, 42]
    assert numbers_of(content.view(1.06, None)) == [27, 30, 32, 35, 37, 40, 42, 45]
    # Past the end the last frame stays.
    assert numbers_of(content.view(3.8, None)) == [95, 97, 100, 100, 100, 100, 100, 100]
    assert numbers_of(content.view(99.0, None)) == [100] * 8
    assert numbers_of(content.view(0.0, generator(1))) == [0, 2, 5, 7, 10, 12, 15, 17]
    content.close()


def test_arrays_are_taken_at_the_modalitys_rate(modality: VideoModality) -> None:
    frames = np.stack([numbered_frame(number) for number in range(21)])
    content = modality.open(frames, Limits())
    assert content.seconds == pytest.approx(2.1)
    assert numbers_of(content.view(0.5, None)) == list(range(5, 13))
    assert numbers_of(content.view(1.8, generator(1))) == [18, 19, 20, 20, 20, 20, 20, 20]
    content.close()
    grey = modality.open(frames[..., :1], Limits()).view(0.5, None)
    assert grey.shape == (8, 44, 72, 3)
    assert numbers_of(grey) == list(range(5, 13))
    for bad, message in (
        (
            frames.astype(np.float32),
            r"^a video array must hold bytes \(uint8\), not float32; scale it to 0 to 255 first$",
        ),
        (frames[0], r"^a video array must be \(frames, height, width, 1 or 3\), not \(66, 98, 3\)$"),
        (frames[:0], r"^a video array must be .* not \(0, 66, 98, 3\)$"),
        (frames[..., :2], r"^a video array must be .* not \(21, 66, 98, 2\)$"),
    ):
        with pytest.raises(FileError, match=message):
            modality.open(bad, Limits())


@pytest.mark.parametrize("kind", ["array", "file"])
def test_one_crop_one_flip_and_one_change_of_colours_for_all_frames(
    tmp_path: Path, modality: VideoModality, kind: str
) -> None:
    """A still scene: all frames of a view are equal, and views by other draws differ."""
    scene = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8).repeat(8, axis=0).repeat(8, axis=1)
    lively = replace(modality, crop_area=(0.1, 0.9), crop_aspect=(0.7, 1.4), flip_probability=0.5, colour_strength=1.0)
    if kind == "file":
        write_frames(tmp_path / "a.mkv", [scene] * 20, "ffv1", layout="bgr0", rate=10)
    item = tmp_path / "a.mkv" if kind == "file" else np.stack([scene] * 20)
    content = lively.open(item, Limits())
    views = [content.view(0.3, generator(seed)) for seed in range(12)]
    for view in views:
        assert (view == view[:1]).all()
    assert len({view.tobytes() for view in views}) == 12
    np.testing.assert_array_equal(content.view(0.3, generator(5)), views[5])  # nothing but the generator decides
    plain = content.view(0.3, None)
    np.testing.assert_array_equal(plain, content.view(0.3, None))
    content.close()


def test_files_and_arrays_are_seen_alike(tmp_path: Path, modality: VideoModality) -> None:
    """The same frames from a lossless file and from memory, with every kind of augmentation."""
    frames = (
        np.random.default_rng(2).integers(0, 256, (20, 6, 9, 3), dtype=np.uint8).repeat(7, axis=1).repeat(7, axis=2)
    )
    write_frames(tmp_path / "a.mkv", list(frames), "ffv1", layout="bgr0", rate=10)
    lively = replace(modality, size=(28, 24), crop_area=(0.2, 1.0), flip_probability=0.5, colour_strength=1.0)
    from_file, from_array = lively.open(tmp_path / "a.mkv", Limits()), lively.open(frames, Limits())
    for random in (None, 0, 1, 2, 3):
        views = [
            content.view(0.7, None if random is None else generator(random)) for content in (from_file, from_array)
        ]
        np.testing.assert_array_equal(views[0], views[1])
    from_file.close()


def test_flips_are_mirror_images(modality: VideoModality) -> None:
    frames = np.stack([numbered_frame(number) for number in range(8)])
    always = replace(modality, flip_probability=1.0).open(frames, Limits())
    never = modality.open(frames, Limits())
    np.testing.assert_array_equal(always.view(0.0, generator(1)), never.view(0.0, generator(1))[:, :, ::-1])
    np.testing.assert_array_equal(always.view(0.0, None), never.view(0.0, None))


def test_large_frames_are_reduced_while_they_are_decoded_to_the_same_view(
    tmp_path: Path, modality: VideoModality
) -> None:
    """From a file of twelve times the size, within what two ways of scaling down differ by."""
    rows, columns = np.mgrid[0:528, 0:864]
    frame = np.stack([rows / 3, columns / 5, 128 + 100 * np.sin(rows / 90) * np.cos(columns / 70)], -1).astype(np.uint8)
    write_frames(tmp_path / "a.mkv", [frame] * 8, "ffv1", layout="bgr0", rate=10)
    cropped = replace(modality, crop_area=(0.3, 0.8), evaluation_crop=0.8)
    from_file, from_array = cropped.open(tmp_path / "a.mkv", Limits()), cropped.open(np.stack([frame] * 8), Limits())
    for random in (None, 1, 2):
        views = [
            content.view(0.0, None if random is None else generator(random)) for content in (from_file, from_array)
        ]
        np.testing.assert_allclose(views[0].astype(int), views[1], atol=4)
    from_file.close()


def test_grey(tmp_path: Path, modality: VideoModality) -> None:
    grey = replace(modality, channels=1, mean=(0.5,), std=(0.25,))
    path = write_numbered(tmp_path / "a.mp4", 30)
    content = grey.open(path, Limits())
    view = content.view(0.0, generator(0))
    assert view.shape == (8, 44, 72, 1)
    assert numbers_of(view) == [0, 2, 5, 7, 10, 12, 15, 17]
    content.close()
    assert grey.input_config().channels == 1
    assert grey.picture(view).shape == (44, 6 * 72 + 5 * 4, 3)
    prepared = grey.prepare(torch.full((2, 8, 44, 72, 1), 255, dtype=torch.uint8))
    assert prepared.dtype == torch.float32
    assert float(prepared.max()) == pytest.approx((1 - 0.5) / 0.25)


def test_prepare(modality: VideoModality) -> None:
    values = torch.zeros(1, 2, 1, 1, 3, dtype=torch.uint8)
    values[0, 1, 0, 0] = torch.tensor([255, 51, 102])
    prepared = modality.prepare(values)[0, 1, 0, 0]
    expected = torch.tensor([(1 - 0.485) / 0.229, (0.2 - 0.456) / 0.224, (0.4 - 0.406) / 0.225])
    torch.testing.assert_close(prepared, expected, rtol=0, atol=1e-6)


def test_probe_and_check_and_what_is_absent(tmp_path: Path, modality: VideoModality) -> None:
    path = write_numbered(tmp_path / "a.mp4", 25, rate=Fraction(25, 2), rotation=90, sound=True)
    assert modality.probe(path, Limits()) == {
        "seconds": pytest.approx(2.0, abs=1e-3),
        "height": 98.0,
        "width": 66.0,
        "frames_per_second": pytest.approx(12.5),
        "has_sound": 1.0,
    }
    modality.check(path, Limits())
    (tmp_path / "b.mp4").write_bytes(b"some text\n" * 9)
    for use in (modality.probe, modality.check, modality.open):
        with pytest.raises(FileError, match=r"^no sound or video file: it begins with "):
            use(tmp_path / "b.mp4", Limits())
    assert VideoModality.kind == "video"
    assert {".mp4", ".mkv", ".webm", ".avi", ".mov", ".gif"} <= VideoModality.suffixes


def test_the_picture_shows_six_frames_and_the_maps_of_these_frames(modality: VideoModality) -> None:
    assert shown_frames(32) == (2, 8, 13, 18, 24, 29)
    assert shown_frames(6) == (0, 1, 2, 3, 4, 5)
    assert shown_frames(4) == (0, 1, 2, 3)
    clip = np.stack([numbered_frame(number, 44, 72) for number in range(8)])
    strip = modality.picture(clip)
    # Between two frames a token's width, in white.
    assert (strip.shape, strip.dtype) == ((44, 6 * 72 + 5 * 4, 3), np.uint8)
    assert all((strip[:, part * 76 - 4 : part * 76] == 255).all() for part in range(1, 6))
    shown = [number_of(strip[:, part * 76 : part * 76 + 72]) for part in range(6)]
    assert shown == list(shown_frames(8)) == [0, 2, 3, 4, 6, 7]
    # Scores that say where they are: 100 for each step of time, 10 for each row, 1 for each column.
    time, row, column = np.mgrid[0:4, 0:11, 0:18]
    scores = (1000.0 * time + 20.0 * row + column).astype(np.float32)
    spread = modality.spread(clip, scores)
    assert spread.shape == (11, 6 * 18 + 5)
    assert np.isnan(spread[:, 18::19]).all()
    for part, frame in enumerate(shown):
        np.testing.assert_array_equal(spread[:, part * 19 : part * 19 + 18], scores[frame // 2])
    # Coarser by whole factors, as the report draws it.
    assert strip.shape[0] % spread.shape[0] == strip.shape[1] % spread.shape[1] == 0
    assert strip.shape[0] // spread.shape[0] == strip.shape[1] // spread.shape[1] == 4
    scores[1, 3, 5] = np.nan
    assert np.isnan(modality.spread(clip, scores)).sum() == 5 * 11 + 2  # frames 2 and 3 share the token


def test_few_frames_are_all_shown(modality: VideoModality) -> None:
    short = replace(modality, num_frames=2)
    clip = np.stack([numbered_frame(number, 44, 72) for number in (3, 9)])
    assert numbers_of([short.picture(clip)[:, :72], short.picture(clip)[:, 76:]]) == [3, 9]
    assert short.spread(clip, np.arange(11 * 18.0).reshape(1, 11, 18)).shape == (11, 37)


def test_a_map_for_each_frame_of_a_film(modality: VideoModality) -> None:
    scores = np.arange(4 * 11 * 18, dtype=np.float32).reshape(4, 11, 18)
    maps = modality.frame_maps(scores, 8)
    assert maps.shape == (8, 11, 18)
    for frame in range(8):
        np.testing.assert_array_equal(maps[frame], scores[frame // 2])
    assert modality.frame_maps(scores, 7).shape == (7, 11, 18)  # a last patch that reaches across the end


def facts(seconds: float, rate: float, side: float) -> dict[str, float]:
    return {"seconds": seconds, "frames_per_second": rate, "height": side, "width": 2 * side, "has_sound": 0.0}


def sizes(candidates) -> list[tuple[int, int, float]]:
    return [(c.modality.num_frames, c.modality.size[0], c.modality.frames_per_second) for c in candidates]


def test_candidates_suit_the_files() -> None:
    """Half of the median duration in a clip where 4 to 25 frames a second can do that; cheapest first."""
    ten_seconds = VideoModality.candidates([facts(10, 25, 360)] * 3 + [facts(900, 60, 2160)])
    assert sizes(ten_seconds) == [(8, 32, 4.0), (16, 64, 4.0), (32, 112, 6.0), (32, 224, 6.0)]
    tokens = [candidate.modality.input_config().num_tokens for candidate in ten_seconds]
    assert tokens == sorted(tokens) == [256, 512, 3136, 12_544]
    assert [candidate.modality.encoding.num_bands for candidate in ten_seconds] == [4, 4, 8, 16]
    assert ten_seconds[2].why == (
        "32 frames at 6 a second cover 5.33 s of the files' 10 s (median), whose shorter side is 360 pixels (median)"
    )
    # Never faster than the files, never larger, never longer; at least one.
    assert sizes(VideoModality.candidates([facts(2.0, 10, 64)])) == [(8, 32, 8.0), (16, 64, 10.0)]
    assert sizes(VideoModality.candidates([facts(0.5, 3, 20)])) == [(8, 32, 3.0)]
    assert sizes(VideoModality.candidates([facts(0.0, 25, 500)])) == [(8, 32, 25.0)]
    assert sizes(VideoModality.candidates([facts(3600, 30, 500)]))[3] == (32, 224, 4.0)
    assert sizes(VideoModality.candidates([])) == [(8, 32, 25.0), (16, 64, 25.0), (32, 112, 25.0), (32, 224, 25.0)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_frames": 0}, "^num_frames must be at least 1: got 0$"),
        ({"frames_per_second": 0.0}, "^frames_per_second must be above 0, at most 1000: got 0.0$"),
        ({"frames_per_second": float("nan")}, "^frames_per_second must be above 0, at most 1000: got nan$"),
        ({"size": (0, 5)}, r"^size must be a height and a width of at least 1 pixel: got \(0, 5\)$"),
        ({"channels": 1}, r"^mean must have a value for each of the 1 channels: got 3. Set mean, for instance \(0.5,"),
        ({"std": (0.2, 0.0, 0.2)}, r"^std must be above 0 in every channel: got "),
        ({"crop_area": (0.0, 1.0)}, "^crop_area must be a lowest and a highest value above 0, at most 1: got "),
        ({"crop_aspect": (2.0, 1.0)}, "^crop_aspect must be a lowest and a highest value above 0, at most 100: got "),
        ({"flip_probability": 1.5}, "^flip_probability must lie in 0 to 1: got 1.5$"),
        ({"evaluation_crop": 0.0}, "^evaluation_crop must be above 0 and at most 1: got 0.0$"),
        ({"colour_strength": 3.0}, r"^colour_strength must lie in 0 \(off\) to 2: got 3.0$"),
        ({"num_frames": 31}, r"^patch must divide the axes: got patch \(2, 8, 8\) and axes \(31, 224, 224\)$"),
        ({"num_frames": 100_000}, r"^a clip of 100000 frames of 224 x 224 pixels is larger than 268,435,456 pixels; "
                                  r"set "
                                  r"a smaller size or num_frames$"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be(settings, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        VideoModality(**settings)


def test_a_number_of_channels_that_no_video_has() -> None:
    """The type forbids it, which these tests check and a program of one's own does not."""
    modality = VideoModality()
    object.__setattr__(modality, "channels", 2)
    with pytest.raises(UsageError, match=r"^channels must be 1 \(grey\) or 3 \(colour\): got 2$"):
        modality.__post_init__()


def test_it_goes_to_worker_processes(tmp_path: Path, modality: VideoModality) -> None:
    again = pickle.loads(pickle.dumps(modality))  # noqa: S301 (bytes from the line itself)
    assert again == modality
    path = write_numbered(tmp_path / "a.mp4", 20)
    content = again.open(path, Limits())
    assert numbers_of(content.view(0.0, None))[0] == 0
    content.close()


def test_a_film_has_a_map_for_each_frame() -> None:
    modality = VideoModality(num_frames=4, frames_per_second=5.0, size=(8, 8), encoding=GridEncoding(patch=(2, 4, 4)))
    values = np.arange(4 * 8 * 8 * 3, dtype=np.uint8).reshape(4, 8, 8, 3)
    scores = np.arange(2 * 2 * 2, dtype=float).reshape(2, 2, 2)
    film = modality.film(values, scores)
    assert film.frames_per_second == 5.0
    np.testing.assert_array_equal(film.pictures, values)
    np.testing.assert_array_equal(film.maps, scores[[0, 0, 1, 1]])
