import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from perceptio.data.image_config import ImageConfig
from perceptio.data.image_reader import ImageReader
from perceptio.data.limits import Limits
from perceptio.randomness import generator

PLAIN = {"crop_area": (1.0, 1.0), "crop_aspect": (1.0, 1.0), "flip_probability": 0.0, "randaugment_layers": 0}


def reader(**changes) -> ImageReader:
    if changes.get("channels") == 1:
        changes |= {"mean": (0.5,), "std": (0.5,)}
    return ImageReader(ImageConfig(**changes), Limits())


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(24, 24), (16, 40), (7, 3)])
def test_views_have_the_asked_shape(image: Image.Image, picture: np.ndarray, channels: int, size) -> None:
    it = reader(size=size, channels=channels)
    decoded = it.decode(picture)
    for view in (it.training_view(decoded, generator(0, "t")), it.evaluation_view(decoded)):
        assert view.shape == (*size, channels)
        assert view.dtype == np.uint8
        assert view.flags.writeable


def test_without_randomness_training_shows_the_whole_square(picture: np.ndarray) -> None:
    square = np.ascontiguousarray(picture[:, :23])
    it = reader(size=(23, 23), **PLAIN)
    np.testing.assert_array_equal(it.training_view(it.decode(square), generator(0, "t")), square)


def test_flips(picture: np.ndarray) -> None:
    square = np.ascontiguousarray(picture[:, :23])
    it = reader(size=(23, 23), **(PLAIN | {"flip_probability": 1.0}))
    np.testing.assert_array_equal(it.training_view(it.decode(square), generator(0, "t")), square[:, ::-1])
    half = reader(size=(23, 23), **(PLAIN | {"flip_probability": 0.5}))
    flipped = [
        np.array_equal(half.training_view(half.decode(square), generator(0, n)), square[:, ::-1]) for n in range(400)
    ]
    assert 150 < sum(flipped) < 250  # 200 expected, standard deviation 10


def test_evaluation_is_the_official_centre_crop(picture: np.ndarray) -> None:
    it = reader(size=(20, 20))
    # 224/256 of 23 is 20.1: 20 pixels, from (23 - 20 + 1) // 2 = 2 down and (37 - 20 + 1) // 2 = 9 to the right.
    np.testing.assert_array_equal(it.evaluation_view(it.decode(picture)), picture[2:22, 9:29])


def test_scaling_is_bicubic(picture: np.ndarray) -> None:
    it = reader(size=(40, 40), evaluation_crop=1.0)
    expected = Image.fromarray(picture[:, 7:30]).resize((40, 40), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(it.evaluation_view(it.decode(picture)), np.asarray(expected))


def test_a_crop_is_a_part_of_the_picture_at_its_place() -> None:
    """Pixel values tell their own place; without scaling a view must be one connected part."""
    places = (np.arange(64)[:, None] * 4 + np.arange(64) % 4).astype(np.uint8)
    it = reader(size=(32, 32), channels=1, **(PLAIN | {"crop_area": (0.25, 0.25)}))
    tops = set()
    for number in range(50):
        view = it.training_view(it.decode(places), generator(0, number))[:, :, 0]
        assert np.all(np.diff(view.astype(int) // 4, axis=0) == 1)
        tops.add(int(view[0, 0]) // 4)
    assert len(tops) > 10


def test_the_aspect_of_crops_is_relative_to_the_size(monkeypatch: pytest.MonkeyPatch, picture: np.ndarray) -> None:
    asked = []
    monkeypatch.setattr(
        "perceptio.data.image_reader.inception_crop", lambda size, area, aspect, random: asked.append(aspect)
    )
    it = reader(size=(10, 30), crop_aspect=(0.5, 2.0))
    it.training_view(it.decode(picture), generator(0, "t"))
    assert asked == [(1.5, 6.0)]


def test_a_long_picture_falls_back_to_the_evaluation_crop() -> None:
    long = np.arange(10 * 1000 * 3, dtype=np.uint32).reshape(10, 1000, 3).astype(np.uint8)
    it = reader(size=(8, 8), flip_probability=0.0, randaugment_layers=0, crop_area=(0.5, 1.0))
    decoded = it.decode(long)
    np.testing.assert_array_equal(it.training_view(decoded, generator(0, "t")), it.evaluation_view(decoded))


def test_randaugment_sees_the_crop_before_it_is_scaled(monkeypatch: pytest.MonkeyPatch, picture: np.ndarray) -> None:
    sizes = []

    def spy(self, image, random):
        sizes.append(image.size)
        return image

    monkeypatch.setattr("perceptio.data.augment.RandAugment.__call__", spy)
    it = reader(size=(8, 8), crop_area=(1.0, 1.0), crop_aspect=(1.0, 1.0))
    it.training_view(it.decode(np.ascontiguousarray(picture[:, :23])), generator(0, "t"))
    assert sizes == [(23, 23)]


def test_fit_scales_down_and_never_up(picture: np.ndarray) -> None:
    small = reader(size=(10, 10), geometry="fit", randaugment_layers=0, flip_probability=0.0)
    large = reader(size=(100, 100), geometry="fit", randaugment_layers=0, flip_probability=0.0)
    assert small.evaluation_view(small.decode(picture)).shape == (6, 10, 3)
    assert small.training_view(small.decode(picture), generator(0, "t")).shape == (6, 10, 3)
    np.testing.assert_array_equal(large.evaluation_view(large.decode(picture)), picture)


def test_colour_and_grey_are_converted(picture: np.ndarray) -> None:
    assert reader(channels=1).decode(picture).mode == "L"
    assert reader().decode(picture[:, :, 0]).mode == "RGB"


@settings(max_examples=40, deadline=None)
@given(height=st.integers(1, 70), width=st.integers(1, 70), seed=st.integers(0, 999), fit=st.booleans())
def test_any_picture_gives_a_view(height: int, width: int, seed: int, fit: bool) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    it = reader(size=(12, 17), geometry="fit" if fit else "crop", randaugment_magnitude=9)
    view = it.training_view(it.decode(pixels), generator(seed, "t"))
    assert view.dtype == np.uint8
    assert view.shape[0] <= 12
    assert view.shape[1] <= 17
    assert fit or view.shape == (12, 17, 3)


def views_of(it: ImageReader, path: Path, numbers: range) -> list[bytes]:
    return [it.training_view(it.decode(path), generator(5, "sample", 0, n)).tobytes() for n in numbers]


def test_the_same_key_gives_the_same_bytes_in_any_process_and_order(image: Image.Image, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    image.save(path)
    it = pickle.loads(pickle.dumps(reader(size=(24, 24))))  # noqa: S301 (our own bytes)
    here = views_of(it, path, range(12))
    assert here[::-1] == [views_of(it, path, range(n, n + 1))[0] for n in reversed(range(12))]
    assert len(set(here)) >= 8  # some operations wipe so small a crop out
    with ProcessPoolExecutor(1, mp_context=get_context("forkserver")) as pool:
        assert pool.submit(views_of, it, path, range(12)).result() == here
