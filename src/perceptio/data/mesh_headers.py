"""Counts the vertices and faces of a mesh file without reading it whole, and checks what trimesh would trust.

trimesh allocates what the header of a glTF file declares and shows a mesh as often as nodes name it, so those are read
here first.
"""

import re
import struct
from collections.abc import Mapping
from typing import Any, TypeAlias

from perceptio.data.limits import Limits
from perceptio.data.mesh import check_counts
from perceptio.data.names import printable
from perceptio.errors import FileError
from perceptio.json_values import parse_json

Counts: TypeAlias = tuple[int, int]
"""Vertices and faces."""

_OBJ_VERTEX = re.compile(rb"^[ \t]*v[ \t]", re.MULTILINE)
_OBJ_FACE = re.compile(rb"^[ \t]*f[ \t]", re.MULTILINE)
_STL_HEADER_BYTES = 84
_STL_FACE_BYTES = 50
_STL_FACE = re.compile(rb"\bendfacet\b", re.IGNORECASE)
_GLB_MAGIC = b"glTF"
_GLB_JSON = 0x4E4F534A
_TRIANGLES = 4
# Extensions that hide the geometry itself. All others change looks alone.
_PACKED = ("KHR_draco_mesh_compression", "EXT_meshopt_compression", "KHR_meshopt_compression")


def stl_counts(content: bytes, limits: Limits) -> Counts:
    """Returns the faces of an STL file, binary or text, each with three vertices of its own.

    Raises:
        FileError: no STL file, or more than the limits allow.
    """
    num_faces = 0
    if len(content) >= _STL_HEADER_BYTES:
        num_faces = int.from_bytes(content[80:84], "little")
    if len(content) != _STL_HEADER_BYTES + num_faces * _STL_FACE_BYTES or num_faces == 0:
        head = content.lstrip()[:16]
        if head[:5].lower() != b"solid":
            is_binary = len(content) >= _STL_HEADER_BYTES and any(byte > 126 for byte in content[:4096])
            if is_binary or len(content) == _STL_HEADER_BYTES:
                raise FileError(f"truncated or no STL file: it declares {num_faces:,} faces in {len(content):,} bytes")
            raise FileError(f"no STL file: it begins with {printable(head.decode('latin-1'))!r}")
        num_faces = sum(1 for _ in _STL_FACE.finditer(content))
    check_counts(3 * num_faces, num_faces, limits)
    return 3 * num_faces, num_faces


def obj_counts(content: bytes, limits: Limits) -> Counts:
    """Returns the numbers of vertex and of face lines of an OBJ file.

    Raises:
        FileError: there are none, or more than the limits allow.
    """
    num_vertices, num_faces = (sum(1 for _ in line.finditer(content)) for line in (_OBJ_VERTEX, _OBJ_FACE))
    if num_vertices == 0:
        raise FileError("no OBJ file, or one without vertices")
    check_counts(num_vertices, num_faces, limits)
    return num_vertices, num_faces


def gltf_counts(content: bytes, limits: Limits) -> Counts:
    """Returns the vertices and faces of a glTF file (.gltf, .glb), those of a mesh as often as a node shows it.

    Raises:
        FileError: no glTF file, a damaged one, one whose geometry is packed or lies in other files, or more than the
            limits allow.
    """
    header = _gltf_header(content)
    try:
        _check_self_contained(header)
        nodes = header.get("nodes", [])
        if len(nodes) > limits.max_scene_nodes:
            raise FileError(
                f"has {len(nodes):,} nodes; the limit is {limits.max_scene_nodes:,} (--source.limits.max-scene-nodes)"
            )
        sizes = [_mesh_counts(mesh, header["accessors"]) for mesh in header.get("meshes", [])]
        # trimesh reads every mesh and every accessor, shown or not.
        check_counts(sum(size[0] for size in sizes), sum(size[1] for size in sizes), limits)
        if sum(accessor["count"] for accessor in header.get("accessors", [])) > 8 * limits.max_vertices:
            raise FileError(f"declares more than {8 * limits.max_vertices:,} values (8 x --source.limits.max-vertices)")
        shown = [sizes[node["mesh"]] for node in nodes if "mesh" in node] or sizes
        counts = sum(size[0] for size in shown), sum(size[1] for size in shown)
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        raise FileError("damaged glTF file: its parts do not fit together") from error
    check_counts(*counts, limits)
    return counts


def _gltf_header(content: bytes) -> Mapping[str, Any]:
    text = content
    if content.startswith(_GLB_MAGIC):
        if len(content) < 20:
            raise FileError(f"truncated glTF file: it ends after {len(content)} bytes")
        _, version, _, length, kind = struct.unpack("<4s4I", content[:20])
        if version != 2:
            raise FileError(f"a glTF file of version {version}, which is not read; export it as glTF 2.0")
        if kind != _GLB_JSON:
            raise FileError("damaged glTF file: it does not begin with its description")
        text = content[20 : 20 + length]
    try:
        # A glTF file may hold all of its geometry in its JSON, as base64.
        header = parse_json(text, max_bytes=max(len(text), 1))
    except ValueError as error:
        raise FileError("damaged or no glTF file: its description is no JSON") from error
    if not isinstance(header, dict):
        raise FileError("no glTF file: its description is no JSON object")
    return header


def _check_self_contained(header: Mapping[str, Any]) -> None:
    for buffer in header.get("buffers", []):
        if not str(buffer.get("uri", "data:")).startswith("data:"):
            raise FileError("keeps its geometry in another file, which is not opened; export it as one .glb file")
    for name in _PACKED:
        if name in header.get("extensionsRequired", ()):
            raise FileError(f"its geometry is packed ({name}), which is not read; export it without compression")
    for accessor in header.get("accessors", []):
        if "sparse" in accessor:
            raise FileError("has sparse accessors, which are not read; export it without them")
        if not isinstance(accessor["count"], int) or accessor["count"] < 0:
            raise ValueError(accessor["count"])


def _mesh_counts(mesh: Mapping[str, Any], accessors: Any) -> Counts:
    num_vertices = num_faces = 0
    for primitive in mesh["primitives"]:
        size = accessors[primitive["attributes"]["POSITION"]]["count"]
        num_corners = accessors[primitive["indices"]]["count"] if "indices" in primitive else size
        num_vertices += size
        mode = primitive.get("mode", _TRIANGLES)
        if mode >= _TRIANGLES:
            num_faces += num_corners // 3 if mode == _TRIANGLES else max(num_corners - 2, 0)
    return num_vertices, num_faces
