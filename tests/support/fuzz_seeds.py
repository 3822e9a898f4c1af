"""Small valid files of every format that is read, as seeds for mutants."""

import base64
import io
import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from support.fuzz_inside import GLB, JSON, MODEL, NEAR, NPZ, NUMBERS, OGG, PNG, Inside
from support.sounds import encode, tones, wav_bytes
from support.videos import KINDS, write_numbered

RANDOM = np.random.default_rng(0)
PICTURE = RANDOM.integers(0, 256, (19, 26, 3), dtype=np.uint8)
VERTICES = np.array([[0, 0, 0], [2, 0, 0.5], [0, 3, 0], [0.25, 0, 5], [7, 1, 1], [-1, -2, 4]], dtype=np.float64)
FACES = np.array([[0, 1, 2], [0, 3, 1], [1, 4, 5], [5, 2, 0]])


@dataclass(frozen=True)
class Format:
    """A kind of file.

    Attributes:
        kind: which modality reads it, or "table", "json", "model".
        words: what mutants of it may contain.
        inside: how mutants get past a checksum or a grammar, where there is one.
    """

    suffix: str
    kind: str
    make: Callable[[Path], bytes]
    """Takes the path that the file is to have; returns its bytes."""
    words: tuple[bytes, ...] = ()
    inside: Inside | None = None


def _image(format: str, **options) -> Callable[[Path], bytes]:
    def make(path: Path) -> bytes:
        stream = io.BytesIO()
        Image.fromarray(PICTURE).save(stream, format, **options)
        return stream.getvalue()

    return make


def _animation(path: Path) -> bytes:
    stream = io.BytesIO()
    frames = [Image.fromarray(np.roll(PICTURE, step, axis=1)) for step in range(3)]
    frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:], duration=40)
    return stream.getvalue()


def _sound(codec: str, *, rate: int = 8000, channels: int = 1, **settings: Any) -> Callable[[Path], bytes]:
    def make(path: Path) -> bytes:
        return encode(path, tones(0.3, rate, channels), rate, codec, **settings).read_bytes()

    return make


def _wav(path: Path) -> bytes:
    return wav_bytes(np.rint(9000 * tones(0.1, 8000)).astype(np.int64), 8000, bits=16)


def _video(name: str) -> Callable[[Path], bytes]:
    return lambda path: write_numbered(path, 8, size=(34, 50), **KINDS[name]).read_bytes()


def _mesh(path: Path) -> bytes:
    import trimesh

    kind = path.suffix[1:]
    shape = trimesh.Trimesh(VERTICES, FACES, process=False)
    if kind == "gltf":
        files = trimesh.exchange.gltf.export_gltf(trimesh.Scene(shape), merge_buffers=True)
        tree = json.loads(files.pop("model.gltf"))
        (content,) = files.values()
        tree["buffers"][0]["uri"] = "data:application/octet-stream;base64," + base64.b64encode(content).decode()
        return json.dumps(tree).encode()
    content = shape.export(file_type=kind)
    return content.encode() if isinstance(content, str) else content


def _ply_text(path: Path) -> bytes:
    import trimesh

    content = trimesh.Trimesh(VERTICES, FACES, process=False).export(file_type="ply", encoding="ascii")
    return content.encode() if isinstance(content, str) else content


def _vrml(path: Path) -> bytes:
    points = ", ".join(" ".join(map(str, row)) for row in VERTICES)
    corners = ", ".join(" ".join(map(str, [*row, -1])) for row in FACES)
    shape = f"IndexedFaceSet {{ coord Coordinate {{ point [ {points} ] }} coordIndex [ {corners} ] }}"
    return f"#VRML V2.0 utf8\nTransform {{ translation 1 2 3 children Shape {{ geometry {shape} }} }}\n".encode()


def _rows(path: Path) -> bytes:
    return "\n".join(" ".join(map(str, row)) for row in VERTICES).encode()


