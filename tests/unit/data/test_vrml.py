"""VRML files: what is read, where it stands, which colour it has, and what is refused."""

import gzip
import time
import tracemalloc

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from perceptio.data.limits import Limits
from perceptio.data.mesh import Mesh
from perceptio.data.mesh_files import probe_mesh, read_mesh
from perceptio.data.vrml import read_vrml
from perceptio.errors import FileError

READERS = ("probe_mesh", "read_mesh")
pytestmark = pytest.mark.usefixtures("either_place")

V2 = "#VRML V2.0 utf8\n"
V1 = "#VRML V1.0 ascii\n"
TRIANGLE = np.array([[0.0, 0, 0], [2, 0, 0], [0, 3, 5]])
POINTS = "point [0 0 0, 2 0 0, 0 3 5]"
GEOMETRY = f"IndexedFaceSet {{ coord Coordinate {{ {POINTS} }} coordIndex [0, 1, 2, -1] }}"
SHAPE = f"Shape {{ geometry {GEOMETRY} }}"


def mesh_of(text: str, limits: Limits | None = None) -> Mesh:
    return read_vrml(text.encode("latin-1"), limits or Limits())


def corners(mesh: Mesh) -> np.ndarray:
    assert mesh.faces is not None
    return mesh.vertices[mesh.faces]


def moved(points: np.ndarray, offset: list[float]) -> np.ndarray:
    return points + np.array(offset)


def refusal(text: str, limits: Limits | None = None) -> str:
    with pytest.raises(FileError) as caught:
        mesh_of(text, limits)
    return str(caught.value)


def test_a_shape_with_quads_comments_strings_and_no_commas() -> None:
    mesh = mesh_of(
        V2 + 'WorldInfo { title "a [ # } \\" point [ 9 9 9 ]" } # comment with ] and {\n'
        "Shape { geometry IndexedFaceSet { solid FALSE creaseAngle 0.5\n"
        " coord Coordinate { point [ 0 0 0 # first ]\n 1e0 0 0\t1 +1 0, 0 1 -.5 ] }\n"
        " coordIndex [ 0 1 2 3 -1, 3 2 1 ] } }"
    )
    np.testing.assert_array_equal(mesh.vertices, [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, -0.5]])
    assert mesh.faces is not None
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3], [3, 2, 1]]


def test_nested_transforms_agree_with_scipy() -> None:
    text = (
        "Transform { translation 1 2 3 rotation 1 2 2 0.7 scale 2 3 5 center 0.5 -1 4 scaleOrientation 0 1 1 0.3\n"
        f"children [ Transform {{ rotation 0 0 1 1.5707963267948966 children {SHAPE} }} {SHAPE} ] }}"
    )
    turn = Rotation.from_rotvec(0.7 * np.array([1, 2, 2]) / 3).as_matrix()
    tilt = Rotation.from_rotvec(0.3 * np.array([0, 1, 1]) / np.sqrt(2)).as_matrix()
    linear = turn @ tilt @ np.diag([2, 3, 5]) @ tilt.T
    centre = np.array([0.5, -1, 4])

    def outer(points: np.ndarray) -> np.ndarray:
        return (points - centre) @ linear.T + centre + [1, 2, 3]

    quarter = Rotation.from_rotvec([0, 0, np.pi / 2]).as_matrix()
    expected = np.stack([outer(TRIANGLE @ quarter.T), outer(TRIANGLE)])
    np.testing.assert_allclose(corners(mesh_of(V2 + text)), expected, rtol=0, atol=1e-12)


def test_a_transform_holds_for_its_children_alone() -> None:
    mesh = mesh_of(V2 + f"Transform {{ translation 7 0 0 children [ {SHAPE} ] }} Group {{ children [ {SHAPE} ] }}")
    np.testing.assert_array_equal(corners(mesh), [moved(TRIANGLE, [7, 0, 0]), TRIANGLE])


def test_use_repeats_what_def_named() -> None:
    mesh = mesh_of(
        V2 + f"DEF part Transform {{ translation 0 0 1 children [ DEF s {SHAPE} ] }}\n"
        "Transform { translation 5 0 0 children [ USE part, USE s ] } USE s\nShape { geometry IndexedFaceSet { coord "
        "DEF c Coordinate { point [ 1 0 0 0 1 0 0 0 1 ] } coordIndex [0 1 2] } }Shape { geometry IndexedFaceSet { "
        "coordIndex [2 1 0] coord USE c } }"
    )
    unit = np.eye(3)
    expected = [
        moved(TRIANGLE, [0, 0, 1]),
        moved(TRIANGLE, [5, 0, 1]),
        moved(TRIANGLE, [5, 0, 0]),
        TRIANGLE,
        unit,
        unit[::-1],
    ]
    np.testing.assert_array_equal(corners(mesh), expected)


