"""Inputs that hold, or only declare, a number of something that a limit bounds. Each is written into a folder."""

import gzip
import io
import json
import os
import struct
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import trimesh

from perceptio.data.items import Member
from perceptio.data.shards.places import LocalShard
from support.pictures import grey_png
from support.shards import write_tar
from support.sounds import encode, tones, wav_bytes
from support.videos import numbered_frame, write_frames, write_numbered, write_packets

Make = Callable[[Path], Path]

VERTICES = np.array([[0, 0, 0], [2, 0, 0.5], [0, 3, 0], [0.25, 0, 5]])
FACES = np.array([[0, 1, 2], [0, 3, 1], [1, 3, 2]])
VRML = "#VRML V2.0 utf8\n"
SHAPE = "Shape { geometry IndexedFaceSet { coord Coordinate { point [0 0 0, 1 0 0, 0 1 0] } coordIndex [0, 1, 2] } }"
"""Three nodes inside each other."""
MEMBERS = {"1.jpg": b"1" * 9, "1.cls": b"0", "2.jpg": b"2", "2.cls": b"1", "3.jpg": b"3", "3.cls": b"0"}


def saved(name: str, content: bytes | str) -> Make:
    """Writes a file of this content."""

    def make(folder: Path) -> Path:
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return folder / name

    return make


def sparse(name: str, size: int, start: bytes = b"") -> Make:
    """Writes a file that begins with some bytes and has a size, nearly all of which takes no place on the disk."""

    def make(folder: Path) -> Path:
        path = saved(name, start)(folder)
        os.truncate(path, size)
        return path

    return make


# --- pictures, sound and video ---


def png(width: int, height: int, *, cut: bool = False) -> Make:
    """A picture; `cut`: its header alone."""
    return saved("a.png", grey_png(width, height, cut=cut))


def gif(width: int, height: int) -> Make:
    """A film of four small frames whose header declares a size."""

    def make(folder: Path) -> Path:
        path = write_numbered(folder / "a.gif", 4, "gif", layout="rgb8")
        content = bytearray(path.read_bytes())
        content[6:10] = struct.pack("<HH", width, height)
        path.write_bytes(bytes(content))
        return path

    return make


def png_film(width: int, height: int) -> Make:
    """A film of one PNG, whose size the container does not declare."""
    return lambda folder: write_packets(folder / "a.mov", "png", [grey_png(width, height)], (48, 64))


def film(folder: Path) -> Path:
    """Three frames of 98 x 66 pixels."""
    return write_numbered(folder / "a.mp4", 3)


def film_with_sound(folder: Path) -> Path:
    """Two streams."""
    write_frames(folder / "a.mp4", [numbered_frame(number) for number in range(3)], sound=True)
    return folder / "a.mp4"


def film_with_damage(folder: Path) -> Path:
    """Twelve packets, of which three in a row cannot be decoded."""
    path = write_numbered(folder / "a.avi", 12, "mjpeg", layout="yuvj420p")
    content = bytearray(path.read_bytes())
    movie = content.index(b"movi")
    starts = [place for place in range(movie, len(content) - 4) if content[place : place + 4] == b"00dc"]
    for number in (4, 5, 6):
        content[starts[number] + 8 : starts[number + 1]] = bytes(starts[number + 1] - starts[number] - 8)
    path.write_bytes(bytes(content))
    return path


def wav(num_samples: int, *, rate: int = 8000, channels: int = 1) -> Make:
    """Silence."""
    return saved("a.wav", wav_bytes(np.zeros((num_samples, channels)), rate, bits=8))


def endless_flac(folder: Path) -> Path:
    """A second of sound whose header declares 90 days."""
    content = bytearray(encode(folder / "a.flac", tones(1, 8000), 8000, "flac").read_bytes())
    content[21] |= 0x0F  # the four highest of 36 bits that count the samples
    return saved("b.flac", bytes(content))(folder)


def broadcast_sound(seconds: int) -> Make:
    """Sound without a length in its header, whose last packet begins late."""

    def make(folder: Path) -> Path:
        with av.open(str(folder / "a.mka"), "w", options={"live": "1"}) as container:
            stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
            for start in (0, 8000 * seconds - 800):
                frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
                frame.sample_rate, frame.pts, frame.time_base = 8000, start, Fraction(1, 8000)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return folder / "a.mka"

    return make


