"""Draws points from the surface of a mesh, and puts clouds into the unit cube (paper section 4.3)."""

from dataclasses import dataclass

import numpy as np

from perceptio.data.mesh import Mesh, face_vectors


@dataclass(frozen=True, eq=False, kw_only=True)
class Samples:
    """Points of a surface."""

    points: np.ndarray
    """float64 (n, 3), in the unit and the axes of the file."""
    normals: np.ndarray | None
    """float64 (n, 3), of length 1; None: a point cloud whose file gives none."""
    colours: np.ndarray | None
    """float64 (n, 3): red, green, blue, 0 to 1; None: the file gives none."""


def sample_surface(mesh: Mesh, num_points: int, random: np.random.Generator) -> Samples:
    """Draws points from a mesh, every part of its surface as likely as any other of the same area.

    The normal of a point is that of its face; its colour lies between those of the face's corners. From a point cloud
    points are drawn without replacement, in random order; one with fewer than `num_points` is kept as it is.
    """
    if mesh.faces is None:
        return _thinned(mesh, num_points, random)
    vectors = face_vectors(mesh.vertices, mesh.faces)
    doubled_areas = np.linalg.norm(vectors, axis=1)
    until = np.cumsum(doubled_areas)
    # "right" passes over faces without area; rounding up at the far end must not lead past the last one with area.
    chosen = np.searchsorted(until, random.random(num_points) * until[-1], side="right")
    chosen = np.minimum(chosen, np.flatnonzero(doubled_areas)[-1])
    # A point of a triangle, uniformly: the first root moves away from corner 0, the second along the opposite side.
    away, along = np.sqrt(random.random(num_points)), random.random(num_points)
    weights = np.stack([1 - away, away * (1 - along), away * along], axis=1)
    corners = mesh.faces[chosen]
    # An extent that is tiny beside the distance to the origin would otherwise lose digits.
    origin = mesh.vertices.min(axis=0)
    return Samples(
        points=_mixed(weights, mesh.vertices[corners] - origin) + origin,
        normals=vectors[chosen] / doubled_areas[chosen, None],
        colours=None if mesh.colours is None else _mixed(weights, mesh.colours[corners]),
    )


def normalise_cloud(points: np.ndarray) -> np.ndarray:
    """Returns the points (n, 3) with a mean of zero and within the unit cube: the largest coordinate is 1 or -1.

    All axes are scaled alike, so that shapes stay as they are. Points that all lie in one place become zeros.
    """
    centred = points - points.mean(axis=0)
    largest = np.abs(centred).max()
    # What is left of equal points after subtracting their mean is rounding, not shape.
    if largest <= 1e-14 * np.abs(points).max():
        return np.zeros_like(centred)
    scaled: np.ndarray = centred / largest
    return scaled


def _thinned(mesh: Mesh, num_points: int, random: np.random.Generator) -> Samples:
    if len(mesh.vertices) <= num_points:
        return Samples(points=mesh.vertices, normals=mesh.normals, colours=mesh.colours)
    chosen = random.choice(len(mesh.vertices), num_points, replace=False)
    return Samples(
        points=mesh.vertices[chosen],
        normals=None if mesh.normals is None else mesh.normals[chosen],
        colours=None if mesh.colours is None else mesh.colours[chosen],
    )


def _mixed(weights: np.ndarray, corners: np.ndarray) -> np.ndarray:
    mixed: np.ndarray = np.einsum("nk,nkc->nc", weights, corners)
    return mixed
