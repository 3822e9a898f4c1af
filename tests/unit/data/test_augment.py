"""Each operation against the same thing said in numpy."""

import numpy as np
import pytest
from PIL import Image

from perceptio.data import augment_ops as ops
from perceptio.data.augment import OPERATIONS, RandAugment, Strength
from perceptio.errors import UsageError


@pytest.fixture(params=["RGB", "L"])
def pixels(request, picture: np.ndarray) -> np.ndarray:
    return picture if request.param == "RGB" else picture[:, :, 2]


def applied(operation, pixels: np.ndarray, *arguments) -> np.ndarray:
    image = Image.fromarray(pixels)
    result = operation(image, *arguments)
    assert (result.mode, result.size) == (image.mode, image.size)
    np.testing.assert_array_equal(np.asarray(image), pixels, err_msg="the given picture was changed")
    return np.asarray(result)


def planes(pixels: np.ndarray, function) -> np.ndarray:
    """Applies a function to each channel on its own."""
    if pixels.ndim == 2:
        return function(pixels)
    return np.stack([function(pixels[:, :, channel]) for channel in range(3)], axis=-1)


def test_auto_contrast(pixels: np.ndarray) -> None:
    dull = (pixels // 3 + 20).astype(np.uint8)

    def stretch(plane: np.ndarray) -> np.ndarray:
        low, high = int(plane.min()), int(plane.max())
        return np.floor((plane.astype(float) - low) * 255.0 / (high - low) + 1e-9).astype(np.uint8)

    np.testing.assert_allclose(applied(ops.auto_contrast, dull).astype(int), planes(dull, stretch).astype(int), atol=1)
    assert applied(ops.auto_contrast, dull).min() == 0
    assert applied(ops.auto_contrast, dull).max() >= 254  # the scaled top may be cut down from 254.99..


def test_auto_contrast_of_one_colour_changes_nothing() -> None:
    flat = np.full((5, 7), 93, np.uint8)
    np.testing.assert_array_equal(applied(ops.auto_contrast, flat), flat)


def test_equalize(pixels: np.ndarray) -> None:
    def spread(plane: np.ndarray) -> np.ndarray:
        counts = np.bincount(plane.ravel(), minlength=256)
        step = (counts.sum() - counts[np.flatnonzero(counts)[-1]]) // 255
        if step == 0:
            return plane
        table = (np.concatenate([[0], np.cumsum(counts)[:-1]]) + step // 2) // step
        return np.clip(table, 0, 255).astype(np.uint8)[plane]

    np.testing.assert_array_equal(applied(ops.equalize, pixels // 2), planes(pixels // 2, spread))


def test_invert(pixels: np.ndarray) -> None:
    np.testing.assert_array_equal(applied(ops.invert, pixels), 255 - pixels)


@pytest.mark.parametrize("bits", [0, 1, 2, 4, 8])
def test_posterize(pixels: np.ndarray, bits: int) -> None:
    shift = 8 - bits
    np.testing.assert_array_equal(applied(ops.posterize, pixels, bits), (pixels.astype(int) >> shift) << shift)


@pytest.mark.parametrize("threshold", [0, 128, 256])
def test_solarize(pixels: np.ndarray, threshold: int) -> None:
    expected = np.where(pixels.astype(int) < threshold, pixels, 255 - pixels)
    np.testing.assert_array_equal(applied(ops.solarize, pixels, threshold), expected)


def test_solarize_add(pixels: np.ndarray) -> None:
    expected = np.where(pixels < 128, np.minimum(pixels.astype(int) + 55, 255), pixels)
    np.testing.assert_array_equal(applied(ops.solarize_add, pixels, 55), expected)
    assert applied(ops.solarize_add, np.full((2, 3), 100, np.uint8), 200).max() == 255


def blended(other: np.ndarray, pixels: np.ndarray, factor: float) -> np.ndarray:
    return np.clip(other + factor * (pixels.astype(float) - other), 0, 255)


def luma(picture: np.ndarray) -> np.ndarray:
    return picture if picture.ndim == 2 else np.asarray(Image.fromarray(picture).convert("L"))


@pytest.mark.parametrize("factor", [0.1, 0.64, 1.0, 1.9])
def test_mixing_operations(pixels: np.ndarray, factor: float) -> None:
    """Values are cut down to whole numbers, so they may lie up to 1 below; smoothing rounds once more."""
    grey = luma(pixels).astype(float)
    if pixels.ndim == 3:
        grey = np.repeat(grey[:, :, None], 3, axis=2)
    mean = np.full(pixels.shape, int(luma(pixels).mean() + 0.5), float)
    smooth = pixels.astype(float)
    weights = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]]) / 13.0
    height, width = pixels.shape[:2]
    inner = sum(
        weights[row, column] * pixels[row : height - 2 + row, column : width - 2 + column].astype(float)
        for row in range(3)
        for column in range(3)
    )
    smooth[1:-1, 1:-1] = np.floor(inner + 0.5)
    for operation, other in (
        (ops.color, grey),
        (ops.contrast, mean),
        (ops.brightness, np.zeros(pixels.shape)),
        (ops.sharpness, smooth),
    ):
        difference = blended(other, pixels, factor) - applied(operation, pixels, factor)
        assert difference.min() >= -1.01
        assert difference.max() <= 1.01 + (1.0 if operation is ops.sharpness else 0.0)
        if factor == 1.0:
            np.testing.assert_array_equal(applied(operation, pixels, factor), pixels)


@pytest.mark.parametrize("shift", [5, -5, 0, 100])
def test_translate(pixels: np.ndarray, shift: int) -> None:
    height, width = pixels.shape[:2]
    expected_x, expected_y = np.full_like(pixels, 128), np.full_like(pixels, 128)
    for place in range(width):
        if 0 <= place + shift < width:
            expected_x[:, place] = pixels[:, place + shift]
    for place in range(height):
        if 0 <= place + shift < height:
            expected_y[place] = pixels[place + shift]
    np.testing.assert_array_equal(applied(ops.translate_x, pixels, float(shift)), expected_x)
    np.testing.assert_array_equal(applied(ops.translate_y, pixels, float(shift)), expected_y)


@pytest.mark.parametrize("level", [0.15, -0.15, 0.3])
def test_shear(pixels: np.ndarray, level: float) -> None:
    """Output pixel centre (x, y) comes from the input pixel that holds (x + level y, y)."""
    height, width = pixels.shape[:2]
    expected = np.full_like(pixels, 128)
    for row in range(height):
        for column in range(width):
            source = int(np.floor(column + 0.5 + level * (row + 0.5)))
            if 0 <= source < width:
                expected[row, column] = pixels[row, source]
    np.testing.assert_array_equal(applied(ops.shear_x, pixels, level), expected)
    turned = applied(ops.shear_y, np.ascontiguousarray(pixels.swapaxes(0, 1)), level).swapaxes(0, 1)
    np.testing.assert_array_equal(turned, expected)


def test_rotate(pixels: np.ndarray) -> None:
    square = np.ascontiguousarray(pixels[:21, :21])
    np.testing.assert_array_equal(applied(ops.rotate, square, 90.0), np.rot90(square))
    corner = applied(ops.rotate, square, 45.0)[0, 0]
    assert np.all(corner == 128)
    np.testing.assert_array_equal(applied(ops.rotate, square, 15.0)[10, 10], square[10, 10])


@pytest.mark.parametrize(("reach", "centre"), [(4, (10, 20)), (4, (0, 36)), (50, (5, 5)), (0, (5, 5))])
def test_cutout(pixels: np.ndarray, reach: int, centre: tuple[int, int]) -> None:
    expected = pixels.copy()
    expected[max(0, centre[0] - reach) : centre[0] + reach, max(0, centre[1] - reach) : centre[1] + reach] = 128
    np.testing.assert_array_equal(applied(ops.cutout, pixels, reach, centre), expected)


def test_there_are_sixteen_operations_in_the_official_order() -> None:
    assert list(OPERATIONS) == [
        "auto_contrast", "equalize", "invert", "rotate", "posterize", "solarize", "color", "contrast", "brightness",
        "sharpness", "shear_x", "shear_y", "translate_x", "translate_y", "cutout", "solarize_add",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "operation", "argument", "signed"),
    [
        ("rotate", "rotate", 21.0, True),
        ("posterize", "posterize", 2, False),
        ("solarize", "solarize", 179, False),
        ("color", "color", 0.7 * 1.8 + 0.1, False),
        ("contrast", "contrast", 0.7 * 1.8 + 0.1, False),
        ("brightness", "brightness", 0.7 * 1.8 + 0.1, False),
        ("sharpness", "sharpness", 0.7 * 1.8 + 0.1, False),
        ("shear_x", "shear_x", 0.21, True),
        ("shear_y", "shear_y", 0.21, True),
        ("translate_x", "translate_x", 70.0, True),
        ("translate_y", "translate_y", 70.0, True),
        ("cutout", "cutout", 28, False),
        ("solarize_add", "solarize_add", 77, False),
    ],
)
def test_strengths_at_magnitude_7(
    monkeypatch: pytest.MonkeyPatch, image: Image.Image, name: str, operation: str, argument: float, signed: bool
) -> None:
    """The table of autoaugment.py's level_to_arg, worked out by hand for 7 of 10."""
    seen = []
    monkeypatch.setattr(ops, operation, lambda image, value, *rest: seen.append(value) or image)
    strength = Strength(share=0.7, length_scale=1.0, random=np.random.default_rng(0))
    for _ in range(64):
        OPERATIONS[name](image, strength)
    assert {round(value, 9) for value in seen} == {
        round(value, 9) for value in ((argument, -argument) if signed else (argument,))
    }


