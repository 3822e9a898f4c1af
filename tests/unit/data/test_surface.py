"""Points drawn from surfaces lie on them, evenly, and clouds fit the unit cube."""

import numpy as np
import pytest
from scipy import stats

from perceptio.data.mesh import Mesh, checked_mesh
from perceptio.data.surface import normalise_cloud, sample_surface

# Two triangles in different planes, areas 1 and 3, and one without area between them.
VERTICES = np.array([[0, 0, 0], [2, 0, 0], [0, 1, 0], [0, 0, 1], [0, 2, 1], [0, 0, 4.0]])
FACES = np.array([[0, 1, 2], [1, 1, 2], [3, 4, 5]])


def random(seed: int = 11) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_every_face_gets_points_by_its_area_and_faces_without_area_none() -> None:
    samples = sample_surface(checked_mesh(VERTICES, FACES), 10_007, random())
    flat = samples.points[:, 2] == 0
    # Four standard deviations of a binomial count; a sampler that ignores area gives a half.
    assert abs(flat.mean() - 1 / 4) < 4 * np.sqrt(0.25 * 0.75 / 10_007)
    np.testing.assert_allclose(samples.points[~flat, 0], 0, rtol=0, atol=1e-12)
    np.testing.assert_allclose(samples.normals[flat], np.tile([0, 0, 1], (flat.sum(), 1)), rtol=0, atol=1e-12)
    np.testing.assert_allclose(samples.normals[~flat], np.tile([1, 0, 0], ((~flat).sum(), 1)), rtol=0, atol=1e-12)


def test_points_are_uniform_within_a_triangle() -> None:
    """In a triangle with corners at 0, (2, 0) and (0, 1) the marginal of x has the CDF 1 - (1 - x / 2)^2."""
    points = sample_surface(checked_mesh(VERTICES[:3], np.array([[0, 1, 2]])), 20_011, random()).points
    assert points[:, :2].min() >= 0
    assert (points[:, 0] / 2 + points[:, 1]).max() <= 1 + 1e-12
    assert stats.kstest(points[:, 0], lambda x: 1 - (1 - x / 2) ** 2).pvalue > 0.001
    assert stats.kstest(points[:, 1], lambda y: 1 - (1 - y) ** 2).pvalue > 0.001
    # Without the square root points crowd at corner 0, and the test sees it.
    crowded = random().random(20_011)
    assert stats.kstest(2 * crowded * random(5).random(20_011), lambda x: 1 - (1 - x / 2) ** 2).pvalue < 1e-6


class Ends(np.random.Generator):
    """Draws one number alone: the lowest or the highest that a generator can."""

    def __init__(self, value: float) -> None:
        super().__init__(np.random.PCG64(0))
        self.value = value

    def random(self, size: int) -> np.ndarray:
        return np.full(size, self.value)


def test_faces_without_area_are_passed_over_at_both_ends() -> None:
    mesh = checked_mesh(VERTICES, np.array([[1, 1, 2], [0, 1, 2], [3, 3, 3]]))
    for value in (0.0, np.nextafter(1, 0)):
        samples = sample_surface(mesh, 3, Ends(value))
        np.testing.assert_allclose(samples.normals, np.tile([0, 0, 1], (3, 1)), rtol=0, atol=1e-12)


def test_colours_lie_between_those_of_the_corners() -> None:
    mesh = checked_mesh(VERTICES[:3], np.array([[0, 1, 2]]), colours=np.eye(3))
    samples = sample_surface(mesh, 101, random())
    weights = np.linalg.solve(
        np.vstack([VERTICES[:3, :2].T, np.ones(3)]), np.vstack([samples.points[:, :2].T, np.ones(101)])
    )
    np.testing.assert_allclose(samples.colours, weights.T, rtol=0, atol=1e-12)


def test_the_same_generator_gives_the_same_points() -> None:
    mesh = checked_mesh(VERTICES, FACES)
    first, again, other = (sample_surface(mesh, 53, random(seed)).points for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_the_scale_of_a_file_does_not_matter() -> None:
    plain = sample_surface(checked_mesh(VERTICES, FACES), 53, random())
    for factor in (1e-55, 1e55):
        scaled = sample_surface(checked_mesh(VERTICES * factor, FACES), 53, random())
        np.testing.assert_allclose(scaled.points / factor, plain.points, rtol=0, atol=1e-12)
        np.testing.assert_allclose(scaled.normals, plain.normals, rtol=0, atol=1e-12)


def test_clouds_are_thinned_without_replacement_or_kept() -> None:
    points = random().normal(size=(97, 3))
    cloud = Mesh(vertices=points, faces=None, normals=points + 1, colours=points + 2)
    thin = sample_surface(cloud, 31, random())
    assert len(np.unique(thin.points, axis=0)) == 31
    assert {tuple(point) for point in thin.points} < {tuple(point) for point in points}
    np.testing.assert_array_equal(thin.normals, thin.points + 1)
    np.testing.assert_array_equal(thin.colours, thin.points + 2)
    for more in (97, 1009):
        np.testing.assert_array_equal(sample_surface(cloud, more, random()).points, points)


def test_a_normalised_cloud_has_mean_zero_and_touches_the_cube() -> None:
    points = random().normal(size=(101, 3)) * [1, 2, 3] + [100, -200, 300]
    unit = normalise_cloud(points)
    np.testing.assert_allclose(unit.mean(axis=0), 0, rtol=0, atol=1e-12)
    assert np.abs(unit).max() == 1
    centred = points - points.mean(axis=0)
    np.testing.assert_allclose(unit * np.abs(centred).max(), centred, rtol=0, atol=1e-10)


@pytest.mark.parametrize("points", [np.array([[0.1, 5.3, -7.7]]), np.full((7, 3), 0.1), np.zeros((3, 3))])
def test_a_single_place_becomes_zero(points: np.ndarray) -> None:
    np.testing.assert_array_equal(normalise_cloud(points), np.zeros_like(points))
