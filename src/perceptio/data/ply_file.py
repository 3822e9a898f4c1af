"""Reads PLY files: text and both byte orders, polygons of any and of mixed sizes, point clouds.

trimesh gives up on binary files that mix triangles with larger polygons, and takes a text file that was cut short.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from perceptio.data.limits import Limits
from perceptio.data.mesh import Mesh, check_counts, checked_mesh, fan_triangles, parse_numbers
from perceptio.data.names import printable
from perceptio.errors import FileError

_MAX_HEADER_BYTES = 2**20
_END = re.compile(rb"\bend_header[ \t\r]*\n?")
_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
_TYPES = {
    **{"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4"},
    **{"int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4"},
    **{"float": "f4", "double": "f8", "float32": "f4", "float64": "f8"},
}
_CORNERS = ("vertex_indices", "vertex_index")


@dataclass(frozen=True)
class Property:
    """One value of an element, or a list of values."""

    name: str
    value_type: np.dtype
    count_type: np.dtype | None
    """Type of the number that says how long a list is; None: one value."""


@dataclass(frozen=True)
class Element:
    """A table of the file."""

    name: str
    num_rows: int
    properties: tuple[Property, ...]


@dataclass(frozen=True)
class Header:
    """What stands before the values."""

    order: str
    """Byte order, "<" or ">"; empty: text."""
    elements: tuple[Element, ...]
    num_bytes: int


def ply_counts(content: bytes, limits: Limits) -> tuple[int, int]:
    """Returns the numbers of vertices and faces that the header declares; raises as `read_ply`."""
    counts = {element.name: element.num_rows for element in _header(content, limits).elements}
    return counts.get("vertex", 0), counts.get("face", 0)


def read_ply(content: bytes, limits: Limits) -> Mesh:
    """Reads the elements `vertex` and `face`: coordinates, normals, colours of vertices or else of faces.

    Raises:
        FileError: no PLY file, a damaged one, or more elements than the limits allow.
    """
    header = _header(content, limits)
    if header.order:
        tables = dict(_binary_tables(content, header))
    else:
        tables = dict(_text_tables(content[header.num_bytes :].decode("latin-1"), header))
    vertex, face = tables.get("vertex", {}), tables.get("face", {})
    vertices = _columns(vertex, ("x", "y", "z"))
    if vertices is None:
        raise FileError("holds no vertices")
    corners = next((face[name] for name in _CORNERS if name in face), np.zeros(0))
    if (corners < -1).any() or (corners != np.trunc(corners)).any():
        raise FileError("has a face that names a vertex by a broken number")
    colours = _colours(vertex)
    face_colours = _colours(face) if colours is None else None
    if face_colours is not None:
        # Each corner gets a vertex of its own: the same vertex may belong to faces of several colours.
        kept = corners >= 0
        taken = corners[kept].astype(np.int64)
        if len(taken) and taken.max() >= len(vertices):
            raise FileError(f"has a face that names vertex {taken.max():,} of {len(vertices):,}")
        colours = face_colours[np.cumsum(~kept)[kept]]
        vertices, corners = vertices[taken], np.where(kept, np.cumsum(kept) - 1, -1)
        return checked_mesh(vertices, fan_triangles(corners.astype(np.int64), limits), colours=colours)
    normals = _columns(vertex, ("nx", "ny", "nz"))
    return checked_mesh(vertices, fan_triangles(corners.astype(np.int64), limits), normals=normals, colours=colours)


def _header(content: bytes, limits: Limits) -> Header:
    if not content.startswith(b"ply"):
        raise FileError(f"no PLY file: it begins with {printable(content[:16].decode('latin-1'))!r}")
    end = _END.search(content[:_MAX_HEADER_BYTES])
    if end is None:
        raise FileError("truncated PLY file: its header does not end")
    order: str | None = None
    elements: list[Element] = []
    for line in content[: end.start()].decode("latin-1").splitlines()[1:]:
        match line.split():
            case ["format", kind, *_] if kind in _ORDERS:
                order = _ORDERS[kind]
            case ["element", name, number] if number.isdecimal() and len(number) <= 18:
                elements.append(Element(name, int(number), ()))
            case ["property", *kind, name] if elements and kind and set(kind) - {"list"} <= _TYPES.keys():
                element = elements[-1]
                if name in {value.name for value in element.properties}:
                    raise FileError(f"damaged PLY file: it declares {printable(name[:40])!r} twice")
                added = _property(name, kind, order or "<")
                elements[-1] = Element(element.name, element.num_rows, (*element.properties, added))
            case ["comment" | "obj_info", *_] | []:
                pass
            case _:
                raise FileError(f"damaged PLY file: its header says {printable(line[:40])!r}")
    if order is None:
        raise FileError("damaged PLY file: its header does not say how values are written")
    counts: dict[str, int] = {}
    for element in elements:
        counts[element.name] = max(counts.get(element.name, 0), element.num_rows)
    check_counts(counts.pop("vertex", 0), counts.pop("face", 0), limits)
    most = max(counts.values(), default=0)
    if most > limits.max_faces:
        raise FileError(f"declares {most:,} elements; the limit is {limits.max_faces:,} (--source.limits.max-faces)")
    return Header(order, tuple(elements), end.end())


def _property(name: str, kind: list[str], order: str) -> Property:
    if kind[0] != "list":
        return Property(name, np.dtype(order + _TYPES[kind[-1]]), None)
    if len(kind) != 3 or "list" in kind[1:] or _TYPES[kind[1]][0] == "f":
        raise FileError(f"damaged PLY file: its header says {printable(' '.join(kind)[:40])!r}")
    return Property(name, np.dtype(order + _TYPES[kind[2]]), np.dtype(order + _TYPES[kind[1]]))


_Table = Mapping[str, np.ndarray]


def _binary_tables(content: bytes, header: Header) -> Iterator[tuple[str, _Table]]:
    """Yields each table: a column for each single value, and lists end to end, each ended by -1."""
    start = header.num_bytes
    for element in header.elements:
        sizes = _first_sizes(content, start, element)
        row = np.dtype(
            [
                field
                for number, (value, size) in enumerate(zip(element.properties, sizes, strict=True))
                for field in (
                    [(f"v{number}", value.value_type)]
                    if value.count_type is None
                    else [(f"n{number}", value.count_type), (f"v{number}", value.value_type, (size,))]
                )
            ]
        )
        end = start + element.num_rows * row.itemsize
        is_even = end <= len(content)
        rows = np.frombuffer(content[start:end], row) if is_even and row.itemsize else np.zeros(0, row)
        for number, size in enumerate(sizes):
            is_even = is_even and (f"n{number}" not in (row.names or ()) or bool((rows[f"n{number}"] == size).all()))
        if is_even:
            start = end
            yield element.name, _even_table(element, rows)
        elif any(value.count_type is not None for value in element.properties):
            start, table = _uneven_table(content, start, element)
            yield element.name, table
        else:
            raise _truncated(element)


def _first_sizes(content: bytes, start: int, element: Element) -> list[int]:
    """Returns how long the lists of the first row are, as a guess at all of them."""
    sizes = []
    for value in element.properties:
        size = 0
        if value.count_type is not None and element.num_rows:
            size = _length(content, start, value.count_type, element)
            start += value.count_type.itemsize
        sizes.append(size)
        start += value.value_type.itemsize * (1 if value.count_type is None else size)
    return sizes


def _length(content: bytes, start: int, kind: np.dtype, element: Element) -> int:
    if start + kind.itemsize > len(content):
        raise _truncated(element)
    length = int(np.frombuffer(content, kind, count=1, offset=start)[0])
    if not 0 <= length <= len(content) - start:
        raise FileError(f"truncated or damaged PLY file: a list of {length:,} values in {element.name!r}")
    return length


def _even_table(element: Element, rows: np.ndarray) -> _Table:
    table = {}
    for number, value in enumerate(element.properties):
        column = rows[f"v{number}"]
        if value.count_type is not None:
            column = np.pad(column.astype(np.float64), ((0, 0), (0, 1)), constant_values=-1).ravel()
        table[value.name] = column
    return table


def _uneven_table(content: bytes, start: int, element: Element) -> tuple[int, _Table]:
    parts: dict[str, list[np.ndarray]] = {value.name: [] for value in element.properties}
    end_of_list = np.array([-1.0])
    for _ in range(element.num_rows):
        for value in element.properties:
            size = 1
            if value.count_type is not None:
                size = _length(content, start, value.count_type, element)
                start += value.count_type.itemsize
            end = start + size * value.value_type.itemsize
            if end > len(content):
                raise _truncated(element)
            parts[value.name].append(np.frombuffer(content, value.value_type, count=size, offset=start))
            if value.count_type is not None:
                parts[value.name].append(end_of_list)
            start = end
    return start, {name: np.concatenate(arrays) for name, arrays in parts.items()}


def _text_tables(text: str, header: Header) -> Iterator[tuple[str, _Table]]:
    """Yields each table as `_binary_tables` does; a row of the file is a line."""
    lines = [line for line in text.splitlines() if line and not line.isspace()]
    for element in header.elements:
        rows, lines = lines[: element.num_rows], lines[element.num_rows :]
        if len(rows) < element.num_rows:
            raise _truncated(element)
        properties = element.properties
        numbers = parse_numbers("\n".join(rows))
        if all(value.count_type is None for value in properties):
            if len(numbers) != len(rows) * len(properties):
                raise _truncated(element)
            columns = numbers.reshape(len(rows), len(properties)).T
            table = {value.name: column for value, column in zip(properties, columns, strict=True)}
            yield element.name, {name: _whole(column, element, name) for name, column in table.items()}
        else:
            yield element.name, _text_lists(numbers, element)


def _text_lists(numbers: np.ndarray, element: Element) -> _Table:
    columns: dict[str, list[float]] = {value.name: [] for value in element.properties}
    values = iter(numbers.tolist())
    try:
        for _ in range(element.num_rows):
            for value in element.properties:
                size = 1 if value.count_type is None else int(next(values))
                columns[value.name] += [next(values) for _ in range(size)]
                if value.count_type is not None:
                    columns[value.name].append(-1.0)
    except (RuntimeError, StopIteration, ValueError, OverflowError) as error:
        raise _truncated(element) from error
    return {name: _whole(np.array(column), element, name) for name, column in columns.items()}


def _whole(column: np.ndarray, element: Element, name: str) -> np.ndarray:
    """Gives numbers that were read from text the type that the header declares where it says what they mean."""
    declared = next(value.value_type for value in element.properties if value.name == name)
    is_colour = name in ("red", "green", "blue") and declared.kind in "iu"
    return np.clip(column, 0, np.iinfo(declared).max).astype(declared) if is_colour else column


def _columns(table: _Table, names: tuple[str, ...]) -> np.ndarray | None:
    if not all(name in table for name in names) or len(table[names[0]]) == 0:
        return None
    return np.stack([table[name].astype(np.float64) for name in names], axis=1)


def _colours(table: _Table) -> np.ndarray | None:
    colours = _columns(table, ("red", "green", "blue"))
    if colours is None:
        return None
    kind = table["red"].dtype
    return colours / np.iinfo(kind).max if kind.kind in "iu" else colours


def _truncated(element: Element) -> FileError:
    return FileError(
        f"truncated or damaged PLY file: its {element.num_rows:,} rows of {element.name!r} are not all there"
    )
