"""Meshes and point clouds of every kind that is read, compared with what was written, and what is refused."""

import base64
import io
import json
import re
import struct
import sys
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
import trimesh

import perceptio.data.mesh as mesh_module
from perceptio.data.limits import Limits
from perceptio.data.mesh import Mesh, fan_triangles, parse_numbers
from perceptio.data.mesh_files import probe_mesh, read_mesh
from perceptio.errors import FileError, MissingExtraError

READERS = ("probe_mesh", "read_mesh")
pytestmark = pytest.mark.usefixtures("either_place")

# Seven vertices, five faces, no symmetry; every number has an exact float32.
VERTICES = np.array(
    [[0, 0, 0], [2, 0, 0.5], [0, 3, 0], [0.25, 0, 5], [7, 1, 1], [-1, -2, 4], [3, -3, 0.125]], dtype=np.float64
)
FACES = np.array([[0, 1, 2], [0, 3, 1], [1, 4, 6], [5, 2, 0], [6, 3, 5]])
PLY_VERTICES = b"ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
PLY_FACE = b"element face 1\nproperty list uchar float vertex_indices\n"
COLOURS = np.array(
    [[0, 255, 51], [17, 34, 85], [255, 0, 0], [1, 2, 3], [5, 7, 11], [13, 17, 19], [23, 29, 31]], np.uint8
)
ALL_KINDS = ("off", "ply", "obj", "stl", "gltf", "glb", "wrl", "xyz", "txt", "npy", "npz")


def triangles(mesh: Mesh) -> np.ndarray:
    """The corners of all faces, in an order that does not depend on how vertices are numbered."""
    assert mesh.faces is not None
    assert mesh.vertices.dtype == np.float64
    assert mesh.faces.dtype == np.int64
    corners = mesh.vertices[mesh.faces].reshape(-1, 9)
    return corners[np.lexsort(corners.T)]


def expected(vertices: np.ndarray = VERTICES, faces: np.ndarray = FACES) -> np.ndarray:
    corners = vertices[faces].reshape(-1, 9)
    return corners[np.lexsort(corners.T)]


def exported(kind: str) -> bytes:
    """The mesh (the vertices alone where a kind has no faces) as trimesh, NumPy or these few lines write it."""
    if kind in ("xyz", "txt"):
        return "\n".join(" ".join(map(str, row)) for row in VERTICES).encode()
    if kind == "npy":
        return npy(VERTICES)
    if kind == "npz":
        return npz(vertices=VERTICES, faces=FACES)
    if kind == "wrl":
        points = ", ".join(" ".join(map(str, row)) for row in VERTICES)
        corners = ", ".join(" ".join(map(str, [*row, -1])) for row in FACES)
        shape = f"IndexedFaceSet {{ coord Coordinate {{ point [ {points} ] }} coordIndex [ {corners} ] }}"
        return f"#VRML V2.0 utf8\nShape {{ geometry {shape} }}\n".encode()
    shape = trimesh.Trimesh(VERTICES, FACES, process=False)
    if kind == "gltf":
        files = trimesh.exchange.gltf.export_gltf(trimesh.Scene(shape), merge_buffers=True)
        tree = json.loads(files.pop("model.gltf"))
        (content,) = files.values()
        tree["buffers"][0]["uri"] = "data:application/octet-stream;base64," + base64.b64encode(content).decode()
        return json.dumps(tree).encode()
    content = shape.export(file_type=kind)
    return content.encode() if isinstance(content, str) else content


def test_a_mirrored_shape_keeps_its_outside_outside(tmp_path: Path) -> None:
    sphere = trimesh.creation.icosphere(subdivisions=1)
    for signs in ((1, 1, 1), (-1, 1, 1), (-1, -1, 1)):
        scene = trimesh.Scene()
        scene.add_geometry(sphere, transform=np.diag([*map(float, signs), 1.0]))
        (tmp_path / "a.glb").write_bytes(scene.export(file_type="glb"))
        mesh = read_mesh(tmp_path / "a.glb", Limits())
        first, second, third = (mesh.vertices[mesh.faces[:, corner]] for corner in range(3))
        outwards = (np.cross(second - first, third - first) * (first + second + third)).sum(axis=1)
        assert (outwards > 0).all(), signs


def npy(array: np.ndarray, **options) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


