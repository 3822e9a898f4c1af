"""Reads the shapes of VRML files (.wrl): VRML 2.0 (VRML97) and VRML 1.0, plain or gzipped.

Read are: IndexedFaceSet and PointSet with their coordinates, vertex and face colours (Color) and the diffuse colour of
their Material; the nodes that place them (Transform; in VRML 1.0 also Translation, Rotation, Scale and MatrixTransform
within Separators); groups of any name; Switch (the chosen child) and LOD (the finest); DEF and USE.

Not read, and left out: lines, text, lights, views, textures, scripts, animation, normals, `ccw`. Not read, and refused
because a part of the shape would be missing: Inline (no other file is ever opened), PROTO, and bodies given by a
formula or a grid (Box, Sphere, Extrusion, ElevationGrid, ..).
"""

import re
import zlib
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from perceptio.data.limits import Limits
from perceptio.data.mesh import Mesh
from perceptio.data.names import printable
from perceptio.data.vrml_shapes import Shapes, matrix_of
from perceptio.errors import FileError

_GZIP = b"\x1f\x8b"
_HEADER = re.compile(r"\s*#VRML V(1\.0 ascii|2\.0 utf8)", re.IGNORECASE)
# Strings go with the comments: nothing that is read here is a string, and one may hold a "#" or a bracket.
_NOISE = re.compile(r'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|#[^\r\n]*', re.DOTALL)
# A list of numbers is one word: reading it word by word would take most of the time.
_WORDS = re.compile(r"\[\s*(?:[-+.\d][^\[\]{}]*)?\]|[{}\[\]]|[^\s\[\]{}]+")
_MAX_SCALAR_CHARACTERS = 1000
_REFUSED = {
    **dict.fromkeys(("Inline", "WWWInline", "EXTERNPROTO"), "a part in another file, which is not opened"),
    "PROTO": "nodes of its own kind, which are not read",
    **dict.fromkeys(
        ("Box", "Cube", "Cone", "Cylinder", "Sphere", "Extrusion", "ElevationGrid"), "a body that is not made of faces"
    ),
}
_COORDINATES = frozenset({"Coordinate", "Coordinate3"})
_PLACES = frozenset({"Transform", "Translation", "Rotation", "Scale", "MatrixTransform"})
_SCOPES = frozenset({"Separator", "TransformSeparator", "WWWAnchor", "LevelOfDetail"})


@dataclass(slots=True)
class Node:
    """One node of the file."""

    kind: str
    fields: dict[str, str] = field(default_factory=dict)
    """The text of each field that is no node, without its brackets."""
    children: list["Node"] = field(default_factory=list)
    """Nodes inside, whatever field they stand in, in the order of the file."""
    depth: int = 1
    """How many nodes stand inside each other, this one counted."""


@dataclass(slots=True)
class _State:
    """What holds for the next shape."""

    matrix: np.ndarray | None = None
    points: str | None = None
    material: str | None = None
    colours: Node | None = None

    def copy(self) -> "_State":
        return _State(self.matrix, self.points, self.material, self.colours)


_Names: TypeAlias = dict[str, Node]


def read_vrml(content: bytes, limits: Limits) -> Mesh:
    """Reads all shapes of a file as one mesh, in the coordinates of the file's root.

    Raises:
        FileError: no VRML file, a damaged one, or one with parts that are not read.
    """
    text = unpacked(content, limits.max_mesh_file_bytes).decode("latin-1")
    header = _HEADER.match(text)
    if header is None:
        raise FileError(f"no VRML file: it begins with {printable(text[:16])!r}")
    text = _NOISE.sub(" ", text).replace(",", " ")
    if text.count("{") > limits.max_mesh_nodes:
        raise FileError(f"has more than {limits.max_mesh_nodes:,} nodes (--source.limits.max-mesh-nodes)")
    root = parse_nodes(text, limits.max_mesh_depth)
    shapes = Shapes(limits)
    _Walk(is_first=header[1].startswith("1"), shapes=shapes, most_visits=limits.max_mesh_nodes).visit(root, _State())
    return shapes.mesh()


def unpacked(content: bytes, max_bytes: int) -> bytes:
    """Returns the content, unpacked if it is gzipped.

    Raises:
        FileError: damaged, or larger than the limit.
    """
    if not content.startswith(_GZIP):
        return content
    unpacker = zlib.decompressobj(wbits=31)
    try:
        text = unpacker.decompress(content, max_bytes)
    except zlib.error as error:
        raise FileError("damaged gzip file") from error
    if unpacker.unconsumed_tail:
        raise FileError(f"holds more than {max_bytes:,} bytes once unpacked (--source.limits.max-mesh-file-bytes)")
    if not unpacker.eof:
        raise FileError("truncated gzip file")
    return text


