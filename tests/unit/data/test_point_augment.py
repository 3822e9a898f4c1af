"""Random changes of clouds: their ranges, what they keep, and which settings are refused."""

import numpy as np
import pytest

from perceptio.data.point_augment import PointAugment, any_rotation, rotation_about_z
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


def test_a_rotation_that_a_file_misspells() -> None:
    settings = object.__new__(PointAugment)  # as from a config file: the types of the tests would stop it earlier
    for name, value in (("scaling", (1.0, 1.0)), ("rotation", "x"), ("jitter", 0.0)):
        object.__setattr__(settings, name, value)
    with pytest.raises(UsageError, match=r"^rotation must be none, z or any: got 'x'$"):
        settings.__post_init__()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scaling": (1.1, 0.9)}, "scaling must be two factors above 0, the lower one first: got 1.1 and 0.9"),
        ({"scaling": (0.0, 1.0)}, "scaling must be two factors above 0, the lower one first: got 0.0 and 1.0"),
        ({"jitter": -0.1}, "jitter must be at least 0: got -0.1. Use 0 for none; the paper tried 0.02"),
    ],
)
def test_settings_that_cannot_be_meant(settings: dict, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        PointAugment(**settings)
    assert str(caught.value) == message