def npz(**arrays: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def off(header: str, *rows: str) -> bytes:
    return "\n".join([header, *rows]).encode()


def refusal(path: Path, **changed: int) -> str | None:
    """Returns why a file is refused, or None; anything but a FileError ends the test."""
    try:
        read_mesh(path, Limits(**changed))
    except FileError as error:
        return str(error)
    return None


@pytest.mark.parametrize("kind", ["off", "ply", "obj", "stl", "gltf", "glb", "wrl", "npz"])
def test_every_kind_of_mesh_gives_the_same_triangles(save, limits: Limits, kind: str) -> None:
    path = save(exported(kind), f"a.{kind}")
    np.testing.assert_allclose(triangles(read_mesh(path, limits)), expected(), rtol=0, atol=1e-6)
    num_vertices = 3 * 5 if kind == "stl" else 7
    assert probe_mesh(path, limits) == (num_vertices, 5)
    assert len(read_mesh(path, limits).vertices) == num_vertices


@pytest.mark.parametrize("kind", ["xyz", "txt", "npy"])
def test_every_kind_of_cloud_gives_the_same_points(save, limits: Limits, kind: str) -> None:
    path = save(exported(kind), f"A.{kind.upper()}")
    mesh = read_mesh(path, limits)
    assert mesh.faces is None
    np.testing.assert_array_equal(mesh.vertices, VERTICES)
    assert probe_mesh(path, limits) == (7, 0)


def ply(order: str, *, faces: bool, quads: bool = False) -> bytes:
    """A PLY with normals and colours, written by hand, since trimesh writes one byte order only."""
    kind = {"a": "ascii", "<": "binary_little_endian", ">": "binary_big_endian"}[order]
    polygons = [[0, 1, 2, 3], [4, 5, 6]] if quads else FACES.tolist()
    header = f"ply\nformat {kind} 1.0\ncomment TextureFile other.png\nelement vertex 7\n"
    header += "".join(f"property {'double' if n == 'x' else 'float'} {n}\n" for n in ("x", "y", "z", "nx", "ny", "nz"))
    header += "property uchar red\nproperty uchar green\nproperty uchar blue\n"
    if faces:
        header += f"element face {len(polygons)}\nproperty list uchar int vertex_indices\n"
    body = b""
    for vertex, colour in zip(VERTICES, COLOURS, strict=True):
        row = [*vertex, 0, 3, 4, *colour.tolist()]
        body += f"{' '.join(map(str, row))}\n".encode() if order == "a" else struct.pack(f"{order}d5f3B", *row)
    for face in polygons if faces else []:
        row = [len(face), *face]
        body += f"{' '.join(map(str, row))}\n".encode() if order == "a" else struct.pack(f"{order}B{len(face)}i", *row)
    return header.encode() + b"end_header\n" + body


@pytest.mark.parametrize("order", ["a", "<", ">"])
def test_ply_of_all_three_encodings(save, limits: Limits, order: str) -> None:
    mesh = read_mesh(save(ply(order, faces=True), "a.ply"), limits)
    np.testing.assert_array_equal(triangles(mesh), expected())
    np.testing.assert_allclose(mesh.colours, COLOURS / 255, rtol=0, atol=1e-12)
    assert mesh.normals is None  # those of its faces count
    cloud = read_mesh(save(ply(order, faces=False), "b.ply"), limits)
    assert cloud.faces is None
    np.testing.assert_array_equal(cloud.vertices, VERTICES)
    np.testing.assert_allclose(cloud.normals, np.tile([0, 0.6, 0.8], (7, 1)), rtol=0, atol=1e-7)
    assert probe_mesh(save(ply(order, faces=False), "b.ply"), limits) == (7, 0)
    quads = read_mesh(save(ply(order, faces=True, quads=True), "c.ply"), limits)
    np.testing.assert_array_equal(triangles(quads), expected(faces=np.array([[0, 1, 2], [0, 2, 3], [4, 5, 6]])))


@pytest.mark.parametrize("order", ["a", "<", ">"])
def test_a_cut_ply_is_refused(save, order: str) -> None:
    whole = ply(order, faces=True)
    for end in range(1, len(whole) - 1, 7):
        assert refusal(save(whole[:end], "a.ply")) is not None


@pytest.mark.parametrize(
    "header",
    ["OFF\n7 5 0", "OFF7 5 0", "OFF 7 5 0", "OFF\n7 5", "# made by hand\nOFF # now\n\n7 5 -1\n", "OFF\r\n7 5 9\r"],
)
def test_off_headers_as_modelnet_has_them(save, limits: Limits, header: str) -> None:
    rows = [" ".join(map(str, row)) for row in VERTICES.tolist()] + [f"3 {a} {b} {c}" for a, b, c in FACES]
    path = save(off(header, *rows), "a.off")
    np.testing.assert_array_equal(triangles(read_mesh(path, limits)), expected())
    assert probe_mesh(path, limits) == (7, 5)


def test_off_with_polygons_and_colours_agrees_with_trimesh(save, limits: Limits) -> None:
    content = off(
        "COFF", "5 3 0", "0 0 0 255 0 51 255", "1 0 0 0 255 0 255", "1 1 0 0 0 255 255", "0 1 0 9 9 9 255",
        "0.5 0.5 2 3 3 3 255", "4 0 1 2 3 0.1 0.2 0.3", "3 0 1 4", "3 2 3 4",
    )  # fmt: skip
    mesh = read_mesh(save(content, "a.off"), limits)
    oracle = trimesh.load_mesh(io.BytesIO(content), file_type="off", process=False)
    assert mesh.faces is not None
    assert len(mesh.faces) == 4
    assert trimesh.Trimesh(mesh.vertices, mesh.faces, process=False).area == pytest.approx(oracle.area, abs=1e-12)
    np.testing.assert_array_equal(mesh.colours * 255, [[255, 0, 51], [0, 255, 0], [0, 0, 255], [9, 9, 9], [3, 3, 3]])
    cloud = read_mesh(save(off("NOFF", "2 0 0", "1 2 3 0 0 2", "4 5 6 0 5 0"), "b.off"), limits)
    np.testing.assert_array_equal(cloud.normals, [[0, 0, 1], [0, 1, 0]])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.off", b"hello", "no OFF file: it begins with 'hello'"),
        ("a.off", b"OFF BINARY\n1 1 1\n",
         "a binary OFF file, which is not read; write it as OFF text of three dimensions"),
        ("a.off", b"OFF\nx y z", "damaged OFF file: the numbers of vertices and faces are missing"),
        ("a.off", b"OFF\n3 1 0\n0 0 0\n1 0 0\n", "truncated OFF file: it declares 3 vertices and ends before"),
        ("a.off", b"OFF\n3 2 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n", "truncated OFF file: it declares 2 faces and has 1"),
        ("a.off", b"OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 3\n", "has a face that names vertex 3 of 3"),
        ("a.off", b"OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 -1\n", "has a face that names vertex -1 of 3"),
        ("a.off", b"OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n4 0 1 2\n", "damaged OFF file: a face of 4 corners has 3"),
        ("a.off", b"OFF\n3 1 0\n0 0 0\n1 0 0\n0 nan 0\n3 0 1 2\n",
         "has coordinates that are no finite numbers, first at vertex 2"),
        ("a.off", b"OFF\n3 1 0\n0 0 0\n1 0 0\n0 1e99 0\n3 0 1 2\n", "has coordinates beyond 1e+60"),
        ("a.off", b"OFF\n3 1 0\n0 0 0\n1 0 0\n2 0 0\n3 0 1 2\n", "all its faces are without area"),
        ("a.off", b"OFF\n3 1 0\n0 0 0\n1 0 x\n0 1 0\n3 0 1 2\n", "holds 'x' where a number belongs"),
        ("a.off", b"4OFF\n1 0 0\n0 0 0 0\n",
         "a four- or more-dimensional OFF file, which is not read; write it as OFF text of three dimensions"),
        ("a.off", b"OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 1.5\n", "has a face that names a vertex by a broken number"),
        ("a.off", b"OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n4 0 1 1.5 2\n",
         "damaged OFF file: a face is no list of whole numbers"),
        ("a.off", b"OFF\n0 0 0\n", "holds no vertices"),
        ("a.off", b"OFF\n999999999999 1 0\n0 0 0",
         "has 999,999,999,999 vertices; the limit is 20,000,000 (--source.limits.max-vertices)"),
        ("a.ply", b"plywood", "truncated PLY file: its header does not end"),
        ("a.ply", b"solid", "no PLY file: it begins with 'solid'"),
        ("a.ply", b"ply\nformat ascii 1.0\nelement vertex 0\nend_header\n", "holds no vertices"),
        ("a.ply", b"ply\nformat binary_little_endian 1.0\nelement vertex 88888888888\nproperty float x\nend_header\n",
         "has 88,888,888,888 vertices; the limit is 20,000,000 (--source.limits.max-vertices)"),
        ("a.ply", b"ply\nformat ascii 1.0\nelement vertex -3\nend_header\n",
         "damaged PLY file: its header says 'element vertex -3'"),
        ("a.ply", b"ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nproperty float x\nend_header\n",
         "damaged PLY file: it declares 'x' twice"),
        ("a.ply", b"ply\nelement vertex 1\nproperty float x\nend_header\n",
         "damaged PLY file: its header does not say how values are written"),
        ("a.ply", b"ply\nformat ascii 1.0\nelement edge 99999999999\nproperty int a\nend_header\n",
         "declares 99,999,999,999 elements; the limit is 40,000,000 (--source.limits.max-faces)"),
        ("a.ply", b"ply\nformat ascii 1.0\nelement edge 99999999999\nelement edge 1\nproperty int a\nend_header\n",
         "declares 99,999,999,999 elements; the limit is 40,000,000 (--source.limits.max-faces)"),
        ("a.ply", b"ply\nformat ascii 1.0\nelement vertex 1\nproperty list float float x\nend_header\n",
         "damaged PLY file: its header says 'list float float'"),
        ("a.ply", b"ply\nformat binary_big_endian 1.0\nelement vertex 1\nproperty list uchar float x\nend_header\n\xff",
         "truncated or damaged PLY file: a list of 255 values in 'vertex'"),
        ("a.ply", PLY_VERTICES + b"end_header\n0 0 0\n1 0 0\n",
         "truncated or damaged PLY file: its 3 rows of 'vertex' are not all there"),
        ("a.ply", PLY_VERTICES + PLY_FACE + b"end_header\n0 0 0\n1 0 0\n0 1 0\n3 0 1 1.5\n",
         "has a face that names a vertex by a broken number"),
        ("a.stl", b"hello", "no STL file: it begins with 'hello'"),
        ("a.stl", b"\xff" * 80 + struct.pack("<I", 9) + b"\0" * 50,
         "truncated or no STL file: it declares 9 faces in 134 bytes"),
        ("a.obj", b"mtllib x.mtl\n", "no OBJ file, or one without vertices"),
        ("a.obj", b"v 0 0\nv 1 0\nv 0 1\nf 1 2 3\n", "holds a shape that does not have three dimensions"),
        ("a.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n",
         "damaged mesh file: index 8 is out of bounds for axis 0 with size 3"),
        ("a.gltf", b'{"asset": {"version": "2.0"}}', "holds no faces and no points"),
        ("a.glb", b"glTF\2\0\0\0", "truncated glTF file: it ends after 8 bytes"),
        ("a.glb", struct.pack("<4s4I", b"glTF", 1, 20, 0, 0x4E4F534A),
         "a glTF file of version 1, which is not read; export it as glTF 2.0"),
        ("a.glb", struct.pack("<4s4I", b"glTF", 2, 20, 0, 0),
         "damaged glTF file: it does not begin with its description"),
        ("a.gltf", b"[]", "no glTF file: its description is no JSON object"),
        ("a.gltf", b"{]", "damaged or no glTF file: its description is no JSON"),
        ("a.gltf", b"[" * 100_000, "damaged or no glTF file: its description is no JSON"),
        ("a.xyz", b"# nothing\n", "holds no rows of numbers"),
        ("a.xyz", b"1 2\n3 4\n", "has rows of 2 numbers; a point needs 3 to 9"),
        ("a.xyz", b"1 2 3\n4 5 6\n7 8\n", "no table of points: the number of columns changed from 3 to 2 at row 3"),
        ("a.xyz", b"9\nwater\nO 0 0 0\n", "has rows of 1 numbers; a point needs 3 to 9"),
        ("a.npy", b"\x93NUMPY", "no NumPy file, or a damaged one"),
        ("a.npy", npy(np.zeros((5, 2))), "a point cloud must be (points, 3 to 9), not (5, 2); a point is a row"),
        ("a.npy", npy(np.zeros((5, 3), dtype=complex)), "a point cloud must hold numbers, not complex128"),
        ("a.npy", npy(np.array([[1, 2, None]]), allow_pickle=True),
         "holds Python objects or records; save an array of numbers"),
        ("a.npy", npy(VERTICES)[:-1], "truncated NumPy file: it declares 168 bytes and holds 167"),
        ("a.npz", b"PK", "no .npz file, or a damaged one"),
        ("a.npz", npz(clouds=VERTICES), "has no array 'points' or 'vertices'; its arrays: clouds"),
        ("a.npz", npz(vertices=VERTICES, faces=FACES + 3), "has a face that names vertex 9 of 7"),
        ("a.npz", npz(vertices=VERTICES, faces=FACES * 1.0),
         "its faces must be whole numbers (faces, 3), not float64 (5, 3)"),
        ("a.npz", npz(vertices=VERTICES[:, :2], faces=FACES),
         "its vertices must be numbers (vertices, 3), not float64 (7, 2)"),
        ("a.pny", b"x", "no mesh or point cloud of a known kind: .pny. Nearest: .ply, .npy."),
        ("a.plyy", b"x", "no mesh or point cloud of a known kind: .plyy. Nearest: .ply."),
        ("a.mp4", b"x",
         "no mesh or point cloud of a known kind: .mp4. Known: .glb, .gltf, .npy, .npz, .obj, .off, .ply, .stl, .txt, "
         ".wrl, .xyz."),
        ("a.npy", b"", "empty file (0 bytes)"),
    ],
)  # fmt: skip
def test_what_is_refused(save, name: str, content: bytes, message: str) -> None:
    reason = refusal(save(content, name))
    assert reason == message


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_flipped_and_missing_bytes_raise_nothing_but_file_errors(
    save, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    whole = exported(kind)
    random = np.random.default_rng(7)
    for _ in range(80):
        bad = np.frombuffer(whole, np.uint8).copy()
        bad[random.integers(len(bad), size=3)] = random.integers(256, size=3)
        end = len(bad) if random.random() < 0.5 else int(random.integers(1, len(bad)))
        reason = refusal(save(bad[:end].tobytes(), f"a.{kind}"))
        assert reason is None or (reason.isprintable() and len(reason) < 250), reason
    assert not caplog.records or all(record.levelname == "DEBUG" for record in caplog.records)


def test_a_header_cannot_make_numpy_allocate(save) -> None:
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999999, 3), }"
    content = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header
    assert (
        refusal(save(content, "a.npy")) == "truncated NumPy file: it declares 2,399,999,999,999,976 bytes and holds 0"
    )


