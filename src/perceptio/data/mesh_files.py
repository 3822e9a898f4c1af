"""Reads meshes and point clouds of every common kind into one value, and refuses all others in one line.

No file but the given one is opened: no textures, no materials, no buffers of glTF that lie elsewhere. Nothing is
unpickled.
"""

import io
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np

from perceptio.data.failures import as_file_error
from perceptio.data.items import File, Item, open_file
from perceptio.data.limits import Limits, check_file
from perceptio.data.mesh import Mesh, check_counts, checked_mesh
from perceptio.data.mesh_headers import Counts, gltf_counts, obj_counts, stl_counts
from perceptio.data.names import printable, suffix_of
from perceptio.data.off_file import read_off, read_off_header
from perceptio.data.ply_file import ply_counts, read_ply
from perceptio.data.point_rows import mesh_of_rows, read_npy, read_npy_header, read_npz, read_text_rows
from perceptio.data.vrml import read_vrml
from perceptio.errors import FileError, MissingExtraError, nearest

_HEADER_BYTES = 2**20
_SHOWN = 120
# One letter more, less or other. Half of so few is the dot and one letter: .mp4 and .ply.
_ALIKE_SUFFIXES = 0.75
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read_mesh(item: Item, limits: Limits) -> Mesh:
    """Reads a file by its suffix, or an array (points, 3 to 9) as `point_rows.mesh_of_rows` does.

    Several shapes in one file become one mesh, each where the file puts it. Polygons are cut into fans of triangles,
    right for convex ones. Faces without area stay: no point is ever drawn from them. If there are faces, vertices that
    belong to none are of no effect.

    Raises:
        FileError: a kind that is not read, a damaged file, or one beyond the limits. One line, without a path.
        MissingExtraError: trimesh is not installed; OFF, PLY, VRML, text and NumPy files do without.
        OSError: the disk or the network failed, which says nothing about the file.
    """
    if isinstance(item, np.ndarray):
        return mesh_of_rows(item, limits)
    read = _READERS[_suffix(item)]
    content = _content(item, limits)
    with np.errstate(all="ignore"):  # what overflows is found by `checked_mesh`
        return read(content, limits)


def probe_mesh(file: File, limits: Limits) -> Counts:
    """Returns the numbers of vertices and faces, for most kinds without reading the file whole.

    Raises:
        FileError, OSError: as `read_mesh`.
    """
    suffix = _suffix(file)
    counts = _COUNTERS.get(suffix)
    if counts is not None:
        found = counts(_content(file, limits, _HEADER_BYTES if suffix in _HEADED else None), limits)
        check_counts(*found, limits)
        return found
    mesh = read_mesh(file, limits)
    return len(mesh.vertices), 0 if mesh.faces is None else len(mesh.faces)


