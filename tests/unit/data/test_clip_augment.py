"""Augmentation of clips: the same for all frames, and equal to what other libraries say it is."""

import colorsys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from perceptio.data.clip_augment import (
    ColourShift,
    draw_box,
    draw_colour,
    reduced,
    resize_clip,
    shift_colours,
    to_grey,
)
from perceptio.data.crops import Box
from perceptio.errors import UsageError
from perceptio.randomness import generator

SAME = {"brightness": 0.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.0}


@pytest.fixture
def clip() -> np.ndarray:
    """Seven different frames of 23 x 37 pixels."""
    return np.random.default_rng(0).integers(0, 256, (7, 23, 37, 3), dtype=np.uint8)


def luma(colours: np.ndarray) -> np.ndarray:
    return colours.astype(np.float64) @ np.array([0.299, 0.587, 0.114])


def shift(**changes: float) -> ColourShift:
    return ColourShift(**{**SAME, **changes})


def test_no_shift_changes_nothing(clip: np.ndarray) -> None:
    np.testing.assert_array_equal(shift_colours(clip, shift()), clip)


def test_brightness_and_contrast(clip: np.ndarray) -> None:
    """The formulas of TensorFlow's adjust_brightness and adjust_contrast, on the mean of the whole clip."""
    expected = np.clip(clip + 0.1 * 255, 0, 255)
    np.testing.assert_allclose(shift_colours(clip, shift(brightness=0.1)), expected, atol=0.51)
    mean = luma(clip).mean()
    expected = np.clip((clip - mean) * 1.3 + mean, 0, 255)
    np.testing.assert_allclose(shift_colours(clip, shift(contrast=1.3)), expected, atol=0.51)


def test_saturation_is_pillows(clip: np.ndarray) -> None:
    """Pillow's ImageEnhance.Color mixes with the grey of the luma, which it rounds first."""
    from PIL import ImageEnhance

    for factor in (0.0, 0.6, 1.4):
        changed = shift_colours(clip, shift(saturation=factor))
        for old, new in zip(clip, changed, strict=True):
            expected = np.asarray(ImageEnhance.Color(Image.fromarray(old)).enhance(factor))
            np.testing.assert_allclose(new.astype(int), expected, atol=1)


def test_hue_keeps_luma_and_turns_colours() -> None:
    """A third of a turn leads from red towards green, as in HSV, and three of them back again."""
    red = np.full((1, 5, 5, 3), (160, 100, 100), np.uint8)
    found = [shift_colours(red, shift(hue=turns))[0, 0, 0] for turns in (1 / 3, -1 / 3, 1.0)]
    for colour in found:
        assert luma(colour) == pytest.approx(luma(red[0, 0, 0]), abs=1.0)
    hues = [colorsys.rgb_to_hsv(*(colour / 255))[0] for colour in found]
    assert abs(hues[2]) % 1 == pytest.approx(0.0, abs=0.02)
    # One of the two directions is green and the other blue.
    assert sorted(int(np.argmax(colour)) for colour in found[:2]) == [1, 2]


def test_frames_of_a_clip_are_changed_alike() -> None:
    """A still scene stays still, and a frame's own content does not matter to the others' contrast."""
    still = np.random.default_rng(1).integers(0, 256, (1, 23, 37, 3), dtype=np.uint8).repeat(5, axis=0)
    changed = shift_colours(still, draw_colour(1.0, generator(3, "colours")))
    assert (changed == changed[:1]).all()
    assert (changed != still).any()
    dark = still.copy()
    dark[4] = 0
    one = shift_colours(dark, shift(contrast=0.7))
    assert (one[:4] == one[:1]).all()


def test_grey_clips(clip: np.ndarray) -> None:
    grey = to_grey(clip)
    expected = np.stack([np.asarray(Image.fromarray(frame).convert("L")) for frame in clip])[..., None]
    np.testing.assert_allclose(grey.astype(int), expected, atol=1)
    assert to_grey(grey) is grey
    mean = grey.mean()
    changed = shift_colours(grey, ColourShift(brightness=0.05, contrast=0.8, saturation=0.0, hue=0.3))
    np.testing.assert_allclose(changed, np.clip((grey - mean) * 0.8 + mean + 0.05 * 255, 0, 255), atol=0.51)