# --- meshes and arrays ---


def mesh(kind: str) -> Make:
    """Four vertices (of an STL nine) and three faces."""
    if kind == "npz":
        return npz(vertices=VERTICES, faces=FACES)
    if kind == "wrl":
        points = ", ".join(" ".join(map(str, row)) for row in VERTICES)
        corners = ", ".join(" ".join(map(str, [*row, -1])) for row in FACES)
        geometry = f"IndexedFaceSet {{ coord Coordinate {{ point [ {points} ] }} coordIndex [ {corners} ] }}"
        return saved("a.wrl", f"{VRML}Shape {{ geometry {geometry} }}")
    content = trimesh.Trimesh(VERTICES, FACES, process=False).export(file_type=kind)
    assert isinstance(content, bytes | str)
    return saved(f"a.{kind}", content)


def cloud(kind: str) -> Make:
    """Four points."""
    if kind == "npy":
        return npy(VERTICES)
    return saved(f"a.{kind}", "\n".join(" ".join(map(str, row)) for row in VERTICES.tolist()))


def off(num_vertices: int, num_faces: int) -> Make:
    """A header alone."""
    return saved("a.off", f"OFF\n{num_vertices} {num_faces} 0\n0 0 0\n")


def ply(num_vertices: int, num_faces: int) -> Make:
    """A header alone."""
    header = f"ply\nformat binary_little_endian 1.0\nelement vertex {num_vertices}\n"
    header += "".join(f"property float {axis}\n" for axis in "xyz")
    header += f"element face {num_faces}\nproperty list uchar int vertex_indices\nend_header\n"
    return saved("a.ply", header.encode() + bytes(64))


def gltf(*, num_nodes: int = 1, num_vertices: int = 3, num_corners: int = 3) -> Make:
    """A triangle, whose description may declare more than there is."""
    triangle = np.eye(3, dtype="<f4").tobytes() + np.arange(3, dtype="<u4").tobytes()
    views = [{"buffer": 0, "byteOffset": 0, "byteLength": 36}, {"buffer": 0, "byteOffset": 36, "byteLength": 12}]
    tree = {
        "asset": {"version": "2.0"},
        "nodes": [{"mesh": 0}, *({} for _ in range(num_nodes - 1))],
        "scenes": [{"nodes": list(range(num_nodes))}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "type": "VEC3", "count": num_vertices},
            {"bufferView": 1, "componentType": 5125, "type": "SCALAR", "count": num_corners},
        ],
        "bufferViews": views,
        "buffers": [{"byteLength": len(triangle)}],
    }
    text = json.dumps(tree).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<2I", len(text), 0x4E4F534A) + text + struct.pack("<2I", len(triangle), 0x004E4942) + triangle
    return saved("a.glb", struct.pack("<4s2I", b"glTF", 2, 12 + len(chunks)) + chunks)


def vrml(text: str) -> Make:
    """A file of these nodes."""
    return saved("a.wrl", VRML + text)


def scene(num_groups: int) -> Make:
    """A shape, which is three nodes inside each other, inside so many groups."""
    return vrml("Group { children " * num_groups + SHAPE + "}" * num_groups)


def packed_scene(num_bytes: int) -> Make:
    """A gzipped VRML file of so many bytes."""
    return saved("a.wrl", gzip.compress((VRML + SHAPE).ljust(num_bytes).encode()))


def npy(array: np.ndarray) -> Make:
    """An array."""
    stream = io.BytesIO()
    np.save(stream, array)
    return saved("a.npy", stream.getvalue())


