"""Point clouds as rows of numbers: text files, NumPy files and arrays."""

import io
import math
import re
import zipfile
import zlib

import numpy as np

from perceptio.data.limits import Limits
from perceptio.data.mesh import Mesh, check_counts, checked_mesh
from perceptio.data.names import printable
from perceptio.errors import FileError

_COLUMNS = (3, 9)
# How far the length of a vector may be from 1 for it to count as a normal: files round to a few digits.
_UNIT_TOLERANCE = 0.02
_COMMENT = re.compile(r"(?:#|//|;)[^\r\n]*")
_LINE_ENDS = "\n\r\v\f\x1c\x1d\x1e\x85"  # all that `splitlines` knows, among the characters that a byte can be
_SEPARATORS = str.maketrans(",\t", "  ")
# Digits on both sides of a bare comma, in a row that separates by blanks. With a point beside them (1.5,2.5 9) the
# comma can only be a separator too; in a row of bare commas alone (1,2,3) it is the only one.
_COMMA_PAIR = r"[+-]?\d+,\d+(?:[eE][+-]?\d+)?"
_DECIMAL_COMMA = re.compile(rf"(?<=[ \t]){_COMMA_PAIR}(?=,?(?!\S))|(?<!\S){_COMMA_PAIR}(?=,?[ \t])")
_MAX_SHOWN = 100
# Of these zipfile unpacks as much as is asked for, of bzip2 and LZMA all that a block of the file holds.
_BOUNDED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def mesh_of_rows(rows: np.ndarray, limits: Limits) -> Mesh:
    """Makes a point cloud of an array (points, 3 to 9).

    The first three columns are coordinates. Each further whole triple, starting at column 4 of 6 or 9 columns, is the
    normal if all its vectors have length 1, and otherwise the colour if all its values lie within 0 to 1 or 0 to 255.
    What is neither, and the odd columns of 4, 5, 7 or 8, is left out.

    Raises:
        FileError: another shape or type, or values that are no finite numbers.
    """
    if rows.ndim != 2 or not _COLUMNS[0] <= rows.shape[1] <= _COLUMNS[1]:
        raise FileError(f"a point cloud must be (points, 3 to 9), not {rows.shape}; a point is a row")
    if rows.dtype.kind not in "fiu":
        raise FileError(f"a point cloud must hold numbers, not {rows.dtype}")
    check_counts(len(rows), 0, limits)
    normals = colours = None
    rows = rows.astype(np.float64)
    if rows.shape[1] in (6, 9) and len(rows):
        for triple in (rows[:, start : start + 3] for start in range(3, rows.shape[1], 3)):
            if not np.isfinite(triple).all():
                continue
            if normals is None and (np.abs(np.linalg.norm(triple, axis=1) - 1) < _UNIT_TOLERANCE).all():
                normals = triple
            elif colours is None and triple.min() >= 0 and triple.max() <= 255:
                colours = triple / (255.0 if triple.max() > 1 else 1.0)
    return checked_mesh(rows[:, :3], None, normals=normals, colours=colours)


def read_text_rows(text: str, limits: Limits) -> np.ndarray:
    """Reads rows of numbers separated by white space or commas; comments (#, //, ;) and a line of names are skipped.

    A first line that holds nothing but the number of rows is skipped as well.

    Raises:
        FileError: rows of different lengths, words that are no numbers, or decimal commas (0,19 0,55 0,11), which would
            pass for twice as many numbers.
    """
    num_lines = sum(map(text.count, _LINE_ENDS)) - text.count("\r\n")
    if num_lines > limits.max_vertices + 1:  # one may be skipped; others count whether they hold a point or not
        check_counts(num_lines, 0, limits)
    text = _COMMENT.sub("", text)
    # Without the first question the search would cost rows without commas as much as reading them.
    if "," in text and (found := _DECIMAL_COMMA.search(text)):
        number = found.group()[:_MAX_SHOWN]
        raise FileError(
            f"has decimal commas, such as {number}; write {number.replace(',', '.')}, or use one separator throughout "
            "a row"
        )
    lines = [line for line in text.translate(_SEPARATORS).splitlines() if line and not line.isspace()]
    if lines and (_is_count(lines) or not _is_row(lines[0])):
        del lines[0]
    if not lines:
        raise FileError("holds no rows of numbers")
    width = len(lines[0].split())
    if not _COLUMNS[0] <= width <= _COLUMNS[1]:
        raise FileError(f"has rows of {width} numbers; a point needs 3 to 9")
    try:
        rows: np.ndarray = np.loadtxt(lines, dtype=np.float64, comments=None, ndmin=2)
    except ValueError as error:
        reason = printable(" ".join(str(error).split("; ")[0].split()))[:_MAX_SHOWN].rstrip(".")
        raise FileError(f"no table of points: {reason}") from error
    return rows