def load_trimesh() -> Any:
    """Returns the module `trimesh`, silent.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import trimesh
    except ImportError as error:
        raise MissingExtraError("reading this kind of mesh", "mesh") from error
    logger = logging.getLogger("trimesh")
    if not logger.handlers:
        # What trimesh has to say about a broken file is said once, by us.
        logger.addHandler(logging.NullHandler())
    return trimesh


def _suffix(file: File) -> str:
    suffix = suffix_of(file.name)
    if suffix not in _READERS:
        others = nearest(suffix, _READERS, alike=_ALIKE_SUFFIXES)
        raise FileError(f"no mesh or point cloud of a known kind: {printable(suffix) or 'no suffix'}.{others}")
    return suffix


def _content(file: File, limits: Limits, num_bytes: int | None = None) -> bytes:
    size = check_file(file, None, limits)
    if size > limits.max_mesh_file_bytes:
        raise FileError(
            f"has {size:,} bytes; the limit of meshes is {limits.max_mesh_file_bytes:,} "
            "(--source.limits.max-mesh-file-bytes)"
        )
    try:
        with open_file(file) as stream:
            content = stream.read(size if num_bytes is None else num_bytes)
    except OSError as error:
        raise as_file_error(error) from error
    return content.removeprefix(_BYTE_ORDER_MARK)


@contextmanager
def _trimesh_errors() -> Iterator[None]:
    """Turns whatever trimesh raises into a `FileError` of one line."""
    try:
        yield
    except FileError:
        raise
    except Exception as error:
        # The content is in memory: nothing here tells about the disk. What trimesh raises depends on the bytes.
        message = printable(" ".join(str(error).split()))[:_SHOWN]
        raise FileError(f"damaged mesh file: {message or type(error).__name__}") from error


def _read_with_trimesh(file_type: str, check: Callable[[bytes, Limits], Counts]) -> "_Reader":
    def read(content: bytes, limits: Limits) -> Mesh:
        check(content, limits)
        load, options = load_trimesh().load_scene, _OPTIONS.get(file_type, {})
        with _trimesh_errors():
            # A stream without a name, and no resolver: trimesh then has no way to open other files.
            scene = load(io.BytesIO(content), file_type=file_type, process=False, skip_materials=True, **options)
            parts = _scene_parts(scene, limits)
        return _joined(parts)

    return read


def _scene_parts(scene: Any, limits: Limits) -> "list[_Part]":
    """Returns the meshes of a scene, each where its nodes place it; if there are none, the point clouds."""
    placed = [scene.graph.get(node) for node in scene.graph.nodes_geometry]
    placed = placed or [(np.eye(4), name) for name in scene.geometry]
    placed = [(matrix, scene.geometry[name]) for matrix, name in placed]
    meshes = [(matrix, shape) for matrix, shape in placed if len(getattr(shape, "faces", ()))]
    clouds = [
        (matrix, shape) for matrix, shape in placed if hasattr(shape, "vertices") and not hasattr(shape, "entities")
    ]
    check_counts(
        sum(len(shape.vertices) for _, shape in meshes or clouds), sum(len(shape.faces) for _, shape in meshes), limits
    )
    return [_part(shape, matrix, limits) for matrix, shape in meshes or clouds]


def _joined(parts: "list[_Part]") -> Mesh:
    if not parts:
        raise FileError("holds no faces and no points")
    starts = np.cumsum([0, *(len(part[0]) for part in parts[:-1])])
    colours = None
    if any(part[2] is not None for part in parts):
        # Where only some of the shapes have colours, the others are white, as glTF says.
        colours = np.concatenate([np.ones_like(part[0]) if part[2] is None else part[2] for part in parts])
    return checked_mesh(
        np.concatenate([part[0] for part in parts]),
        np.concatenate([part[1] + start for part, start in zip(parts, starts, strict=True)]),
        colours=colours,
    )


def _part(shape: Any, matrix: np.ndarray, limits: Limits) -> "_Part":
    """Returns vertices in the scene, faces and vertex colours of one shape."""
    vertices = np.asarray(shape.vertices, dtype=np.float64)
    if vertices.ndim != 2 or vertices.shape[1] != 3:
        raise FileError("holds a shape that does not have three dimensions")
    faces = _triangles(getattr(shape, "faces", None), limits)
    if len(faces) and faces.max() >= len(vertices):
        raise FileError(f"has a face that names vertex {faces.max():,} of {len(vertices):,}")
    kind = getattr(shape.visual, "kind", None)
    colours = None
    if kind == "vertex":
        colours = _colour_shares(shape.visual.vertex_colors)
    vertices = vertices @ matrix[:3, :3].T + matrix[:3, 3]
    if np.linalg.det(matrix[:3, :3]) < 0:
        faces = faces[:, ::-1]  # a mirrored shape; its outside must stay outside
    if kind == "face":
        vertices, faces, colours = _per_corner(
            vertices, faces, np.asarray(shape.visual.face_colors)[:, :3] / 255.0, limits
        )
    return vertices, faces, colours


def _triangles(faces: Any, limits: Limits) -> np.ndarray:
    if faces is None or len(faces) == 0:
        return np.zeros((0, 3), dtype=np.int64)
    # trimesh has made triangles of whatever faces there were.
    corners: np.ndarray = np.asarray(faces, dtype=np.int64)
    if corners.min() < 0:
        raise FileError(f"has a face that names vertex {corners.min()}")
    return corners


def _per_corner(
    vertices: np.ndarray, faces: np.ndarray, face_colours: np.ndarray, limits: Limits
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gives each corner of each face a vertex of its own, with the colour of the face."""
    check_counts(faces.size, len(faces), limits)
    own = np.arange(faces.size, dtype=np.int64).reshape(faces.shape)
    return vertices[faces.ravel()], own, np.repeat(face_colours, 3, axis=0)


def _colour_shares(colours: Any) -> np.ndarray | None:
    # trimesh calls the colours of a cloud that has none a list of vertex colours too, an empty one.
    if colours is None or len(colours) == 0:
        return None
    values = np.asarray(colours)
    full = np.iinfo(values.dtype).max if values.dtype.kind in "iu" else 1
    return values[:, :3].astype(np.float64) / full


def _text(content: bytes) -> str:
    return content.decode("latin-1")


def _read_text_cloud(content: bytes, limits: Limits) -> Mesh:
    return mesh_of_rows(read_text_rows(_text(content), limits), limits)


def _npy_counts(content: bytes, limits: Limits) -> Counts:
    shape, _, _ = read_npy_header(io.BytesIO(content))
    return (shape[0] if shape else 0), 0


_Reader: TypeAlias = Callable[[bytes, Limits], Mesh]
_Part: TypeAlias = tuple[np.ndarray, np.ndarray, np.ndarray | None]
_OPTIONS: Mapping[str, Mapping[str, bool]] = {"obj": {"maintain_order": True}}
_READERS: Mapping[str, _Reader] = {
    ".off": lambda content, limits: read_off(_text(content), limits),
    ".ply": read_ply,
    ".obj": _read_with_trimesh("obj", obj_counts),
    ".stl": _read_with_trimesh("stl", stl_counts),
    ".gltf": _read_with_trimesh("gltf", gltf_counts),
    ".glb": _read_with_trimesh("glb", gltf_counts),
    ".wrl": read_vrml,
    ".xyz": _read_text_cloud,
    ".txt": _read_text_cloud,
    ".npy": lambda content, limits: mesh_of_rows(read_npy(content), limits),
    ".npz": read_npz,
}
_COUNTERS: Mapping[str, Callable[[bytes, Limits], Counts]] = {
    ".off": lambda content, limits: read_off_header(_text(content)),
    ".ply": ply_counts,
    ".obj": obj_counts,
    ".stl": stl_counts,
    ".gltf": gltf_counts,
    ".glb": gltf_counts,
    ".npy": _npy_counts,
}
# Kinds whose first bytes tell. The description of a glTF file may be longer; it is read whole.
_HEADED = frozenset({".off", ".ply", ".npy"})
READABLE = frozenset(_READERS)
"""Suffixes of all kinds that are read."""
