"""Puts the shapes of a VRML file together: coordinates and faces as text in, one mesh out."""

from collections.abc import Mapping

import numpy as np

from perceptio.data.limits import Limits
from perceptio.data.mesh import Mesh, check_counts, checked_mesh, fan_triangles, parse_numbers
from perceptio.errors import FileError

_DEFAULT_COLOUR = (0.8, 0.8, 0.8)
_END = np.array([-1.0])


class Shapes:
    """Collects shapes. Numbers become arrays at once, everything else waits for `mesh`."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._points: list[np.ndarray] = []
        self._corners: list[np.ndarray] = []
        self._sizes: list[tuple[int, int]] = []
        self._colours: list[np.ndarray | None] = []
        self._num_points = 0
        self._num_corners = 0
        self._materials: dict[str | None, np.ndarray | None] = {}

    def add(self, points: str, corners: str | None, matrix: np.ndarray | None, material: str | None) -> None:
        """Adds faces, or points, of one colour.

        Args:
            points: the coordinates.
            corners: the vertices of each face, ended by -1; None: points.
            matrix: (4, 4), from the shape to the file's root.
            material: the diffuse colour; None: there is no material.

        Raises:
            FileError: damaged lists, or more points than the limit.
        """
        if material not in self._materials:
            self._materials[material] = _first_colour(material)
        self._append(_placed(points, matrix), parse_numbers(corners or ""), self._materials[material])

    def add_coloured(
        self, points: str, corners: str | None, matrix: np.ndarray | None, colours: str, fields: Mapping[str, str]
    ) -> None:
        """Adds faces, or points, with a colour for each vertex, face or corner; raises as `add`.

        Args:
            colours: the list of colours.
            fields: `colorPerVertex` and `colorIndex` of the face set.
        """
        placed = _placed(points, matrix)
        listed = _triples(colours, "colours")
        if corners is None:
            self._append(placed, parse_numbers(""), listed if len(listed) == len(placed) else None)
            return
        vertex = parse_numbers(corners)
        is_corner = vertex >= 0
        named = parse_numbers(fields.get("colorIndex", ""))
        if "FALSE" in fields.get("colorPerVertex", ""):
            face: np.ndarray = np.cumsum(~is_corner) - ~is_corner
            colour = face if len(named) == 0 else _taken(named, face, "colours")
        else:
            colour = vertex if len(named) == 0 else named
            if len(colour) != len(vertex):
                raise FileError(f"damaged VRML file: {len(colour):,} colours for {len(vertex):,} corners")
        # Each corner gets a vertex of its own: the same place may have several colours.
        ends = np.where(is_corner, np.cumsum(is_corner) - 1, -1)
        self._append(_taken(placed, vertex[is_corner], "vertices"), ends, _taken(listed, colour[is_corner], "colours"))

    def mesh(self) -> Mesh:
        """Returns all shapes as one mesh, and as a point cloud if there are no faces.

        Raises:
            FileError: there are no shapes, or they are damaged.
        """
        if not self._points:
            raise FileError("holds no shape made of faces or points")
        sizes = np.array(self._sizes)
        corners = np.concatenate(self._corners)
        ends = corners < 0
        num_own = np.repeat(sizes[:, 0], sizes[:, 1])
        wrong = (corners >= num_own) | (corners != np.trunc(corners))
        if wrong.any():
            place = int(np.argmax(wrong))
            raise FileError(f"has a face that names vertex {corners[place]:g} of {num_own[place]:,}")
        starts = np.cumsum(sizes[:, 0]) - sizes[:, 0]
        corners = np.where(ends, -1, corners + np.repeat(starts, sizes[:, 1])).astype(np.int64)
        return checked_mesh(
            np.concatenate(self._points), fan_triangles(corners, self._limits), colours=self._vertex_colours()
        )

    def _append(self, points: np.ndarray, corners: np.ndarray, colours: np.ndarray | None) -> None:
        self._num_points += len(points)
        self._num_corners += len(corners)
        # A triangle takes four: three corners, and the mark of its end. What polygons are cut into is counted later.
        check_counts(self._num_points, self._num_corners // 4, self._limits)
        self._points.append(points)
        self._corners += (corners, _END)
        self._sizes.append((len(points), len(corners) + 1))
        self._colours.append(colours)

    def _vertex_colours(self) -> np.ndarray | None:
        if all(colours is None for colours in self._colours):
            return None
        return np.concatenate(
            [
                np.broadcast_to(_DEFAULT_COLOUR if colours is None else colours, (size, 3))
                for colours, (size, _) in zip(self._colours, self._sizes, strict=True)
            ]
        )


def matrix_of(kind: str, fields: Mapping[str, str]) -> np.ndarray:
    """Returns the (4, 4) matrix of a node that places others; columns are points.

    Raises:
        FileError: a field of the wrong length.
    """
    if kind == "MatrixTransform":
        # VRML multiplies rows by matrices.
        return _numbers(fields, "matrix", tuple(np.eye(4).ravel())).reshape(4, 4).T
    centre = _shift(_numbers(fields, "center", (0, 0, 0)))
    turn = _turn(_numbers(fields, "rotation", (0, 0, 1, 0)))
    oriented = _turn(_numbers(fields, "scaleOrientation", (0, 0, 1, 0)))
    scale = np.diag([*_numbers(fields, "scaleFactor" if "scaleFactor" in fields else "scale", (1, 1, 1)), 1.0])
    shift = _shift(_numbers(fields, "translation", (0, 0, 0)))
    matrix: np.ndarray = shift @ centre @ turn @ oriented @ scale @ oriented.T @ np.linalg.inv(centre)
    return matrix


def _numbers(fields: Mapping[str, str], name: str, default: tuple[float, ...]) -> np.ndarray:
    if name not in fields:
        return np.array(default, dtype=np.float64)
    numbers = parse_numbers(fields[name])
    if len(numbers) != len(default) or not np.isfinite(numbers).all():
        raise FileError(f"damaged VRML file: {name} must be {len(default)} numbers")
    return numbers


def _shift(offset: np.ndarray) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, 3] = offset
    return matrix


def _turn(rotation: np.ndarray) -> np.ndarray:
    """Returns the rotation by the fourth number, in radians, about the axis of the first three."""
    length = np.linalg.norm(rotation[:3])
    matrix = np.eye(4)
    if length > 0:
        x, y, z = rotation[:3] / length
        cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
        matrix[:3, :3] += np.sin(rotation[3]) * cross + (1 - np.cos(rotation[3])) * cross @ cross
    return matrix


def _placed(points: str, matrix: np.ndarray | None) -> np.ndarray:
    placed = _triples(points, "coordinates")
    return placed if matrix is None else placed @ matrix[:3, :3].T + matrix[:3, 3]


def _triples(text: str, what: str) -> np.ndarray:
    numbers = parse_numbers(text)
    if len(numbers) % 3:
        raise FileError(f"damaged VRML file: {len(numbers):,} numbers are no list of {what}")
    return numbers.reshape(-1, 3)


def _taken(values: np.ndarray, places: np.ndarray, what: str) -> np.ndarray:
    whole = places.astype(np.int64)
    if len(places) and (whole.min() < 0 or whole.max() >= len(values) or (whole != places).any()):
        raise FileError(f"damaged VRML file: it names {what} that it does not have")
    return values[whole]


def _first_colour(material: str | None) -> np.ndarray | None:
    if material is None:
        return None
    colour = parse_numbers(material)[:3]
    return colour if len(colour) == 3 else np.array(_DEFAULT_COLOUR)