def _array(path: Path) -> bytes:
    stream = io.BytesIO()
    save = np.savez_compressed if path.suffix == ".npz" else np.save
    save(stream, np.linspace(-1, 1, 60, dtype=np.float32).reshape(5, 12))
    return stream.getvalue()


def _table(path: Path) -> bytes:
    rows = [
        {"file": f"a/{number}.png", "label": "cat" if number % 2 else "dog", "split": "train"} for number in range(9)
    ]
    if path.suffix == ".jsonl":
        return "".join(json.dumps(row) + "\n" for row in rows).encode()
    if path.suffix == ".csv":
        return "\n".join(["file,label,split", *(",".join(row.values()) for row in rows)]).encode()
    import pyarrow
    import pyarrow.parquet

    stream = io.BytesIO()
    rows = [{**row, "file": f"{number:040}.png"} for number, row in enumerate(rows * 20)]
    # Most of the file shall be rows, and nothing in it packed.
    table = pyarrow.Table.from_pylist(rows)
    pyarrow.parquet.write_table(table, stream, compression="none", store_schema=False, use_dictionary=False)
    return stream.getvalue()


def _config(path: Path) -> bytes:
    from perceptio.runs.serialisation import dump, to_json
    from support.configs import tiny_config

    return dump(to_json(tiny_config())).encode()


def _model(path: Path) -> bytes:
    from perceptio.models.perceiver import build_perceiver
    from perceptio.runs.model_file import ModelFacts, write_model
    from support.configs import tiny_config

    config = tiny_config()
    model = build_perceiver(config.input_config(), config.model, 3)
    write_model(path, model.state_dict(), ModelFacts(config=config, classes=("a", "b", "c"), task="single_label"))
    return path.read_bytes()


_NUMBERS = (b"-1", b"0", b"nan", b"inf", b"1e400", b"99999999999", b"4294967296", b"1e-400", b"0x10", b"-")
_BOXES = (b"moov", b"stbl", b"stsz", b"stco", b"co64", b"ctts", b"mdat", b"ftyp", b"uuid", b"free", b"m3u8", b"url ")
_JSON = (b"{", b"}", b"[", b"]", b'"', b",", b":", b"null", b"NaN", b"1e999", b"\\ud800", b'"uri":"x"', *_NUMBERS)
_MESH = (b"vertex", b"face", b"element", b"property", b"list", b"mtllib x", b"usemtl x", *_NUMBERS)
_VRML = (
    b"{",
    b"}",
    b"[",
    b"]",
    b"DEF A",
    b"USE A",
    b'Inline { url "x" }',
    b"Transform {",
    b"children",
    b'"',
    *_NUMBERS,
)

