import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perceptio.data.crops import Box, centre_crop, fitted_size, inception_crop

SIDES = st.integers(1, 5000)
SIZES = st.tuples(SIDES, SIDES)
SEEDS = st.integers(0, 2**32)


@given(size=SIZES, target=SIZES, low=st.floats(0.01, 1.0), seed=SEEDS)
def test_training_crops_lie_inside_with_the_asked_area_and_aspect(size, target, low: float, seed: int) -> None:
    height, width = size
    box = inception_crop(size, (low, 1.0), (0.75, 4 / 3), np.random.default_rng(seed))
    if box is None:
        return
    assert 0 <= box.left <= width - box.width
    assert 0 <= box.top <= height - box.height
    assert min(box.width, box.height) >= 1
    # Rounding moves each side by at most half a pixel.
    assert (box.width + 0.5) * (box.height + 0.5) >= low * height * width
    assert (box.width - 0.5) / (box.height + 0.5) <= 4 / 3
    assert (box.width + 0.5) / (box.height - 0.5) >= 0.75


@given(size=SIZES, target=SIZES, share=st.floats(0.01, 1.0))
def test_evaluation_crops_lie_in_the_middle(size, target, share: float) -> None:
    height, width = size
    box = centre_crop(size, share, target)
    assert box.left >= 0
    assert box.left + box.width <= width
    assert box.top >= 0
    assert box.top + box.height <= height
    assert box.left - (width - box.width - box.left) in (0, 1)
    assert box.top - (height - box.height - box.top) in (0, 1)


@given(size=SIZES)
def test_a_square_target_gets_the_official_crop(size) -> None:
    official = int(224 / (224 + 32) * min(size))
    assert centre_crop(size, 224 / 256, (224, 224))[2:] == (max(1, official),) * 2


def test_a_lying_target_gets_a_lying_crop() -> None:
    assert centre_crop((100, 100), 1.0, (10, 20)) == Box(0, 25, 100, 50)
    assert centre_crop((375, 500), 0.5, (3, 4)) == Box(125, 94, 250, 187)


@given(size=SIZES, target=SIZES)
def test_fitted_sizes_fit_and_never_grow(size, target) -> None:
    height, width = fitted_size(size, target)
    assert 1 <= height <= min(size[0], target[0])
    assert 1 <= width <= min(size[1], target[1])
    assert height == min(size[0], target[0]) or width == min(size[1], target[1])


def test_a_long_picture_gives_no_crop() -> None:
    assert inception_crop((10, 1000), (0.5, 1.0), (0.75, 4 / 3), np.random.default_rng(0)) is None


def test_the_whole_picture_can_be_asked_for() -> None:
    assert inception_crop((17, 17), (1.0, 1.0), (1.0, 1.0), np.random.default_rng(0)) == Box(0, 0, 17, 17)


def test_areas_are_uniform_and_aspects_log_uniform() -> None:
    """In a picture so large that every draw with at most a quarter of the area fits, nothing is drawn again."""
    random = np.random.default_rng(0)
    boxes = [inception_crop((4000, 4000), (0.05, 0.25), (0.75, 4 / 3), random) for _ in range(4000)]
    areas = np.array([b.width * b.height / 16e6 for b in boxes if b])
    aspects = np.array([math.log(b.width / b.height) for b in boxes if b])
    assert len(areas) == 4000
    # Means of n uniform values of width w have the standard error w / sqrt(12 n); 4 of them are allowed.
    assert areas.mean() == pytest.approx(0.15, abs=4 * 0.20 / math.sqrt(12 * 4000))
    assert aspects.mean() == pytest.approx(0.0, abs=4 * 2 * math.log(4 / 3) / math.sqrt(12 * 4000))
    lefts = np.array([b.left / (4000 - b.width) for b in boxes if b])
    tops = np.array([b.top / (4000 - b.height) for b in boxes if b])
    for places in (lefts, tops):
        assert places.mean() == pytest.approx(0.5, abs=4 / math.sqrt(12 * 4000))
        assert places.min() < 0.01
        assert places.max() > 0.99
    assert abs(np.corrcoef(lefts, tops)[0, 1]) < 4 / math.sqrt(4000)