def test_vrml_1_holds_its_state_within_separators() -> None:
    mesh = mesh_of(
        V1 + f"Separator {{ Coordinate3 {{ {POINTS} }} Translation {{ translation 0 0 4 }}\n"
        "Separator { Scale { scaleFactor 2 2 2 } IndexedFaceSet { coordIndex [0,1,2,-1] } }\nGroup { Rotation { "
        "rotation 1 0 0 3.141592653589793 } }\nIndexedFaceSet { coordIndex [2,1,0,-1] }\nMatrixTransform { matrix 1 0 "
        "0 0  0 1 0 0  0 0 1 0  10 20 30 1 }\nIndexedFaceSet { coordIndex [0,1,2,-1] } }"
    )
    flip = np.array([1, -1, -1])
    expected = [
        moved(2 * TRIANGLE, [0, 0, 4]),
        (TRIANGLE * flip + [0, 0, 4])[::-1],
        moved(TRIANGLE, [10, 20, 30]) * flip + [0, 0, 4],
    ]
    np.testing.assert_allclose(corners(mesh), expected, rtol=0, atol=1e-12)


def test_colours_of_materials_vertices_and_faces() -> None:
    def shape(extra: str, appearance: str = "") -> str:
        geometry = f"IndexedFaceSet {{ coord Coordinate {{ {POINTS} }} coordIndex [0 1 2 -1 2 1 0 -1] {extra} }}"
        return f"Shape {{ geometry {geometry} {appearance} }}"

    red = "appearance Appearance { material DEF red Material { ambientIntensity 0.2 diffuseColor 1 0 0.5 } }"
    listed = "color Color { color [1 0 0, 0 1 0, 0 0 1] }"
    assert mesh_of(V2 + shape("")).colours is None
    mesh = mesh_of(V2 + shape("", red) + shape("") + shape("", "appearance Appearance { material USE red }"))
    np.testing.assert_array_equal(mesh.colours, [[1, 0, 0.5]] * 3 + [[0.8, 0.8, 0.8]] * 3 + [[1, 0, 0.5]] * 3)
    basis = np.eye(3)
    for extra, expected in (
        (listed, basis[[0, 1, 2, 2, 1, 0]]),
        (f"{listed} colorIndex [2 1 0 -1 1 1 1 -1]", basis[[2, 1, 0, 1, 1, 1]]),
        (f"colorPerVertex FALSE {listed}", basis[[0, 0, 0, 1, 1, 1]]),
        (f"{listed} colorPerVertex FALSE colorIndex [2 0]", basis[[2, 2, 2, 0, 0, 0]]),
    ):
        mesh = mesh_of(V2 + shape(extra))
        np.testing.assert_array_equal(corners(mesh), [TRIANGLE, TRIANGLE[::-1]])
        assert mesh.colours is not None
        assert mesh.faces is not None
        np.testing.assert_array_equal(mesh.colours[mesh.faces].reshape(-1, 3), expected)


def test_switches_levels_and_stand_ins() -> None:
    far = SHAPE.replace("2 0 0", "9 0 0")
    for text in (
        f"Switch {{ whichChoice 1 choice [ {far} {SHAPE} {far} ] }}",
        f"LOD {{ range [5] level [ {SHAPE} {far} ] }}",
        f"Collision {{ proxy {far} children [ {SHAPE} ] }}",
        f"{SHAPE} Switch {{ choice [ {far} ] }}",
    ):
        np.testing.assert_array_equal(corners(mesh_of(V2 + text)), [TRIANGLE])


def test_points_without_faces_are_a_cloud_and_lines_are_left_out() -> None:
    cloud = "PointSet { coord Coordinate { point [1 2 3 4 5 6] } color Color { color [0 0 1 1 0 0] } }"
    lines = "Shape { geometry IndexedLineSet { coord Coordinate { point [9 9 9 8 8 8] } coordIndex [0 1 -1] } }"
    mesh = mesh_of(V2 + f"Shape {{ geometry {cloud} }} {lines}")
    assert mesh.faces is None
    np.testing.assert_array_equal(mesh.vertices, [[1, 2, 3], [4, 5, 6]])
    np.testing.assert_array_equal(mesh.colours, [[0, 0, 1], [1, 0, 0]])