FORMATS: Mapping[str, Format] = {
    "jpeg": Format(".jpg", "image", _image("JPEG"), (b"\xff\xd8", b"\xff\xc0", b"\xff\xc4", b"\xff\xda", b"Exif\0\0")),
    "jpeg progressive": Format(".jpg", "image", _image("JPEG", progressive=True), (b"\xff\xc2", b"\xff\xdd")),
    "png": Format(".png", "image", _image("PNG"), (b"IHDR", b"IDAT", b"IEND", b"PLTE", b"tRNS", b"zTXt", b"eXIf"), PNG),
    "webp": Format(".webp", "image", _image("WEBP"), (b"VP8 ", b"VP8L", b"VP8X", b"ANIM", b"ALPH")),
    "gif": Format(".gif", "image", _animation, (b"!\xf9", b"!\xff", b",\0", b";")),
    "bmp": Format(".bmp", "image", _image("BMP"), (b"BM",)),
    "tiff": Format(".tif", "image", _image("TIFF"), (b"II*\0", b"MM\0*")),
    "tiff deflated": Format(".tif", "image", _image("TIFF", compression="tiff_deflate"), (b"II*\0",)),
    "ppm": Format(".ppm", "image", _image("PPM"), (b"P6", b"P1", b"P3", b"#", b"\n", *_NUMBERS)),
    "wav": Format(".wav", "audio", _wav, (b"fmt ", b"data", b"LIST", b"RIFX", b"RF64", b"fact")),
    "flac": Format(".flac", "audio", _sound("flac", sample_format="s16"), (b"fLaC",)),
    "mp3": Format(".mp3", "audio", _sound("mp3"), (b"ID3", b"Xing", b"TAG", b"\xff\xfb")),
    "ogg vorbis": Format(
        ".ogg",
        "audio",
        _sound("vorbis", rate=16_000, channels=2, options={"strict": "-2"}),
        (b"OggS", b"\x01vorbis"),
        OGG,
    ),
    "ogg opus": Format(".opus", "audio", _sound("libopus", rate=48_000), (b"OggS", b"OpusHead", b"OpusTags"), OGG),
    "m4a": Format(".m4a", "audio", _sound("aac"), _BOXES, NEAR),
    "aiff": Format(".aiff", "audio", _sound("pcm_s16be"), (b"COMM", b"SSND", b"FORM", b"AIFC")),
    "mp4": Format(".mp4", "video", _video("h264.mp4"), _BOXES, NEAR),
    "mov": Format(".mov", "video", _video("h264.mov"), _BOXES, NEAR),
    "mkv": Format(
        ".mkv", "video", _video("h264.mkv"), (b"\x1a\x45\xdf\xa3", b"\x1f\x43\xb6\x75", b"\xa3", b"\xae"), NEAR
    ),
    "webm": Format(".webm", "video", _video("vp8.webm"), (b"\x1a\x45\xdf\xa3", b"\x1f\x43\xb6\x75", b"V_VP9")),
    "avi": Format(".avi", "video", _video("mpeg4.avi"), (b"LIST", b"idx1", b"strh", b"strf", b"movi", b"JUNK")),
    "gif film": Format(".gif", "video", _animation, (b"!\xf9", b"!\xff", b",\0", b";")),
    "off": Format(".off", "points", _mesh, (b"OFF", b"COFF", b"#", *_NUMBERS), NEAR),
    "ply text": Format(".ply", "points", _ply_text, _MESH, NEAR),
    "ply binary": Format(".ply", "points", _mesh, _MESH, NEAR),
    "obj": Format(".obj", "points", _mesh, (b"v ", b"f ", b"vn ", b"g ", b"/", *_MESH)),
    "stl": Format(".stl", "points", _mesh, (b"solid", b"facet", b"vertex"), NEAR),
    "gltf": Format(".gltf", "points", _mesh, _JSON, JSON),
    "glb": Format(".glb", "points", _mesh, _JSON, GLB),
    "wrl": Format(".wrl", "points", _vrml, _VRML, NUMBERS),
    "xyz": Format(".xyz", "points", _rows, _NUMBERS, NUMBERS),
    "npy": Format(
        ".npy", "array", _array, (b"'O'", b"'<f8'", b"'|S9'", b"(9999999999,)", b"True", b"()", b"(((((("), NEAR
    ),
    "npz": Format(".npz", "array", _array, (b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06", b"../", b"'O'"), NPZ),
    "csv": Format(".csv", "table", _table, (b",", b";", b'"', b"\0", b"../", b"\r", b"label", b"\xff\xfe")),
    "jsonl": Format(".jsonl", "table", _table, (*_JSON, b"\n", b'"label":"x"', b"../"), JSON),
    "parquet": Format(".parquet", "table", _table, (b"PAR1",), NEAR),
    "json": Format(".json", "json", _config, _JSON, JSON),
    "model": Format(".safetensors", "model", _model, (b"F32", b"BF16", b"__metadata__", b"shape", *_JSON), MODEL),
}


def seed_of(name: str) -> bytes:
    """Returns a valid file of a format, the same each time."""
    format = FORMATS[name]
    with tempfile.TemporaryDirectory() as folder:
        return format.make(Path(folder) / f"seed{format.suffix}")