def test_a_zip_bomb_is_refused_by_its_directory(save) -> None:
    content = npz(points=np.zeros((10_007, 3)))
    assert len(content) < 2_000
    assert refusal(save(content, "a.npz"), max_mesh_file_bytes=200_000) == (
        "its array 'points' has 240,296 bytes; the limit is 200,000 (--source.limits.max-mesh-file-bytes)"
    )
    assert refusal(save(content, "a.npz"), max_mesh_file_bytes=240_296) is None


def test_a_directory_that_lies_about_a_member_does_not_make_it_unpack(save) -> None:
    """Without a bound on what it asks for, zipfile unpacks 32 MB here before it looks at the size it was told."""
    content = bytearray(npz(points=np.zeros((1_333_333, 3))))
    for place in (content.index(b"PK\x03\x04") + 22, content.rindex(b"PK\x01\x02") + 24):
        content[place : place + 4] = struct.pack("<I", 300)
    path = save(bytes(content), "a.npz")
    tracemalloc.start()
    assert refusal(path) == "no .npz file, or a damaged one"
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000


def test_an_archive_of_too_many_arrays_is_refused(save) -> None:
    path = save(npz(points=VERTICES, other=FACES, third=FACES), "a.npz")
    assert refusal(path, max_archive_members=3) is None
    assert refusal(path, max_archive_members=2) == (
        "holds 3 arrays; the limit is 2 (--source.limits.max-archive-members)"
    )


