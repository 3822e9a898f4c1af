"""Random changes of clouds: their ranges, what they keep, and which settings are refused."""

import numpy as np
import pytest

from perceptio.data.point_augment import (
    PointAugment,
    any_rotation,
    rotation_about_z,
    stretch_factors,
    stretched_normals,
)
from perceptio.data.surface import normalise_cloud
from perceptio.errors import UsageError


def random(seed: int = 5) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture
def cloud() -> np.ndarray:
    return normalise_cloud(random().normal(size=(211, 3)) * [1, 2, 3])


def test_the_papers_scaling_gives_each_point_a_factor_of_its_own(cloud: np.ndarray) -> None:
    points, normals = PointAugment()(cloud, None, random())
    assert normals is None
    np.testing.assert_allclose(points.mean(axis=0), 0, rtol=0, atol=1e-12)
    assert np.abs(points).max() == 1
    draws = random().uniform(0.99, 1.01, size=(211, 1))
    np.testing.assert_allclose(points, normalise_cloud(cloud * draws), rtol=0, atol=1e-12)
    assert 0.99 <= draws.min() < 0.9905
    assert 1.0095 < draws.max() < 1.01


def test_nothing_asked_for_changes_nothing(cloud: np.ndarray) -> None:
    points, normals = PointAugment(scaling=(1.0, 1.0))(cloud, cloud, random())
    np.testing.assert_allclose(points, cloud, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(normals, cloud)


def test_rotations_turn_points_and_normals_alike(cloud: np.ndarray) -> None:
    for rotation in ("z", "any"):
        points, normals = PointAugment(scaling=(1, 1), rotation=rotation)(cloud, cloud, random())
        assert normals is not None
        np.testing.assert_allclose(np.linalg.norm(normals, axis=1), np.linalg.norm(cloud, axis=1), rtol=0, atol=1e-12)
        np.testing.assert_allclose(points, normalise_cloud(normals), rtol=0, atol=1e-12)
        assert np.abs(normals[:, 0] - cloud[:, 0]).max() > 0.1
        same_height = np.abs(normals[:, 2] - cloud[:, 2]).max() < 1e-12
        assert same_height == (rotation == "z")


@pytest.mark.parametrize("draw", [rotation_about_z, any_rotation])
def test_rotations_are_proper(draw) -> None:
    for seed in range(17):
        turn = draw(random(seed))
        np.testing.assert_allclose(turn @ turn.T, np.eye(3), rtol=0, atol=1e-12)
        assert np.linalg.det(turn) == pytest.approx(1, abs=1e-12)


def test_any_rotation_reaches_all_directions_alike() -> None:
    """The image of an axis is uniform on the sphere: its third coordinate is uniform on [-1, 1]."""
    generator = random()
    heights = np.array([any_rotation(generator)[2, 0] for _ in range(5003)])
    counts, _ = np.histogram(heights, bins=10, range=(-1, 1))
    # Five standard deviations of a binomial count around a tenth.
    assert np.abs(counts - 500.3).max() < 5 * np.sqrt(5003 * 0.09)


def test_jitter_stays_within_its_reach(cloud: np.ndarray) -> None:
    points, _ = PointAugment(scaling=(1, 1), jitter=0.02)(cloud, None, random())
    draws = random().uniform(-0.02, 0.02, size=cloud.shape)
    np.testing.assert_allclose(points, normalise_cloud(cloud + draws), rtol=0, atol=1e-12)
    assert np.abs(points - cloud).max() < 0.06


def test_stretching_scales_each_axis_before_the_rotation(cloud: np.ndarray) -> None:
    points, _ = PointAugment(scaling=(1, 1), stretch=1.5)(cloud, None, random())
    np.testing.assert_allclose(points, normalise_cloud(cloud * stretch_factors(1.5, random())), rtol=0, atol=1e-12)
    turned, _ = PointAugment(scaling=(1, 1), stretch=1.5, rotation="z")(cloud, None, random())
    heights = np.linalg.norm(points[:, :2], axis=1) / np.abs(points[:, 2])
    np.testing.assert_allclose(np.linalg.norm(turned[:, :2], axis=1) / np.abs(turned[:, 2]), heights, rtol=1e-9)


def test_stretches_are_as_likely_as_their_inverses() -> None:
    generator = random()
    logarithms = np.log([stretch_factors(1.35, generator) for _ in range(2003)])
    assert np.abs(logarithms).max() < np.log(1.35)
    assert np.abs(logarithms).max() > 0.99 * np.log(1.35)
    # Five standard errors of a uniform mean.
    assert np.abs(logarithms.mean(axis=0)).max() < 5 * np.log(1.35) / np.sqrt(3 * 2003)
    assert np.abs(np.corrcoef(logarithms.T) - np.eye(3)).max() < 0.12


def test_stretched_normals_stay_upright_on_the_stretched_surface() -> None:
    """On an ellipsoid the normal at a point p is p divided by the squared axes."""
    sphere = random().normal(size=(97, 3))
    sphere /= np.linalg.norm(sphere, axis=1, keepdims=True)
    axes = np.array([0.8, 1.0, 1.3])
    upright = sphere * axes / axes**2
    expected = upright / np.linalg.norm(upright, axis=1, keepdims=True)
    np.testing.assert_allclose(stretched_normals(sphere, axes), expected, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(stretched_normals(np.zeros((2, 3)), axes), np.zeros((2, 3)))


def test_a_rotation_that_a_file_misspells() -> None:
    settings = object.__new__(PointAugment)  # as from a config file: the types of the tests would stop it earlier
    for name, value in (("scaling", (1.0, 1.0)), ("rotation", "x"), ("stretch", 1.0), ("jitter", 0.0)):
        object.__setattr__(settings, name, value)
    with pytest.raises(UsageError, match=r"^rotation must be none, z or any: got 'x'$"):
        settings.__post_init__()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scaling": (1.1, 0.9)}, "scaling must be two factors above 0, the lower one first: got 1.1 and 0.9"),
        ({"scaling": (0.0, 1.0)}, "scaling must be two factors above 0, the lower one first: got 0.0 and 1.0"),
        ({"stretch": 0.9}, "stretch must be at least 1: got 0.9. 1 means none"),
        ({"jitter": -0.1}, "jitter must be at least 0: got -0.1. Use 0 for none; the paper tried 0.02"),
    ],
)
def test_settings_that_cannot_be_meant(settings: dict, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        PointAugment(**settings)
    assert str(caught.value) == message