def test_ranges_and_strength() -> None:
    drawn = [draw_colour(1.0, generator(seed, "ranges")) for seed in range(2000)]
    for name, low, high in (
        ("brightness", -32 / 255, 32 / 255),
        ("contrast", 0.6, 1.4),
        ("saturation", 0.6, 1.4),
        ("hue", -0.2, 0.2),
    ):
        values = np.array([getattr(one, name) for one in drawn])
        assert low <= values.min() < low + 0.01 * (high - low)
        assert high - 0.01 * (high - low) < values.max() <= high
        assert values.mean() == pytest.approx((low + high) / 2, abs=0.02 * (high - low))
    assert draw_colour(0.0, generator(5)) == shift()
    whole, half = draw_colour(1.0, generator(7)), draw_colour(0.5, generator(7))
    assert half.hue == pytest.approx(whole.hue / 2)
    assert half.contrast - 1 == pytest.approx((whole.contrast - 1) / 2)
    for strength in (-0.1, 2.1, float("nan")):
        with pytest.raises(UsageError, match=r"^colour_strength must lie in 0 \(off\) to 2: got "):
            draw_colour(strength, generator(7))


@pytest.mark.parametrize("size", [(11, 17), (46, 74), (23, 37), (46, 17), (1, 1)])
def test_scaling_is_pillows_bicubic(clip: np.ndarray, size: tuple[int, int]) -> None:
    scaled = resize_clip(clip, size)
    expected = np.stack([np.asarray(Image.fromarray(frame).resize(size[::-1], 3)) for frame in clip])
    np.testing.assert_allclose(scaled.astype(int), expected, atol=2)
    assert scaled.dtype == np.uint8
    grey = resize_clip(to_grey(clip), size)
    assert grey.shape == (7, *size, 1)


def test_scaling_up_one_way_and_down_the_other() -> None:
    """Pillow takes the two sides in another order here, which shows in noise: what overshoots is cut off in between."""
    rows, columns = np.mgrid[0:23, 0:37]
    smooth = (128 + 100 * np.sin(rows / 5) * np.cos(columns / 7)).astype(np.uint8)[None, ..., None].repeat(3, axis=3)
    expected = np.asarray(Image.fromarray(smooth[0]).resize((101, 13), 3))
    np.testing.assert_allclose(resize_clip(smooth, (13, 101))[0].astype(int), expected, atol=2)


def test_views_of_arrays_are_scaled_as_well(clip: np.ndarray) -> None:
    np.testing.assert_array_equal(
        resize_clip(clip[:, :, ::-1], (11, 17)), resize_clip(clip[:, :, ::-1].copy(), (11, 17))
    )


def test_boxes_lie_within_and_fall_back_to_the_middle() -> None:
    for seed in range(200):
        box = draw_box((123, 457), (64, 64), (0.08, 1.0), (3 / 4, 4 / 3), generator(seed, "box"))
        assert 0 <= box.left < box.left + box.width <= 457
        assert 0 <= box.top < box.top + box.height <= 123
        assert 0.5 < box.width / box.height < 2
    assert draw_box((10, 1000), (64, 64), (1.0, 1.0), (1.0, 1.0), generator(0)) == Box(495, 0, 10, 10)
    # Relative to the target: undistorted crops of a wide target are wide.
    wide = draw_box((1000, 1000), (50, 100), (0.2, 0.2), (1.0, 1.0), generator(1))
    assert wide.width / wide.height == pytest.approx(2.0, rel=0.01)


@settings(max_examples=200, deadline=None)
@given(
    size=st.tuples(st.integers(1, 4000), st.integers(1, 4000)),
    target=st.tuples(st.integers(1, 300), st.integers(1, 300)),
    data=st.data(),
)
def test_reduced_keeps_place_and_enough_pixels(size, target, data) -> None:
    width, height = data.draw(st.integers(1, size[1])), data.draw(st.integers(1, size[0]))
    left, top = data.draw(st.integers(0, size[1] - width)), data.draw(st.integers(0, size[0] - height))
    box = Box(left, top, width, height)
    new_size, new_box = reduced(size, box, target)
    assert 0 <= new_box.left < new_box.left + new_box.width <= new_size[1]
    assert 0 <= new_box.top < new_box.top + new_box.height <= new_size[0]
    if new_size == size:
        assert new_box == box
    else:
        # Twice the target along the tighter side, and the same part of the picture within a pixel.
        tightest = min(new_box.height / target[0], new_box.width / target[1])
        assert tightest == pytest.approx(2.0, abs=1.01 / min(target))
        down, across = new_size[0] / size[0], new_size[1] / size[1]
        assert abs(new_box.left - left * across) <= 1
        assert abs(new_box.top - top * down) <= 1
        assert abs(new_box.width - width * across) <= 1
        assert abs(new_box.height - height * down) <= 1