def test_the_limit_of_file_size_is_named(save) -> None:
    assert refusal(save(b"0" * 101, "a.off"), max_mesh_file_bytes=100) == (
        "has 101 bytes; the limit of meshes is 100 (--source.limits.max-mesh-file-bytes)"
    )


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_every_kind_keeps_to_the_limit_of_vertices(save, kind: str) -> None:
    path = save(exported(kind), f"a.{kind}")
    assert refusal(path, max_vertices=15 if kind == "stl" else 7) is None
    reason = refusal(path, max_vertices=6)
    assert reason is not None
    assert reason.endswith("vertices; the limit is 6 (--source.limits.max-vertices)")
    with pytest.raises(FileError, match=f"^{re.escape(reason)}$"):
        probe_mesh(path, Limits(max_vertices=6))


@pytest.mark.parametrize("end", [b"\r", b"\r\n", b"\v", b"\x85"])
def test_rows_are_counted_before_memory_is_taken_for_them(save, end: bytes) -> None:
    content = (b"1 2 3" + end) * 200_000
    path = save(content, "a.xyz")
    tracemalloc.start()
    assert refusal(path, max_vertices=1000) == (
        "has 200,000 vertices; the limit is 1,000 (--source.limits.max-vertices)"
    )
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5 * len(content)


