"""Reads OFF files, the format of ModelNet: four times as fast as trimesh, and without it."""

import re

import numpy as np

from perceptio.data.limits import Limits
from perceptio.data.mesh import Mesh, check_counts, checked_mesh, fan_triangles, parse_numbers
from perceptio.data.names import printable
from perceptio.errors import FileError

# The counts may follow the keyword without a space ("OFF490 518 0"), as in some files of ModelNet; the number of
# edges may be missing.
_HEADER = re.compile(
    r"\s*(?P<texture>ST)?(?P<colour>C)?(?P<normal>N)?(?P<other>4?n?)OFF\s*(?P<binary>BINARY)?\s*"
    r"(?P<vertices>\d{1,18})[ \t]+(?P<faces>\d{1,18})(?:[ \t]+-?\d+)?[ \t]*(?=[\r\n]|$)"
)
_COMMENT = re.compile(r"#[^\r\n]*")
_KEYWORD = re.compile(r"\s*(?:ST)?C?N?4?n?OFF")


def read_off_header(text: str) -> tuple[int, int]:
    """Returns the declared numbers of vertices and of faces from a file's beginning.

    Raises:
        FileError: no OFF file, or one of a kind that is not read.
    """
    header = _header(_COMMENT.sub("", text))
    return int(header["vertices"]), int(header["faces"])


def read_off(text: str, limits: Limits) -> Mesh:
    """Reads OFF, COFF (colours), NOFF (normals) and STOFF as text. Colours of faces are left out.

    Raises:
        FileError: another kind of file, or a damaged one.
    """
    text = _COMMENT.sub("", text) if "#" in text else text
    header = _header(text)
    num_vertices, num_faces = int(header["vertices"]), int(header["faces"])
    check_counts(num_vertices, num_faces, limits)
    body = text[header.end() :].lstrip()
    width = len(body.partition("\n")[0].split())
    numbers = parse_numbers(body)
    end = num_vertices * width
    if num_vertices and (width < 3 or len(numbers) < end):
        raise FileError(f"truncated OFF file: it declares {num_vertices:,} vertices and ends before")
    rows = numbers[:end].reshape(num_vertices, width)
    rest = numbers[end:]
    if len(rest) == 4 * num_faces and (rest[::4] == 3).all():
        faces = rest.reshape(num_faces, 4)[:, 1:]
    else:
        faces = _polygons(body, num_vertices, num_faces, limits)
    if (faces != np.trunc(faces)).any():
        raise FileError("has a face that names a vertex by a broken number")
    after = 6 if header["normal"] else 3
    colours = rows[:, after : after + 3] if header["colour"] and width >= after + 3 else None
    return checked_mesh(
        rows[:, :3],
        faces,
        normals=rows[:, 3:6] if header["normal"] and width >= 6 else None,
        colours=None if colours is None else colours / (255.0 if colours.max(initial=0.0) > 1 else 1.0),
    )


def _header(text: str) -> re.Match[str]:
    header = _HEADER.match(text)
    if header is None or header["binary"] or header["other"]:
        keyword = _KEYWORD.match(text)
        if keyword is None:
            raise FileError(f"no OFF file: it begins with {printable(text[:16])!r}")
        if header is None and "BINARY" not in text[:40]:
            raise FileError("damaged OFF file: the numbers of vertices and faces are missing")
        kind = "binary" if "BINARY" in text[:40] else "four- or more-dimensional"
        raise FileError(f"a {kind} OFF file, which is not read; write it as OFF text of three dimensions")
    return header


def _polygons(body: str, num_vertices: int, num_faces: int, limits: Limits) -> np.ndarray:
    """Reads faces of any number of corners, each on a line, with or without a colour behind."""
    lines = [line for line in body.splitlines() if line and not line.isspace()]
    lines = lines[num_vertices : num_vertices + num_faces]
    if len(lines) < num_faces:
        raise FileError(f"truncated OFF file: it declares {num_faces:,} faces and has {len(lines):,}")
    corners: list[int] = []
    try:
        for line in lines:
            words = line.split()
            size = int(words[0])
            if not 0 <= size < len(words):
                raise FileError(f"damaged OFF file: a face of {size} corners has {len(words) - 1}")
            polygon = [int(word) for word in words[1 : size + 1]]
            if size and min(polygon) < 0:
                raise FileError(f"has a face that names vertex {min(polygon)} of {num_vertices:,}")
            corners += polygon
            corners.append(-1)
    except ValueError as error:
        raise FileError("damaged OFF file: a face is no list of whole numbers") from error
    return fan_triangles(np.array(corners, dtype=np.int64), limits)
