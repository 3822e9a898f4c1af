"""The modality of point clouds and meshes: views, pictures, the cache, and what settings are refused."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from perceptio.data.limits import Limits
from perceptio.data.surface import normalise_cloud
from perceptio.errors import FileError, UsageError
from perceptio.modalities import points as points_module
from perceptio.modalities.contract import Content, Modality
from perceptio.modalities.points import PointsModality

LIMITS = Limits()
TETRAHEDRON = "OFF\n4 4 6\n0 0 0\n1 0 0\n0 2 0\n0 0 3\n3 0 2 1\n3 0 1 3\n3 0 3 2\n3 1 2 3\n"
COLOURED = "COFF\n3 1 0\n0 0 0 255 0 0 255\n1 0 0 255 0 0 255\n0 1 0 255 0 0 255\n3 0 1 2\n"


@pytest.fixture(autouse=True)
def cache_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def mesh(tmp_path: Path) -> Path:
    path = tmp_path / "data" / "a.off"
    path.parent.mkdir()
    path.write_text(TETRAHEDRON)
    return path


def random(seed: int = 3) -> np.random.Generator:
    return np.random.default_rng(seed)


def assert_unit(points: np.ndarray) -> None:
    # The mean of float32 coordinates up to 1.
    np.testing.assert_allclose(points.astype(np.float64).mean(axis=0), 0, rtol=0, atol=1e-6)
    assert np.abs(points).max() == 1


def test_defaults_are_the_papers() -> None:
    modality = PointsModality()
    config = modality.input_config()
    assert (config.num_points, config.channels, config.num_bands, config.max_frequency) == (2048, 3, 64, 1120.0)
    assert config.input_channels == 387
    assert modality.scaling == (0.99, 1.01)
    assert (modality.rotation, modality.stretch, modality.jitter) == ("none", 1.0, 0.0)
    assert modality.describe() == "2048 points x 3"
    assert isinstance(modality, Modality)
    assert modality.sizes_differ
    assert pickle.loads(pickle.dumps(modality)) == modality  # noqa: S301 - bytes made here


def test_views_of_a_mesh(mesh: Path) -> None:
    modality = PointsModality(num_points=101)
    content = modality.open(mesh, LIMITS)
    assert isinstance(content, Content)
    assert content.seconds is None
    plain, again = content.view(0.0, None), content.view(0.0, None)
    np.testing.assert_array_equal(plain, again)
    first, same, other = content.view(0.0, random()), content.view(0.0, random()), content.view(0.0, random(4))
    np.testing.assert_array_equal(first, same)
    assert (first != other).any()
    for view in (plain, first, other):
        assert view.shape == (101, 3)
        assert view.dtype == np.float32
        assert_unit(view)
        view[0] = 7  # each view is the caller's own
    np.testing.assert_array_equal(content.view(0.0, None), again)
    content.close()
    assert pickle.loads(pickle.dumps(content)).pool.shape == (404, 3)  # noqa: S301 - bytes made here


def test_the_evaluation_view_lies_on_the_surface(mesh: Path) -> None:
    """The points, which are only shifted and scaled, still lie in four planes that form a tetrahedron."""
    modality = PointsModality(num_points=503, normals=True)
    view = modality.open(mesh, LIMITS).view(0.0, None).astype(np.float64)
    heights = np.einsum("nc,nc->n", view[:, :3], view[:, 3:])
    normals = np.unique(np.round(view[:, 3:], 5), axis=0)
    slanted = np.array([6, 3, 2]) / 7
    np.testing.assert_allclose(normals, [[-1, 0, 0], [0, -1, 0], [0, 0, -1], slanted], rtol=0, atol=1e-5)
    for normal in normals:
        own = np.abs(view[:, 3:] - normal).max(axis=1) < 1e-4
        assert np.ptp(heights[own]) < 1e-5


def test_a_cloud_keeps_its_size_and_a_large_one_is_thinned_without_order() -> None:
    ramp = np.stack([np.arange(1009.0), np.zeros(1009), np.zeros(1009)], axis=1)
    modality = PointsModality(num_points=97, pool=4)
    plain = modality.open(ramp, LIMITS).view(0.0, None)
    assert plain.shape == (97, 3)
    # The whole ramp is there, not its first tenth, whose points would stand at equal distances.
    for length in (1009, 200):
        places = np.sort(modality.open(ramp[:length], LIMITS).view(0.0, None)[:, 0])
        assert np.ptp(np.diff(places)) > 0.01
        counts, _ = np.histogram(places, bins=4, range=(places[0], places[-1]))
        assert counts.min() > 10
    small = random().normal(size=(13, 3))
    content = modality.open(small, LIMITS)
    np.testing.assert_allclose(content.view(0.0, None), normalise_cloud(small), rtol=0, atol=1e-6)
    assert content.view(0.0, random()).shape == (13, 3)


def test_training_scales_points_and_draws_from_the_pool() -> None:
    cloud = normalise_cloud(random().normal(size=(53, 3)))
    modality = PointsModality(num_points=53, scaling=(0.5, 2.0))
    view = modality.open(cloud, LIMITS).view(0.0, random())
    factors = random().uniform(0.5, 2.0, size=(53, 1))
    np.testing.assert_allclose(view, normalise_cloud(cloud * factors), rtol=0, atol=1e-6)
    content = PointsModality(num_points=7, pool=5, scaling=(1, 1)).open(cloud, LIMITS)
    assert content.pool.shape == (35, 3)
    assert len({tuple(content.view(0.0, random(seed))[0]) for seed in range(20)}) > 10


def test_rotation_turns_normals_too(mesh: Path) -> None:
    view = PointsModality(num_points=211, normals=True, rotation="any", scaling=(1, 1)).open(mesh, LIMITS)
    turned = view.view(0.0, random()).astype(np.float64)
    heights = np.einsum("nc,nc->n", turned[:, :3], turned[:, 3:])
    groups = {tuple(normal) for normal in np.round(turned[:, 3:], 4)}
    assert len(groups) == 4
    assert (-1.0, 0.0, 0.0) not in groups
    for normal in groups:
        assert np.ptp(heights[np.abs(turned[:, 3:] - normal).max(axis=1) < 1e-3]) < 1e-5


def test_colours_are_channels_from_minus_one_to_one(tmp_path: Path, mesh: Path) -> None:
    path = tmp_path / "c.off"
    path.write_text(COLOURED)
    modality = PointsModality(num_points=11, normals=True, colours=True)
    assert modality.input_config().channels == 9
    for generator in (None, random()):
        view = modality.open(path, LIMITS).view(0.0, generator)
        assert view.shape == (11, 9)
        np.testing.assert_allclose(view[:, 3:], np.tile([0, 0, 1, 1, -1, -1], (11, 1)), rtol=0, atol=1e-6)
    assert modality.probe(path, LIMITS) == {"num_vertices": 3, "num_faces": 1, "has_normals": 1, "has_colours": 1}
    message = "has no colours; set colours to false, or give every file colours"
    with pytest.raises(FileError) as caught:
        modality.open(mesh, LIMITS)
    assert str(caught.value) == message
    with pytest.raises(FileError) as caught:
        modality.admit(modality.probe(mesh, LIMITS))
    assert str(caught.value) == message
    message = "has neither faces nor normals; set normals to false, or give every point its normal"
    with pytest.raises(FileError) as caught:
        PointsModality(normals=True).open(random().normal(size=(5, 3)), LIMITS)
    assert str(caught.value) == message


def test_the_cache_saves_reading_and_changes_nothing(
    mesh: Path, cache_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modality = PointsModality(num_points=31)
    first = modality.open(mesh, LIMITS).view(0.0, random())
    assert [path.suffix for path in (cache_home / "perceptio" / "clouds").iterdir()] == [".npy"]
    uncached = PointsModality(num_points=31, cache=False).open(mesh, LIMITS).view(0.0, random())
    np.testing.assert_array_equal(first, uncached)
    other_seed = PointsModality(num_points=31, sampling_seed=1).open(mesh, LIMITS).view(0.0, random())
    assert (first != other_seed).any()

    def unread(*_: object) -> None:
        raise AssertionError("the mesh was read")

    monkeypatch.setattr(points_module, "read_mesh", unread)
    np.testing.assert_array_equal(modality.open(mesh, LIMITS).view(0.0, random()), first)
    for changed in (PointsModality(num_points=37), PointsModality(num_points=31, normals=True)):
        with pytest.raises(AssertionError, match="the mesh was read"):
            changed.open(mesh, LIMITS)
    mesh.write_text(TETRAHEDRON + "\n")
    with pytest.raises(AssertionError, match="the mesh was read"):
        modality.open(mesh, LIMITS)
    mesh.unlink()
    with pytest.raises(FileError, match=r"^no such file$"):
        modality.open(mesh, LIMITS)


def test_a_cloud_far_from_its_origin_keeps_its_shape() -> None:
    cloud = random().normal(size=(41, 3))
    view = PointsModality(num_points=41).open(cloud + np.array([5e6, -3e6, 1e6]), LIMITS).view(0.0, None)
    np.testing.assert_allclose(view, normalise_cloud(cloud), rtol=0, atol=1e-6)


def test_probe_and_check(mesh: Path, tmp_path: Path) -> None:
    modality = PointsModality()
    assert modality.probe(mesh, LIMITS) == {"num_vertices": 4, "num_faces": 4}
    modality.check(mesh, LIMITS)
    broken = tmp_path / "b.off"
    broken.write_text(TETRAHEDRON[:-12])
    with pytest.raises(FileError, match=r"^truncated OFF file: it declares 4 faces and has 3$"):
        modality.check(broken, LIMITS)


def test_prepare_is_the_identity_in_float32() -> None:
    values = torch.linspace(-1, 1, 2 * 5 * 3, dtype=torch.float64).reshape(2, 5, 3)
    prepared = PointsModality().prepare(values)
    assert prepared.dtype == torch.float32
    assert torch.equal(prepared, values.float())


def test_the_picture_shows_front_side_and_top() -> None:
    """One point off centre lands where its coordinates say in each view; the rest is background."""
    point = np.array([[0.5, -0.25, 0.75]], dtype=np.float32)
    modality = PointsModality()
    picture = modality.picture(point)
    assert picture.shape == (160, 480, 3)
    assert picture.dtype == np.uint8
    painted = (picture != 247).any(axis=2)
    for number, (right, up) in enumerate(((0.5, 0.75), (-0.25, 0.75), (0.5, -0.25))):
        rows, columns = np.nonzero(painted[:, 160 * number : 160 * (number + 1)])
        assert abs(columns.mean() - (79.5 + 73.6 * right)) <= 0.5
        assert abs(rows.mean() - (79.5 - 73.6 * up)) <= 0.5


def test_the_nearest_point_is_seen_and_spread_says_whose_pixel_it_is() -> None:
    values = np.array([[0, -1, 0], [0, 1, 0], [0.8, 0, 0.8]], dtype=np.float32)
    modality = PointsModality()
    scores = np.array([2.0, 3.0, 5.0])
    spread = modality.spread(values, scores)
    assert spread.shape == (160, 480)
    assert (np.isnan(spread) == (modality.picture(values) == 247).all(axis=2)).all()
    front, side, top = (spread[:, 160 * number : 160 * (number + 1)] for number in range(3))
    assert set(front[~np.isnan(front)]) == {2.0, 5.0}  # the first point hides the second
    assert set(side[~np.isnan(side)]) == {2.0, 3.0, 5.0}
    assert set(top[~np.isnan(top)]) == {2.0, 3.0, 5.0}
    assert set(modality.spread(values[[1, 0, 2]], scores)[:, :160][~np.isnan(front)]) == {3.0, 5.0}


def test_colours_and_a_single_place_can_be_drawn() -> None:
    values = np.zeros((3, 6), dtype=np.float32)
    values[:, 3:] = [1, -1, -1]
    picture = PointsModality(colours=True).picture(values)
    seen = picture[(picture != 247).any(axis=2)].astype(int)
    assert (seen[:, 0] > 80).all()
    assert (seen[:, 1:] == 0).all()
    many = random().uniform(-1, 1, size=(2048, 3)).astype(np.float32)
    assert PointsModality().picture(many).shape == (160, 480, 3)


def test_candidates_go_up_to_what_the_clouds_have() -> None:
    def sizes(facts: list[dict[str, float]]) -> list[int]:
        return [candidate.modality.num_points for candidate in PointsModality.candidates(facts)]

    mesh_facts = {"num_vertices": 8, "num_faces": 12}
    assert sizes([mesh_facts]) == sizes([]) == [256, 512, 1024, 2048]
    clouds = [{"num_vertices": size, "num_faces": 0} for size in (700, 1100, 90_000)]
    assert sizes(clouds) == [256, 512, 1024]
    assert sizes([*clouds, mesh_facts, mesh_facts]) == [256, 512, 1024]
    assert sizes([{"num_vertices": 101, "num_faces": 0}]) == [101]
    assert PointsModality.candidates(clouds)[0].why == "256 points: the clouds have 1,100 (median)"
    assert PointsModality.candidates([mesh_facts])[3].why == "2,048 points drawn from surfaces"


def test_surfaces_and_clouds_are_summed_up_apart() -> None:
    surfaces = [{"num_vertices": size, "num_faces": 4} for size in (5, 6, 8)]
    clouds = [{"num_vertices": size, "num_faces": 0} for size in (700, 1651, 1652, 90_000)]
    summary = PointsModality().summary
    assert summary([*surfaces, *clouds]) == "surfaces of 6 vertices and clouds of 1,651 points (median)"
    assert summary(surfaces) == "surfaces of 6 vertices (median)"
    assert summary(clouds) == "clouds of 1,651 points (median)"
    assert PointsModality.candidates(clouds)[0].why.endswith("points: the clouds have 1,651 (median)")
    assert summary([]) == ""


def test_the_shrunk_modality_is_tiny_and_otherwise_the_same() -> None:
    shrunk = PointsModality(normals=True, rotation="z").shrunk()
    assert (shrunk.num_points, shrunk.num_bands, shrunk.normals, shrunk.rotation) == (32, 4, True, "z")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_points": 0}, "num_points must be at least 1: got 0"),
        ({"pool": 0}, "pool must be at least 1: got 0"),
        ({"num_bands": 0}, "num_bands must be at least 1: got 0"),
        ({"max_frequency": 0.0}, "max_frequency must be above 0: got 0.0. The paper takes 1120"),
        ({"num_points": 10**7},
         "num_points times pool must be at most 20,000,000: got 10,000,000 times 4. Use fewer points"),
        ({"scaling": (2.0, 1.0)}, "scaling must be two factors above 0, the lower one first: got 2.0 and 1.0"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_meant(settings: dict, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        PointsModality(**settings)
    assert str(caught.value) == message