@pytest.mark.parametrize("text", ["x y z\n1 2 3\n4 5 6\n", "2\r1 2 3\r4 5 6\r", "1 2 3\r\n4 5 6\r\n"])
def test_a_line_of_names_or_of_a_number_does_not_count(save, text: str) -> None:
    path = save(text.encode(), "a.xyz")
    assert len(read_mesh(path, Limits(max_vertices=2)).vertices) == 2
    reason = refusal(path, max_vertices=1)
    assert reason is not None
    assert reason.endswith(" vertices; the limit is 1 (--source.limits.max-vertices)")


@pytest.mark.parametrize("kind", ["off", "ply", "obj", "stl", "gltf", "glb", "wrl", "npz"])
def test_every_kind_keeps_to_the_limit_of_faces(save, kind: str) -> None:
    path = save(exported(kind), f"a.{kind}")
    assert refusal(path, max_faces=5) is None
    assert refusal(path, max_faces=4) == "has 5 faces; the limit is 4 (--source.limits.max-faces)"


def gltf_with(change) -> bytes:
    tree = json.loads(exported("gltf"))
    change(tree)
    return json.dumps(tree).encode()


def test_gltf_that_would_cost_memory_or_open_files_is_refused(save) -> None:
    def many(tree: dict) -> None:
        (mesh,) = [node["mesh"] for node in tree["nodes"] if "mesh" in node]
        tree["nodes"] += [{"mesh": mesh}] * 90_000
        tree["accessors"][tree["meshes"][0]["primitives"][0]["attributes"]["POSITION"]]["count"] = 1000

    def elsewhere(tree: dict) -> None:
        tree["buffers"][0]["uri"] = "../secret.bin"

    def packed(tree: dict) -> None:
        tree["extensionsRequired"] = ["KHR_draco_mesh_compression"]

    def endless(tree: dict) -> None:
        tree["accessors"].append({"count": 10**12, "componentType": 5126, "type": "MAT4"})

    def misfit(tree: dict) -> None:
        tree["meshes"][0]["primitives"][0]["attributes"]["POSITION"] = 99

    def crowded(tree: dict) -> None:
        tree["nodes"] += [{}] * 100_000

    def sparse(tree: dict) -> None:
        tree["accessors"][0]["sparse"] = {}

    num_nodes = len(json.loads(exported("gltf"))["nodes"]) + 100_000
    for change, message in (
        (crowded, f"has {num_nodes:,} nodes; the limit is 100,000 (--source.limits.max-scene-nodes)"),
        (sparse, "has sparse accessors, which are not read; export it without them"),
        (many, "has 90,001,000 vertices; the limit is 20,000,000 (--source.limits.max-vertices)"),
        (elsewhere, "keeps its geometry in another file, which is not opened; export it as one .glb file"),
        (
            packed,
            "its geometry is packed (KHR_draco_mesh_compression), which is not read; export it without compression",
        ),
        (endless, "declares more than 160,000,000 values (8 x --source.limits.max-vertices)"),
        (misfit, "damaged glTF file: its parts do not fit together"),
    ):
        assert refusal(save(gltf_with(change), "a.gltf")) == message