def test_gzipped_files_up_to_the_limit(save, limits: Limits, monkeypatch: pytest.MonkeyPatch) -> None:
    content = (V2 + SHAPE).encode()
    path = save(gzip.compress(content), "a.wrl")
    np.testing.assert_array_equal(corners(read_mesh(path, limits)), [TRIANGLE])
    assert probe_mesh(path, limits) == (3, 1)
    np.testing.assert_array_equal(
        corners(read_vrml(gzip.compress(content), Limits(max_mesh_file_bytes=len(content)))), [TRIANGLE]
    )
    bomb = gzip.compress(content + b" " * 10_000_000)
    message = r"^holds more than 500,000 bytes once unpacked \(--source.limits.max-mesh-file-bytes\)$"
    with pytest.raises(FileError, match=message):
        read_vrml(bomb, Limits(max_mesh_file_bytes=500_000))
    with pytest.raises(FileError, match=r"^truncated gzip file$"):
        read_vrml(gzip.compress(content)[:-9], limits)
    with pytest.raises(FileError, match=r"^damaged gzip file$"):
        read_vrml(b"\x1f\x8b" + b"\xff" * 50, limits)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("solid x", "no VRML file: it begins with 'solid x'"),
        (V2, "holds no shape made of faces or points"),
        (V2 + "Shape { geometry Text { string \"x\" } }", "holds no shape made of faces or points"),
        (V2 + SHAPE[:-1], "truncated VRML file: 1 nodes are not closed"),
        (V2 + SHAPE + "}", "damaged VRML file: a } without its {"),
        (V2 + "USE x", "damaged VRML file: USE x without its DEF"),
        (V2 + "DEF", "truncated VRML file: it ends within a name"),
        (V2 + "DEF a Group { children USE a }", "damaged VRML file: USE a without its DEF"),
        (V2 + SHAPE.replace("0, 1, 2,", "0, 1, 3,"), "has a face that names vertex 3 of 3"),
        (V2 + SHAPE + SHAPE.replace("0, 1, 2,", "0, 1, 3,") + SHAPE, "has a face that names vertex 3 of 3"),
        (V2 + SHAPE.replace("0, 1, 2,", "0, 1, 1.5,"), "has a face that names vertex 1.5 of 3"),
        (V2 + SHAPE.replace("0 3 5", "0 3"), "damaged VRML file: 8 numbers are no list of coordinates"),
        (V2 + SHAPE.replace("0 3 5", "0 3 x"), "holds 'x' where a number belongs"),
        (V2 + SHAPE.replace("0 3 5", "0 3 nan"), "has coordinates that are no finite numbers, first at vertex 2"),
        (V2 + SHAPE.replace("0 3 5", "0 0 0"), "all its faces are without area"),
        (V2 + f"Transform {{ rotation 1 2 children {SHAPE} }}", "damaged VRML file: rotation must be 4 numbers"),
        (V2 + SHAPE.replace("coordIndex", "color Color { color [1 0 0] } colorIndex [0 0] coordIndex"),
         "damaged VRML file: 2 colours for 4 corners"),
        (V2 + SHAPE.replace("coordIndex", "color Color { color [1 0 0] } colorIndex [0 0 1 -1] coordIndex"),
         "damaged VRML file: it names colours that it does not have"),
        (V2 + SHAPE + "Inline { url \"other.wrl\" }",
         "has a part in another file, which is not opened (Inline); export it as faces (IndexedFaceSet)"),
        (V2 + SHAPE + "Shape { geometry Sphere { radius 2 } }",
         "has a body that is not made of faces (Sphere); export it as faces (IndexedFaceSet)"),
        (V2 + "PROTO Part [ ] { Group { } } " + SHAPE,
         "has nodes of its own kind, which are not read (PROTO); export it as faces (IndexedFaceSet)"),
        (V2 + "Group { " * 201 + "}" * 201,
         "has more than 200 nodes inside each other (--source.limits.max-mesh-depth)"),
        (V2 + "DEF a0 Group { }" + "".join(f"DEF a{i + 1} Group {{ USE a{i} }}" for i in range(210)),
         "has more than 200 nodes inside each other (--source.limits.max-mesh-depth)"),
    ],
)  # fmt: skip
def test_what_is_refused(text: str, message: str) -> None:
    assert refusal(text) == message


def test_repetition_of_repetitions_is_stopped() -> None:
    text = V2 + "DEF a0 Group { }" + "".join(f"DEF a{i + 1} Group {{ {f'USE a{i} ' * 10} }}" for i in range(30))
    assert refusal(text, Limits(max_mesh_nodes=10_007)) == (
        "repeats nodes (USE) to more than 10,007 (--source.limits.max-mesh-nodes)"
    )


def test_a_scene_of_just_so_many_nodes_is_read() -> None:
    """A shape is three nodes: itself, its geometry and its coordinates."""
    written, repeated = V2 + SHAPE * 3, V2 + f"DEF s {SHAPE} USE s USE s"
    for text in (written, repeated):
        assert len(corners(mesh_of(text, Limits(max_mesh_nodes=9)))) == 3
    limits = Limits(max_mesh_nodes=8)
    assert refusal(written, limits) == "has more than 8 nodes (--source.limits.max-mesh-nodes)"
    assert refusal(repeated, limits) == "repeats nodes (USE) to more than 8 (--source.limits.max-mesh-nodes)"


def test_nodes_are_counted_before_memory_is_taken_for_them() -> None:
    tracemalloc.start()
    assert refusal(V2 + "a{}" * 200_000, Limits(max_mesh_nodes=1000)).startswith("has more than 1,000 nodes")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8_000_000  # all nodes would take 40 MB


def test_a_string_that_does_not_end_costs_no_more_than_its_length() -> None:
    """Two million escaped quotes: a search that tried each of them as a beginning would take hours."""
    began = time.monotonic()
    assert refusal(V2 + 'Group { title "' + '\\"' * 2_000_000) == "truncated VRML file: 1 nodes are not closed"
    assert time.monotonic() - began < 60