def test_all_operations_are_chosen_alike(monkeypatch: pytest.MonkeyPatch, image: Image.Image) -> None:
    counts = dict.fromkeys(OPERATIONS, 0)

    def counting(name: str):
        def operation(image, strength):
            counts[name] += 1
            return image

        return operation

    for name in list(OPERATIONS):
        monkeypatch.setitem(OPERATIONS, name, counting(name))
    RandAugment(num_layers=16_000)(image, np.random.default_rng(0))
    # Binomial with n 16,000 and p 1/16 has the standard deviation 30.6; 5 of them are allowed.
    assert all(abs(count - 1000) < 153 for count in counts.values()), counts


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_the_same_generator_gives_the_same_picture(image: Image.Image, mode: str) -> None:
    image = image.convert(mode)
    augment = RandAugment(num_layers=4, magnitude=7)
    views = [np.asarray(augment(image, np.random.default_rng(seed))) for seed in (3, 3, 4)]
    np.testing.assert_array_equal(views[0], views[1])
    assert not np.array_equal(views[0], views[2])


def test_relative_lengths_spare_small_pictures(monkeypatch: pytest.MonkeyPatch, image: Image.Image) -> None:
    shifts = []
    monkeypatch.setattr(ops, "translate_x", lambda image, pixels: shifts.append(abs(pixels)) or image)
    monkeypatch.setattr("perceptio.data.augment._NAMES", ("translate_x",))
    for relative in (False, True):
        RandAugment(num_layers=1, magnitude=5, relative_lengths=relative)(image, np.random.default_rng(0))
    assert shifts == [50.0, pytest.approx(50.0 * 23 / 224)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_layers": -1}, "num_layers must be at least 0: got -1"),
        ({"magnitude": 11}, "magnitude must lie in 0 to 10: got 11"),
    ],
)
def test_bad_settings(settings: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        RandAugment(**settings)