def test_the_meshes_of_a_scene_stand_where_its_nodes_put_them(save, limits: Limits) -> None:
    scene = trimesh.Scene()
    first = trimesh.Trimesh(VERTICES, FACES, process=False)
    moved = trimesh.transformations.translation_matrix([10, 20, 30])
    turned = trimesh.transformations.rotation_matrix(0.7, [1, 2, 3]) @ np.diag([2.0, 3.0, 5.0, 1.0])
    scene.add_geometry(first, geom_name="a", transform=moved)
    scene.add_geometry(first, geom_name="a", node_name="again", transform=turned)
    path = save(scene.export(file_type="glb"), "a.glb")
    both = [(VERTICES @ matrix[:3, :3].T + matrix[:3, 3])[FACES].reshape(-1, 9) for matrix in (moved, turned)]
    corners = np.concatenate(both)
    np.testing.assert_allclose(triangles(read_mesh(path, limits)), corners[np.lexsort(corners.T)], rtol=0, atol=1e-5)
    assert probe_mesh(path, limits) == (14, 10)


@pytest.mark.parametrize(("written", "share"), [("1 0.5 0", 0.5), ("255 127.5 0", 0.5), ("1.001 0.25 0", 0.25)])
def test_colours_are_shares_of_one_or_of_255(save, limits: Limits, written: str, share: float) -> None:
    names = [*"xyz", "red", "green", "blue"]
    header = [
        "ply",
        "format ascii 1.0",
        "element vertex 3",
        *(f"property float {name}" for name in names),
        "end_header",
    ]
    mesh = read_mesh(
        save("\n".join([*header, *(f"{n} 0 1 {written}" for n in range(3)), ""]).encode(), "a.ply"), limits
    )
    np.testing.assert_allclose(mesh.colours, [[1.0, share, 0.0]] * 3, rtol=0, atol=1e-12)