def read_npy(content: bytes) -> np.ndarray:
    """Returns the array of a .npy file. Nothing is unpickled, and no more memory is taken than the file has bytes.

    Raises:
        FileError: no .npy file, one of Python objects, or a truncated one.
    """
    stream = io.BytesIO(content)
    shape, is_fortran, dtype = read_npy_header(stream)
    start = stream.tell()
    needed = math.prod(shape) * dtype.itemsize
    if len(content) - start < needed:
        raise FileError(f"truncated NumPy file: it declares {needed:,} bytes and holds {len(content) - start:,}")
    flat = np.frombuffer(content, dtype, count=math.prod(shape), offset=start)
    return flat.reshape(shape, order="F" if is_fortran else "C")


def read_npy_header(stream: io.BytesIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Returns shape, whether the first index runs fastest, and type of the array that a .npy stream holds.

    Raises:
        FileError: no .npy stream, or one of Python objects.
    """
    try:
        version = np.lib.format.read_magic(stream)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
        shape, is_fortran, dtype = read(stream)
    except Exception as error:
        # NumPy reads the header with Python's own parser, which raises eight kinds of errors on damaged ones.
        raise FileError("no NumPy file, or a damaged one") from error
    if dtype.hasobject or dtype.fields or dtype.itemsize == 0 or any(length < 0 for length in shape):
        raise FileError("holds Python objects or records; save an array of numbers")
    return shape, is_fortran, dtype


def read_npz(content: bytes, limits: Limits) -> Mesh:
    """Reads the array `points`, or `vertices` with or without `faces`, of a .npz file.

    Raises:
        FileError: no .npz file, a damaged one, or one without these arrays.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            check_members(archive, limits)
            members = {name.removesuffix(".npy"): archive.getinfo(name) for name in archive.namelist()}
            for name in ("points", "vertices", "faces"):
                if name in members and members[name].file_size > limits.max_mesh_file_bytes:
                    raise FileError(
                        f"its array {name!r} has {members[name].file_size:,} bytes; the limit is "
                        f"{limits.max_mesh_file_bytes:,} (--source.limits.max-mesh-file-bytes)"
                    )
            if "points" in members:
                return mesh_of_rows(read_npy(_unpacked(archive, members["points"])), limits)
            if "vertices" not in members:
                found = ", ".join(sorted(map(printable, members))[:5]) or "none"
                raise FileError(f"has no array 'points' or 'vertices'; its arrays: {found}")
            vertices = read_npy(_unpacked(archive, members["vertices"]))
            faces = read_npy(_unpacked(archive, members["faces"])) if "faces" in members else None
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError, ValueError) as error:
        # The content is in memory, so that an OSError tells about its bytes too; these are all that zipfile raises.
        raise FileError("no .npz file, or a damaged one") from error
    if faces is None:
        return mesh_of_rows(vertices, limits)
    if faces.ndim != 2 or faces.shape[1] != 3 or faces.dtype.kind not in "iu":
        raise FileError(f"its faces must be whole numbers (faces, 3), not {faces.dtype} {faces.shape}")
    if vertices.ndim != 2 or vertices.shape[1] != 3 or vertices.dtype.kind not in "fiu":
        raise FileError(f"its vertices must be numbers (vertices, 3), not {vertices.dtype} {vertices.shape}")
    check_counts(len(vertices), len(faces), limits)
    return checked_mesh(vertices, faces)


def check_members(archive: zipfile.ZipFile, limits: Limits) -> None:
    """Raises FileError for an archive of too many members, or with one that zipfile would unpack without bounds."""
    if len(archive.namelist()) > limits.max_archive_members:
        raise FileError(
            f"holds {len(archive.namelist()):,} arrays; the limit is {limits.max_archive_members:,} "
            "(--source.limits.max-archive-members)"
        )
    for member in archive.infolist():
        if member.compress_type not in _BOUNDED:
            raise FileError(
                f"packs {printable(member.filename)[:_MAX_SHOWN]} in a way that is not read; write it with np.savez or "
                "np.savez_compressed"
            )


def _unpacked(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """Returns the bytes of a member, no more than the directory says: asked for all, zipfile unpacks whatever comes."""
    with archive.open(member) as stream:
        return stream.read(member.file_size + 1)


def _is_row(line: str) -> bool:
    try:
        return bool([float(word) for word in line.split()])
    except ValueError:
        return False


def _is_count(lines: list[str]) -> bool:
    return lines[0].strip() == str(len(lines) - 1)