def npy_header(kind: str, shape: tuple[int, ...]) -> bytes:
    """What stands before an array."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": kind, "fortran_order": False, "shape": shape})
    return stream.getvalue()


def npz(**arrays: np.ndarray) -> Make:
    """Several arrays, packed."""
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]  # of all names one is an option
    return saved("a.npz", stream.getvalue())


def zipped(
    name: str, start: bytes, num_zeros: int = 0, *, method: int = zipfile.ZIP_DEFLATED, says: int | None = None
) -> Make:
    """An archive of one array: its header and many zeros. `says`: its size by the archive's directory, if a lie."""

    def make(folder: Path) -> Path:
        path = folder / "a.npz"
        with zipfile.ZipFile(path, "w", method, compresslevel=1) as archive, archive.open(f"{name}.npy", "w") as array:
            array.write(start)
            for _ in range(num_zeros // 2**20):
                array.write(bytes(2**20))
        if says is not None:
            content = bytearray(path.read_bytes())
            place = content.rindex(b"PK\x01\x02") + 24
            content[place : place + 4] = struct.pack("<I", says)
            path.write_bytes(bytes(content))
        return path

    return make


def with_long_axes(folder: Path) -> Path:
    """Three values, and a name of an axis that has 67 million characters."""
    path = zipped("axes", npy_header(f"<U{2**26}", (1,)), 2**28)(folder)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("values.npy", npy_header("|u1", (3,)) + b"123")
    return path


def many_arrays(count: int) -> Make:
    """An archive of the array `values` and others that hold nothing."""

    def make(folder: Path) -> Path:
        path = npz(values=np.ones(3), points=VERTICES)(folder)
        with zipfile.ZipFile(path, "a") as archive:
            for number in range(count - 2):
                archive.writestr(f"{number}.npy", b"")
        return path

    return make


# --- tables, folders and shards ---


def idx(num_images: int) -> Make:
    """A folder with IDX files that declare so many images of one pixel, and hold two."""

    def make(folder: Path) -> Path:
        (folder / "train-images-idx3-ubyte").write_bytes(struct.pack(">4I", 0x0803, num_images, 1, 1) + b"\0\1")
        (folder / "train-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 0x0801, num_images) + b"\0\1")
        return folder

    return make


def parquet(num_rows: int) -> Make:
    """A table of numbers from 0 to 1, in one group."""

    def make(folder: Path) -> Path:
        import pyarrow
        import pyarrow.parquet

        numbers = np.arange(num_rows, dtype=np.int32)
        # Numbers that repeat take no place in the file.
        table = pyarrow.table({"file": numbers if num_rows < 99 else numbers >> 31, "label": (numbers & 1)})
        pyarrow.parquet.write_table(table, folder / "m.parquet")
        return folder / "m.parquet"

    return make


def class_folder(*names: str) -> Make:
    """Empty files in a folder."""

    def make(folder: Path) -> Path:
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).touch()
        return folder

    return make


def audioset(num_segments: int) -> Make:
    """AudioSet's lists, with one file that every segment is about."""

    def make(folder: Path) -> Path:
        (folder / "class_labels_indices.csv").write_text("index,mid,display_name\n0,/m/1,Speech\n1,/m/2,Music\n")
        (folder / "eval_segments.csv").write_text("--PJHxphWEs, 30.000, 40.000, /m/1\n" * num_segments)
        (folder / "--PJHxphWEs.wav").touch()
        return folder

    return make


def shards(*, names: Sequence[str] = ("a.tar",), before: str = "", form: int = tarfile.PAX_FORMAT) -> Make:
    """A folder of shards that all hold three pictures, one of nine bytes and two of one, and their labels.

    Args:
        before: what the names of all members begin with.
    """

    def make(folder: Path) -> Path:
        for name in names:
            members = {f"{before}{member}": content for member, content in MEMBERS.items()}
            write_tar(folder / name, members, format=form)
        return folder

    return make


def shards_with(name: str, size: int, start: bytes = b"") -> Make:
    """A folder of a shard and another, sparse file beside it."""

    def make(folder: Path) -> Path:
        shards()(folder)
        sparse(name, size, start)(folder)
        return folder

    return make


def sparse_shard(size: int, kind: bytes = tarfile.REGTYPE) -> Make:
    """A folder of a shard and of another one, whose only member has a size and nearly no place on the disk."""
    entry = tarfile.TarInfo("4.jpg")
    entry.size, entry.type = size, kind
    return shards_with("b.tar", 2**10 * (size // 2**10 + 4), entry.tobuf(tarfile.GNU_FORMAT))


def member(folder: Path) -> Member:
    """A member of a shard, of nine bytes."""
    shard = LocalShard.of(shards()(folder) / "a.tar")
    return Member("1.jpg", shard, 512, 9)