def test_vertex_and_face_colours(save, limits: Limits) -> None:
    shape = trimesh.Trimesh(VERTICES, FACES, process=False, vertex_colors=COLOURS)
    for kind in ("ply", "obj", "glb"):
        content = shape.export(file_type=kind)
        mesh = read_mesh(save(content.encode() if isinstance(content, str) else content, f"a.{kind}"), limits)
        by_place = {tuple(v): c for v, c in zip(mesh.vertices.tolist(), mesh.colours, strict=True)}
        for vertex, colour in zip(VERTICES, COLOURS, strict=True):
            np.testing.assert_allclose(by_place[tuple(vertex)], colour / 255, rtol=0, atol=1e-6)
    painted = trimesh.Trimesh(VERTICES, FACES, process=False, face_colors=COLOURS[:5])
    mesh = read_mesh(save(painted.export(file_type="ply"), "b.ply"), limits)
    np.testing.assert_array_equal(triangles(mesh), expected())
    np.testing.assert_allclose(mesh.colours, np.repeat(COLOURS[:5] / 255, 3, axis=0), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["obj", "glb"])
def test_a_cloud_needs_no_colours(save, limits: Limits, kind: str) -> None:
    for colours in (None, COLOURS):
        content = trimesh.PointCloud(VERTICES, colors=colours).export(file_type=kind)
        mesh = read_mesh(save(content.encode() if isinstance(content, str) else content, f"a.{kind}"), limits)
        np.testing.assert_allclose(mesh.vertices, VERTICES, rtol=0, atol=1e-6)
        assert (mesh.faces, mesh.normals) == (None, None)
        if colours is None:
            assert mesh.colours is None
        else:
            np.testing.assert_allclose(mesh.colours, COLOURS / 255, rtol=0, atol=1e-6)