def parse_nodes(text: str, max_depth: int) -> Node:
    """Returns a root whose children are the nodes of the text, which holds no comments, strings or commas.

    Raises:
        FileError: brackets that do not match, a USE without DEF, or nodes nested too deeply.
    """
    root = Node("root")
    stack = [root]
    names: _Names = {}
    defined: list[str | None] = [None]
    before = word = ""  # the last two words that may be the name of a field or of a kind
    next_name: str | None = None
    words = _WORDS.finditer(text)
    for match in words:
        token = match[0]
        first = token[0]
        node = stack[-1]
        if first == "{":
            _open(Node(word), before, stack, max_depth)
            defined.append(next_name)
            next_name = None
            before = word = ""
        elif first == "}":
            if len(stack) == 1:
                raise FileError("damaged VRML file: a } without its {")
            _close(stack, names, defined.pop(), max_depth)
            before = word = ""
        elif first == "[":
            if len(token) > 1:
                node.fields[word] = token[1:-1]
        elif first == "]":
            before = word = ""
        elif first in "-+.0123456789" or token in ("TRUE", "FALSE"):
            # A field of few numbers. More of them without a bracket are no field that is read.
            value = node.fields.get(word, "")
            if len(value) < _MAX_SCALAR_CHARACTERS:
                node.fields[word] = f"{value} {token}"
        elif token in ("PROTO", "EXTERNPROTO"):
            _refuse(token)
        elif token in ("DEF", "USE"):
            name = next(words, None)
            if name is None:
                raise FileError("truncated VRML file: it ends within a name")
            if token == "DEF":
                next_name = name[0]
            else:
                _use(node, names, name[0], max_depth)
        else:
            before, word = word, token
    if len(stack) > 1:
        raise FileError(f"truncated VRML file: {len(stack) - 1} nodes are not closed")
    return root


def _open(node: Node, field_name: str, stack: list[Node], max_depth: int) -> None:
    if len(stack) > max_depth:
        raise _too_deep(max_depth)
    _refuse(node.kind)
    if field_name != "proxy":  # a simpler stand-in for collisions, never shown
        stack[-1].children.append(node)
    stack.append(node)


def _refuse(kind: str) -> None:
    if kind in _REFUSED:
        raise FileError(f"has {_REFUSED[kind]} ({kind}); export it as faces (IndexedFaceSet)")


def _close(stack: list[Node], names: _Names, name: str | None, max_depth: int) -> None:
    node = stack.pop()
    _deepen(stack[-1], node, max_depth)
    if name is not None:
        # Known from here on: a node cannot hold itself.
        names[name] = node


def _use(node: Node, names: _Names, name: str, max_depth: int) -> None:
    if name not in names:
        raise FileError(f"damaged VRML file: USE {printable(name[:40])} without its DEF")
    node.children.append(names[name])
    _deepen(node, names[name], max_depth)


def _deepen(node: Node, child: Node, max_depth: int) -> None:
    node.depth = max(node.depth, child.depth + 1)
    if node.depth > max_depth + 1:
        raise _too_deep(max_depth)


def _too_deep(max_depth: int) -> FileError:
    return FileError(f"has more than {max_depth} nodes inside each other (--source.limits.max-mesh-depth)")


@dataclass(slots=True)
class _Walk:
    """Visits the nodes in order and hands on the shapes."""

    is_first: bool
    """VRML 1.0: places, coordinates and materials hold for all that follows within the same Separator."""
    shapes: Shapes
    most_visits: int
    num_visits: int = -1
    """How many nodes were visited; the first one is the root, which is none of the file's."""

    def visit(self, node: Node, state: _State) -> None:
        self.num_visits += 1
        if self.num_visits > self.most_visits:
            raise FileError(f"repeats nodes (USE) to more than {self.most_visits:,} (--source.limits.max-mesh-nodes)")
        kind = node.kind
        if kind in _COORDINATES:
            state.points = node.fields.get("point", "")
        elif kind == "Material":
            state.material = node.fields.get("diffuseColor", "")
        elif kind == "Color":
            state.colours = node
        elif kind in ("IndexedFaceSet", "PointSet"):
            inner = state.copy()
            self._visit_all(node.children, inner)
            if inner.points:
                self._add(node, inner)
        elif kind != "IndexedLineSet":
            inner = state.copy() if self._is_scope(kind) else state
            if kind in _PLACES:
                matrix = matrix_of(kind, node.fields)
                inner.matrix = matrix if inner.matrix is None else inner.matrix @ matrix
            self._visit_all(_shown(node), inner)

    def _visit_all(self, nodes: list[Node], state: _State) -> None:
        for node in nodes:
            self.visit(node, state)

    def _is_scope(self, kind: str) -> bool:
        return (not self.is_first and kind != "Appearance") or kind in _SCOPES

    def _add(self, node: Node, state: _State) -> None:
        corners = node.fields.get("coordIndex", "") if node.kind == "IndexedFaceSet" else None
        colours = state.colours
        if colours is None:
            self.shapes.add(state.points or "", corners, state.matrix, state.material)
        else:
            self.shapes.add_coloured(
                state.points or "", corners, state.matrix, colours.fields.get("color", ""), node.fields
            )


def _shown(node: Node) -> list[Node]:
    children = node.children
    if node.kind == "Shape" and len(children) > 1:
        # The appearance holds for the geometry, also where it stands behind it.
        return sorted(children, key=lambda child: child.kind != "Appearance")
    if node.kind in ("LOD", "LevelOfDetail"):
        return children[:1]
    if node.kind == "Switch":
        choice = (node.fields.get("whichChoice") or node.fields.get("whichChild") or "-1").split()[0]
        if choice == "-3":  # VRML 1.0: all
            return children
        return children[int(choice) : int(choice) + 1] if choice.isdecimal() and len(choice) < 10 else []
    return children
