"""A triangle mesh or a point cloud as a value, and the rules that any file's content must keep to become one."""

import re
from dataclasses import dataclass

import numpy as np

from perceptio.data.limits import Limits
from perceptio.data.names import printable
from perceptio.errors import FileError

# Far beyond this, the square of a triangle's area leaves the range of float64.
_MAX_COORDINATE = 1e60
# Colours are shares of 1, which may overshoot a little, or else of 255.
_MOST_SHARE = 2.0
_BLOCK_CHARACTERS = 2**20
_SPACE = re.compile(r"\s")


@dataclass(frozen=True, eq=False, kw_only=True)
class Mesh:
    """What a file says about the surface of a thing. Without triangles it is a point cloud."""

    vertices: np.ndarray
    """float64 (n, 3), in the unit and the axes of the file."""
    faces: np.ndarray | None
    """int64 (m, 3), places in `vertices`; None: a point cloud."""
    normals: np.ndarray | None = None
    """float64 (n, 3), of length 1: a point cloud's, where its file gives them. A mesh has those of its faces."""
    colours: np.ndarray | None = None
    """float64 (n, 3): red, green, blue of each vertex, 0 to 1."""


def check_counts(num_vertices: int, num_faces: int, limits: Limits) -> None:
    """Raises FileError for more vertices or faces than memory is given for; call it before they are allocated."""
    for number, limit, what, name in (
        (num_vertices, limits.max_vertices, "vertices", "max-vertices"),
        (num_faces, limits.max_faces, "faces", "max-faces"),
    ):
        if number > limit:
            raise FileError(f"has {number:,} {what}; the limit is {limit:,} (--source.limits.{name})")


def checked_mesh(
    vertices: np.ndarray,
    faces: np.ndarray | None,
    *,
    normals: np.ndarray | None = None,
    colours: np.ndarray | None = None,
) -> Mesh:
    """Returns a mesh that is known to be sound.

    Faces without area stay: they do no harm. Faces that name vertices which are not there do, and are refused.

    Args:
        faces: (m, 3), or any empty array or None for a point cloud.
        normals: of any length, a zero vector where there is none.

    Raises:
        FileError: no vertex, a coordinate that is no finite number, a face that names no vertex, or no face with area.
    """
    vertices = np.ascontiguousarray(vertices, dtype=np.float64)
    if len(vertices) == 0:
        raise FileError("holds no vertices")
    if not np.isfinite(vertices).all():
        row = int(np.argmin(np.isfinite(vertices).all(axis=1)))
        raise FileError(f"has coordinates that are no finite numbers, first at vertex {row:,}")
    if np.abs(vertices).max() > _MAX_COORDINATE:
        raise FileError(f"has coordinates beyond {_MAX_COORDINATE:g}")
    if faces is not None and len(faces) == 0:
        faces = None
    if faces is not None:
        faces = np.ascontiguousarray(faces, dtype=np.int64)
        low, high = int(faces.min()), int(faces.max())
        if low < 0 or high >= len(vertices):
            raise FileError(f"has a face that names vertex {low if low < 0 else high:,} of {len(vertices):,}")
        if not face_vectors(vertices, faces).any():
            raise FileError("all its faces are without area")
        normals = None
    return Mesh(vertices=vertices, faces=faces, normals=_units(normals), colours=_shares(colours))


def face_vectors(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Returns a vector (m, 3) along the normal of each face, as long as twice the area.

    The vertices stand anticlockwise when seen from where the normal points to.
    """
    corners = vertices[faces]
    return np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])


def fan_triangles(corners: np.ndarray, limits: Limits) -> np.ndarray:
    """Cuts polygons into triangles that share the polygon's first corner; right for convex ones.

    Args:
        corners: int (k,), the vertices of one polygon after the other, each ended by a negative number.

    Returns:
        int (m, 3). Polygons of less than three corners give none.

    Raises:
        FileError: more triangles than the limits allow.
    """
    kept = corners >= 0
    polygon = np.cumsum(~kept)[kept]
    corners = corners[kept]
    starts = np.flatnonzero(np.diff(polygon, prepend=-1))
    first = np.repeat(starts, np.diff(starts, append=len(corners)))
    third = np.flatnonzero(np.arange(len(corners)) - first >= 2)
    check_counts(0, len(third), limits)
    return np.stack([corners[first[third]], corners[third - 1], corners[third]], axis=1)


def parse_numbers(text: str) -> np.ndarray:
    """Returns the numbers of a text as float64 (n,); white space stands between them.

    Works through the text in blocks: the words of a whole file would take thirty times its size.

    Raises:
        FileError: a word is no number.
    """
    blocks = []
    start = 0
    try:
        while start < len(text):
            space = _SPACE.search(text, start + _BLOCK_CHARACTERS)
            end = space.start() if space else len(text)
            blocks.append(np.fromiter(map(float, text[start:end].split()), np.float64))
            start = end
    except ValueError as error:
        word = str(error).partition(": ")[2]
        raise FileError(f"holds {printable(word[:40])} where a number belongs") from error
    if len(blocks) == 1:
        return blocks[0]
    return np.concatenate(blocks) if blocks else np.zeros(0)


def _units(normals: np.ndarray | None) -> np.ndarray | None:
    if normals is None:
        return None
    normals = np.nan_to_num(np.asarray(normals, dtype=np.float64), posinf=0.0, neginf=0.0)
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    units: np.ndarray = np.divide(normals, lengths, out=np.zeros_like(normals), where=lengths > 0)
    return units


def _shares(colours: np.ndarray | None) -> np.ndarray | None:
    if colours is None:
        return None
    values = np.nan_to_num(np.asarray(colours, dtype=np.float64))
    if values.max(initial=0.0) > _MOST_SHARE:
        values = values / 255.0
    shares: np.ndarray = np.clip(values, 0.0, 1.0)
    return shares