def test_no_other_file_is_opened(tmp_path: Path, limits: Limits) -> None:
    """An audit hook notes every file that is opened while files are read that name others, which exist."""
    opened: list[str] = []
    watching = [False]
    sys.addaudithook(
        lambda event, arguments: opened.append(str(arguments[0])) if watching[0] and event == "open" else None
    )
    (tmp_path / "x.mtl").write_text("newmtl m\nmap_Kd other.png\n")
    (tmp_path / "other.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    obj = b"mtllib x.mtl\nusemtl m\n" + exported("obj")
    files = {"a.obj": obj, "a.ply": ply("<", faces=True), "a.glb": exported("glb")}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        read_mesh(tmp_path / name, limits)  # modules that are imported on the way are no surprise the second time
    watching[0] = True
    for name in files:
        read_mesh(tmp_path / name, limits)
    watching[0] = False
    assert [Path(name).name for name in opened if str(tmp_path) in name] == list(files)


def test_without_trimesh_only_its_kinds_are_missing(save, limits: Limits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trimesh", None)
    for kind in ("off", "wrl", "xyz", "npy", "npz"):
        read_mesh(save(exported_without_trimesh(kind), f"a.{kind}"), limits)
    read_mesh(save(ply(">", faces=True), "a.ply"), limits)
    monkeypatch.undo()
    content = {kind: exported(kind) for kind in ("obj", "stl", "glb")}
    monkeypatch.setitem(sys.modules, "trimesh", None)
    for kind, written in content.items():
        with pytest.raises(
            MissingExtraError, match=r"^reading this kind of mesh needs .*: pip install 'perceptio\[mesh\]'$"
        ):
            read_mesh(save(written, f"a.{kind}"), limits)
        assert probe_mesh(save(written, f"a.{kind}"), limits)[1] == 5


def exported_without_trimesh(kind: str) -> bytes:
    rows = [" ".join(map(str, row)) for row in VERTICES.tolist()] + [f"3 {a} {b} {c}" for a, b, c in FACES]
    return off("OFF", "7 5 0", *rows) if kind == "off" else exported(kind)


def test_columns_of_rows_are_told_by_their_values(limits: Limits) -> None:
    random = np.random.default_rng(3)
    points = random.normal(size=(11, 3)) * 100
    normals = random.normal(size=(11, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    colours = random.integers(0, 256, (11, 3))
    plain = read_mesh(np.concatenate([points, colours], axis=1), limits)
    assert plain.normals is None
    np.testing.assert_allclose(plain.colours, colours / 255, rtol=0, atol=1e-12)
    for parts in ([points, normals, colours], [points, colours, normals]):
        mesh = read_mesh(np.concatenate(parts, axis=1), limits)
        np.testing.assert_allclose(mesh.normals, normals, rtol=0, atol=1e-12)
        np.testing.assert_allclose(mesh.colours, colours / 255, rtol=0, atol=1e-12)
    other = read_mesh(np.concatenate([points, points], axis=1), limits)
    assert other.normals is None
    assert other.colours is None
    assert read_mesh(points.astype(np.float32), limits).vertices.dtype == np.float64


@pytest.mark.parametrize(
    "text",
    [
        "1,2,3,9\n4,5,6,9\n",
        "x y z intensity\n1 2 3 9\n4\t5  6 9",
        "# a comment\n\n// another\n1, 2, 3, 9 ; end\n4, 5, 6, 9\n",
        "2\n1 2 3 9\n4 5 6 9\n",
        " 1 , 2 , 3 , 9 \n 4 ,5 ,6 ,9 \n",
        "1.0,2.0,3.0 9\n4.0,5.0,6.0 9\n",
        "1.0,2.0, 3.0, 9\n4.0,5.0, 6.0, 9\n",
        "# 0,5 0,5\n1 2 3 9\n4 5 6 9 // 0,5 0,5\n",
    ],
)
def test_text_rows_with_commas_comments_names_and_counts(save, limits: Limits, text: str) -> None:
    np.testing.assert_array_equal(read_mesh(save(text.encode(), "a.txt"), limits).vertices, [[1, 2, 3], [4, 5, 6]])


@pytest.mark.parametrize(
    "text",
    ["-0,19 0,55 0,11\n", "0 0 0\n1 -0,19\t5\n", "x y z\n0 -0,19\n", "-0,19, 0,55, 0,11\n", "1.5 2.5 -0,19\r\n"],
)
def test_decimal_commas_are_no_separators(save, text: str) -> None:
    reason = "has decimal commas, such as -0,19; write -0.19, or use one separator throughout a row"
    assert refusal(save(text.encode(), "a.xyz")) == reason
    assert refusal(save(text.replace("-0,19", "-0,19e+3").encode(), "a.xyz")) == reason.replace(
        "-0,19", "-0,19e+3"
    ).replace("-0.19", "-0.19e+3")


def test_npy_of_both_orders_and_npz_of_points(save, limits: Limits) -> None:
    np.testing.assert_array_equal(read_mesh(save(npy(np.asfortranarray(VERTICES)), "a.npy"), limits).vertices, VERTICES)
    np.testing.assert_array_equal(read_mesh(save(npy(VERTICES.astype(">f4")), "a.npy"), limits).vertices, VERTICES)
    np.testing.assert_array_equal(read_mesh(save(npz(points=VERTICES), "a.npz"), limits).vertices, VERTICES)
    assert zipfile.is_zipfile(save(npz(points=VERTICES), "a.npz"))


def test_numbers_are_read_across_the_ends_of_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = np.random.default_rng(5).normal(size=1009)
    text = " \n".join(map(repr, numbers.tolist()))
    monkeypatch.setattr(mesh_module, "_BLOCK_CHARACTERS", 13)
    np.testing.assert_array_equal(parse_numbers(text), numbers)
    assert parse_numbers("  ").tolist() == []


def test_fans_of_polygons() -> None:
    corners = np.array([5, 6, 7, 8, -1, 1, 2, -1, -1, 3, 4, 9, -1, 0, 1, 2])
    assert fan_triangles(corners, Limits()).tolist() == [[5, 6, 7], [5, 7, 8], [3, 4, 9], [0, 1, 2]]
    assert fan_triangles(np.array([], dtype=np.int64), Limits()).shape == (0, 3)
