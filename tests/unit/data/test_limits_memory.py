"""Every limit: what is just inside is read, what is just outside is refused by name, soon, and without its memory."""

import dataclasses
import re
import tarfile
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest

from perceptio.data.array_files import read_array
from perceptio.data.audio_files import AudioFile, probe_audio
from perceptio.data.audioset import read_audioset
from perceptio.data.children import Children
from perceptio.data.folder import read_folder
from perceptio.data.idx import read_idx
from perceptio.data.image_files import decode_image, probe_image
from perceptio.data.limits import Limits, check_file
from perceptio.data.manifest import read_manifest
from perceptio.data.mesh_files import probe_mesh, read_mesh
from perceptio.data.names import check_classes
from perceptio.data.shards.index import index_bytes, shard_names
from perceptio.data.shards.patterns import expand_braces, find_shards
from perceptio.data.shards.source import read_shards
from perceptio.data.shards.tables import index_beside, read_tables
from perceptio.data.video_files import check_video, open_video
from perceptio.errors import DataError, FileError, UsageError
from perceptio.modalities.registry import MODALITIES
from perceptio.modalities.streams import StreamReader, single_stream
from support import bounded
from support.bounded import saved, sparse
from support.harmful import MEMORY_BYTES, act
from support.memory import cost_of, is_measurable

Read: TypeAlias = Callable[[Any, Limits], object]

MOST_SECONDS = 2.0
MOST_BYTES = 64 * 2**20
ROOT = Path(__file__).resolve().parents[3]


def option_of(limit: str) -> str:
    """The option that a refusal must name."""
    return f"--source.limits.{limit.replace('_', '-')}"


def refusal(read: Read, item: Any, limits: Limits) -> str:
    """Returns why something is refused, or nothing; other errors than those meant for people end the test."""
    try:
        read(item, limits)
    except (FileError, DataError, UsageError) as error:
        return str(error)
    return ""


# --- what is called ---


def decode(path: Path, limits: Limits) -> object:
    return decode_image(path, 3, limits)


def audioset_of(folder: Path, limits: Limits) -> object:
    return read_audioset(folder, limits, (frozenset({".wav"}),))


def look_at_film(path: Path, limits: Limits) -> None:
    open_video(path, limits).close()


def frames(count: int) -> Read:
    """Reads so many frames of a film."""

    def read(path: Path, limits: Limits) -> object:
        with open_video(path, limits) as video:
            return video.frames_at([0.0] * count)

    return read


def window(num_samples: int, channels: int) -> Read:
    """Reads samples at the file's own rate."""

    def read(path: Path, limits: Limits) -> object:
        with AudioFile(path, 1 if channels == 1 else 2, limits) as sound:
            return sound.read(0.0, num_samples, sound.sample_rate_hz)

    return read


def sound_of(path: Path, limits: Limits) -> None:
    AudioFile(path, 1, limits).close()


def shards_of(folder: Path, limits: Limits) -> object:
    return read_shards(str(folder), limits)


def members_of(folder: Path, limits: Limits) -> None:
    """Reads shards, and raises for the first of their members that is left out."""
    for skipped in read_shards(str(folder), limits).skipped:
        raise FileError(skipped.reason)


def index_of(place: Path, limits: Limits) -> None:
    """Reads the index beside shards, and raises for what is wrong with it."""
    folder = place.parent if place.is_file() else place
    _, problem = index_beside(find_shards(str(folder), limits), limits)
    if problem:
        raise FileError(problem)


def regular(item: Any, limits: Limits) -> object:
    return check_file(item, None, limits)


def idx_of(folder: Path, limits: Limits) -> object:
    return read_idx(folder, limits=limits)


def class_names(names: Iterable[str], limits: Limits) -> object:
    return check_classes(names, limits, where="it")


def index_file(folder: Path, *names: str) -> Path:
    """The index of shards that lie beside it."""
    bounded.shards(names=names or ("a.tar",))(folder)
    tables = read_tables(find_shards(str(folder), Limits()), Limits())
    (folder / "index.jsonl").write_bytes(index_bytes([table for _, table in tables.shards]))
    return folder / "index.jsonl"


def index_alone(index: Path, limits: Limits) -> object:
    return shard_names(index.read_bytes(), limits)


# --- just inside and just outside ---


@dataclass(frozen=True)
class Case:
    """An input that holds `amount` of what a limit bounds (None: it is a file, and its bytes are bounded)."""

    limit: str
    amount: int | None
    make: Callable[[Path], Any]
    read: Read
    message: str


CSV = "file,label\na.png,cat\nb.png,dog\n"
LINES = 'file,label,note\na.png,cat,\nb.png,dog,"1\n234"\n'
JSONL = '{"file": "a.png", "label": "cat"}\n{"file": "b.png", "label": "dog"}\n'
NAME = "é" * 5 + "a"
LONG = "n" * 150
TABLE_OF_PATH = f"file,label\n{NAME},cat\nb,dog\n"
TABLE_OF_LABEL = f"file,label\na,{NAME}\nb,dog\n"
USED_AGAIN = f"{bounded.VRML}DEF s {bounded.SHAPE} USE s"
USED_DEEPER = f"{bounded.VRML}DEF s {bounded.SHAPE} Group {{ USE s }}"
FACED = ("off", "ply", "obj", "stl", "glb", "wrl", "npz")
CLOUDS = ("xyz", "npy")
FRAMES = "^declares frames of 98 x 66 = 6,468 pixels; the limit is 6,467 "

FILES = (
    Case("max_file_bytes", None, saved("a", b"1" * 100), regular, "^has 100 bytes; the limit is 99 "),
    Case("max_file_bytes", None, saved("m.csv", CSV), read_manifest, r"^m\.csv: has 31 bytes; the limit is 30 "),
    Case("max_file_bytes", None, bounded.film, check_video, r"^has [\d,]+ bytes; the limit is "),
    Case("max_image_file_bytes", None, bounded.png(11, 7), probe_image, r"^image file of \d+ bytes; the limit is "),
    Case("max_mesh_file_bytes", None, bounded.mesh("off"), read_mesh, r"^has \d+ bytes; the limit of meshes is "),
    Case(
        "max_mesh_file_bytes", 1000, bounded.packed_scene(1000), read_mesh, "^holds more than 999 bytes once unpacked "
    ),
    Case("max_mesh_file_bytes", 8120, bounded.npz(points=np.zeros((333, 3))), probe_mesh, "'points' has 8,120 bytes; "),
)
PICTURES_AND_SOUND = (
    Case("max_image_pixels", 77, bounded.png(11, 7), probe_image, "^declares 11 x 7 = 77 pixels; the limit is 76 "),
    Case("max_image_pixels", 77, bounded.png(11, 7), decode, "^declares 11 x 7 = 77 pixels; the limit is 76 "),
    Case("max_image_side", 11, bounded.png(11, 7), decode, "^declares 11 x 7 pixels; the limit is 10 a side "),
    Case(
        "max_image_side", 98, bounded.film, look_at_film, "^declares frames of 98 x 66 pixels; the limit is 97 a side "
    ),
    Case("max_frame_pixels", 6468, bounded.film, look_at_film, FRAMES),
    Case("max_frame_pixels", 6468, bounded.film, check_video, FRAMES),
    Case("max_clip_pixels", 3 * 6468, bounded.film, frames(3), "^3 frames of 98 x 66 pixels .* the limit is 19,403 "),
    Case("max_bad_packets", 3, bounded.film_with_damage, check_video, "^damaged: 3 packets .*; the limit is 2 "),
    Case("max_media_streams", 2, bounded.film_with_sound, look_at_film, "^holds 2 streams; the limit is 1 "),
    Case("max_media_streams", 2, bounded.film_with_sound, probe_audio, "^holds 2 streams; the limit is 1 "),
    Case("max_sound_seconds", 3, bounded.wav(24_000), probe_audio, "^declares 3 s of sound; the limit is 2 s "),
    Case("max_sound_seconds", 3, bounded.wav(24_000), sound_of, "^declares 3 s of sound; the limit is 2 s "),
    Case(
        "max_sound_seconds", 40, bounded.broadcast_sound(40), probe_audio, "^declares 40 s of sound; the limit is 39 s "
    ),
    Case("max_sample_rate_hz", 8000, bounded.wav(9), probe_audio, "^declares 8,000 .*; it must be 1 to 7,999 "),
    Case("max_sound_channels", 3, bounded.wav(9, channels=3), sound_of, "^declares 3 channels .*; it must be 1 to 2 "),
    Case("max_window_values", 100, bounded.wav(9), window(100, 1), "^a window .* has 100 samples .*; the limit is 99 "),
    Case("max_window_values", 100, bounded.wav(9), window(50, 2), "^a window .* has 50 samples .*; the limit is 49 "),
)
MESHES_AND_ARRAYS = (
    *(
        Case(
            "max_vertices",
            9 if kind == "stl" else 4,
            bounded.mesh(kind),
            read,
            "^has [49] vertices; the limit is [38] ",
        )
        for kind in FACED
        for read in (probe_mesh, read_mesh)
    ),
    *(
        Case("max_vertices", 4, bounded.cloud(kind), read, "^has 4 vertices; the limit is 3 ")
        for kind in CLOUDS
        for read in (probe_mesh, read_mesh)
    ),
    *(
        Case("max_faces", 3, bounded.mesh(kind), read, "^has 3 faces; the limit is 2 ")
        for kind in FACED
        for read in (probe_mesh, read_mesh)
    ),
    Case("max_mesh_nodes", 6, bounded.vrml(bounded.SHAPE * 2), read_mesh, "^has more than 5 nodes "),
    Case("max_mesh_nodes", 6, saved("a.wrl", USED_AGAIN), read_mesh, r"^repeats nodes \(USE\) to more than 5 "),
    Case("max_mesh_depth", 7, bounded.scene(4), read_mesh, "^has more than 6 nodes inside each other "),
    Case("max_mesh_depth", 4, saved("a.wrl", USED_DEEPER), read_mesh, "^has more than 3 nodes inside each other "),
    Case("max_scene_nodes", 7, bounded.gltf(num_nodes=7), read_mesh, "^has 7 nodes; the limit is 6 "),
    Case("max_array_bytes", 44, bounded.npy(np.ones(11)), read_array, "^takes 44 bytes as float32; the limit is 43 "),
    Case("max_array_bytes", 44, bounded.npz(values=np.ones(11)), read_array, "^takes 44 bytes .*; the limit is 43 "),
    Case("max_archive_members", 3, bounded.many_arrays(3), read_array, "^holds 3 arrays; the limit is 2 "),
    Case("max_archive_members", 3, bounded.many_arrays(3), read_mesh, "^holds 3 arrays; the limit is 2 "),
)
TABLES_AND_FOLDERS = (
    Case("max_manifest_rows", 2, saved("m.csv", CSV), read_manifest, r"^m\.csv has more than 1 rows "),
    Case("max_manifest_rows", 2, saved("m.jsonl", JSONL), read_manifest, r"^m\.jsonl has more than 1 rows "),
    Case("max_manifest_rows", 2, bounded.parquet(2), read_manifest, r"^m\.parquet has 2 rows; the limit is 1 "),
    Case("max_manifest_rows", 2, bounded.class_folder("a/1", "b/1"), read_folder, "/ holds more than 1 files "),
    Case("max_manifest_rows", 2, bounded.audioset(2), audioset_of, "/ lists more than 1 segments that have a file "),
    Case("max_manifest_rows", 2, bounded.idx(2), idx_of, "declares 2 bytes; the limits are .* bytes .* and 1 rows "),
    Case(
        "max_manifest_line_bytes",
        22,
        saved("m.csv", CSV + "c" * 17 + ",cat\n"),
        read_manifest,
        "line 4: longer than 21 ",
    ),
    Case(
        "max_manifest_line_bytes", 18, saved("m.csv", LINES), read_manifest, r"^m\.csv, line 4: longer than 17 bytes "
    ),
    Case("max_manifest_line_bytes", 34, saved("m.jsonl", JSONL), read_manifest, r"^m\.jsonl, line 1: longer than 33 "),
    Case("max_manifest_line_bytes", 34, bounded.audioset(1), audioset_of, "line 1: longer than 33 bytes "),
    Case(
        "max_manifest_field_bytes",
        11,
        saved("m.csv", TABLE_OF_PATH),
        read_manifest,
        "a path of 11 bytes; the limit is 10 ",
    ),
    Case("max_manifest_columns", 2, saved("m.csv", CSV), read_manifest, r"^m\.csv has 2 columns; the limit is 1 "),
    Case("max_manifest_columns", 2, saved("m.jsonl", JSONL), read_manifest, "line 1 has 2 columns; the limit is 1 "),
    Case("max_manifest_columns", 2, bounded.parquet(2), read_manifest, r"^m\.parquet has 2 columns; the limit is 1 "),
    Case("max_classes", 3, saved("m.csv", CSV + "c.png,ape\n"), read_manifest, "^m.csv has 3 classes; the limit is 2 "),
    Case("max_classes", 3, bounded.class_folder("a/1", "b/1", "c/1"), read_folder, "/ has 3 classes; the limit is 2 "),
    Case("max_classes", 2, bounded.audioset(1), audioset_of, "^class_labels_indices.csv has more than 1 classes "),
    Case(
        "max_name_characters",
        6,
        saved("m.csv", TABLE_OF_LABEL),
        read_manifest,
        "a name of 6 characters; the limit is 5 ",
    ),
    Case(
        "max_name_characters",
        6,
        bounded.class_folder(f"{NAME}/1", "b/1"),
        read_folder,
        "of 6 characters; the limit is 5 ",
    ),
)
SHARDS = (
    Case("max_shards", 10, lambda folder: "a-{0..9}.tar", expand_braces, "stands for more than 9 shards "),
    Case("max_shards", 2, bounded.shards(names=("a.tar", "b.tar")), shards_of, "/ holds more than 1 shards "),
    Case(
        "max_shard_index_bytes",
        None,
        index_file,
        index_of,
        r"^index\.jsonl is not used: has [\d,]+ bytes; the limit is ",
    ),
    Case("max_shards", 2, lambda folder: index_file(folder, "a.tar", "b.tar"), index_alone, "or more than 1 "),
    Case(
        "max_shard_members",
        3,
        index_file,
        index_of,
        "^index.jsonl is not used: lists 3 members of a shard; the limit is 2 ",
    ),
    Case("max_shard_members", 6, bounded.shards(), shards_of, r"a\.tar: has more than 5 members "),
    Case("max_shard_members", 6, bounded.shards(before=LONG), shards_of, r"a\.tar: has more than 5 members "),
    Case("max_member_bytes", 9, bounded.shards(), members_of, "^has 9 bytes; the limit is 8 "),
    Case("max_member_bytes", 9, bounded.member, regular, "^has 9 bytes; the limit of a shard's members is 8 "),
    Case(
        "max_member_name_bytes", 16, bounded.shards(before=NAME), members_of, "its name has 16 bytes; the limit is 15 "
    ),
    Case(
        "max_shard_header_bytes",
        156,
        bounded.shards(before=LONG, form=tarfile.GNU_FORMAT),
        shards_of,
        "header of 156 bytes; the limit is 155 ",
    ),
)
CASES = (*FILES, *PICTURES_AND_SOUND, *MESHES_AND_ARRAYS, *TABLES_AND_FOLDERS, *SHARDS)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.limit}-{case.message[:30]}")
def test_just_inside_a_limit_is_read_and_just_outside_is_refused_by_name(tmp_path: Path, case: Case) -> None:
    item = case.make(tmp_path)
    amount = item.stat().st_size if case.amount is None else case.amount
    reason = refusal(case.read, item, Limits(**{case.limit: amount - 1}))
    assert re.search(case.message, reason), reason
    assert option_of(case.limit) in reason
    assert refusal(case.read, item, Limits(**{case.limit: amount})) == ""


# --- what a file only declares takes no memory ---


@dataclass(frozen=True)
class Reader:
    """What is called, and something that it reads, so that what is imported on the way is no part of a cost."""

    read: Read
    good: Callable[[Path], Any]


@dataclass(frozen=True)
class Declared:
    """A small or sparse file that asks for more than a limit has by default."""

    limit: str
    make: Callable[[Path], Any]
    reader: Reader
    message: str


PICTURE, FILM, GIF = Reader(decode, bounded.png(11, 7)), Reader(look_at_film, bounded.film), bounded.gif(98, 66)
SOUND, TABLE = Reader(sound_of, bounded.wav(99)), Reader(read_manifest, saved("m.csv", CSV))
OFF, PLY, GLB = (Reader(read_mesh, bounded.mesh(kind)) for kind in ("off", "ply", "glb"))
VRML, ZIPPED = Reader(read_mesh, bounded.vrml(bounded.SHAPE)), Reader(read_mesh, bounded.mesh("npz"))
ARRAY, ARRAYS = Reader(read_array, bounded.npy(np.ones(3))), Reader(read_array, bounded.npz(values=np.ones(3)))
MEMBERS, INDEX = Reader(members_of, bounded.shards()), Reader(index_of, bounded.shards())
CLASSES = Reader(class_names, lambda folder: ("a", "b"))
PATTERN = Reader(expand_braces, lambda folder: "a-{0..9}.tar")

NINE_POINTS, MANY_VALUES = bounded.npy_header("<f8", (9, 3)), bounded.npy_header("|u1", (2**28 + 1,))
CELLS = "file,label\n" + '"\n",' * 2_000_000

DECLARED = (
    Declared("max_file_bytes", sparse("a.mp4", 2**32 + 1), FILM, "^has 4,294,967,297 bytes; "),
    Declared("max_file_bytes", sparse("a.wav", 2**32 + 1), SOUND, "^has 4,294,967,297 bytes; "),
    Declared("max_file_bytes", sparse("a.npy", 2**32 + 1), ARRAY, "^has 4,294,967,297 bytes; "),
    Declared("max_file_bytes", sparse("m.csv", 2**32 + 1), TABLE, r"^m\.csv: has 4,294,967,297 bytes; "),
    Declared("max_image_file_bytes", sparse("a.png", 2**28 + 1), PICTURE, "^image file of 268,435,457 bytes; "),
    Declared("max_image_pixels", bounded.png(8001, 8000, cut=True), PICTURE, "= 64,008,000 pixels; "),
    Declared("max_image_pixels", bounded.png(65_535, 65_535, cut=True), PICTURE, "^declares more pixels than the "),
    Declared("max_image_side", bounded.png(65_536, 1, cut=True), PICTURE, "^declares 65,536 x 1 pixels; "),
    Declared("max_image_side", bounded.png_film(65_536, 1), FILM, "^declares frames of 65,536 x 1 pixels; "),
    Declared("max_frame_pixels", bounded.gif(6001, 6000), Reader(look_at_film, GIF), "^declares frames of 6,001 x "),
    Declared("max_frame_pixels", bounded.png_film(16_384, 8192), FILM, "beyond the limit of 36,000,000 pixels "),
    Declared("max_clip_pixels", bounded.film, Reader(frames(41_504), bounded.film), "^41,504 frames of 98 x 66 "),
    Declared("max_window_values", bounded.wav(99), Reader(window(2**27 + 1, 1), bounded.wav(99)), "has 134,217,729 "),
    Declared("max_window_values", bounded.wav(99), Reader(window(2**26 + 1, 2), bounded.wav(99)), "has 67,108,865 "),
    Declared("max_sound_seconds", bounded.endless_flac, SOUND, r"^declares 8,\d\d\d,\d+ s of sound; "),
    Declared("max_sample_rate_hz", bounded.wav(9, rate=1_000_001), SOUND, "^declares 1,000,001 samples a second; "),
    Declared("max_sound_channels", bounded.wav(9, channels=65), SOUND, "^declares 65 channels of sound; "),
    Declared("max_mesh_file_bytes", sparse("a.off", 2**29 + 1), OFF, "^has 536,870,913 bytes; "),
    Declared("max_mesh_file_bytes", bounded.zipped("points", NINE_POINTS, says=2**29 + 1), ZIPPED, "has 536,870,913 "),
    Declared("max_vertices", bounded.off(20_000_001, 1), OFF, "^has 20,000,001 vertices; "),
    Declared("max_vertices", bounded.ply(20_000_001, 1), PLY, "^has 20,000,001 vertices; "),
    Declared("max_vertices", bounded.gltf(num_vertices=20_000_001), GLB, "^has 20,000,001 vertices; "),
    Declared("max_faces", bounded.off(3, 40_000_001), OFF, "^has 40,000,001 faces; "),
    Declared("max_faces", bounded.ply(3, 40_000_001), PLY, "^has 40,000,001 faces; "),
    Declared("max_faces", bounded.gltf(num_corners=120_000_003), GLB, "^has 40,000,001 faces; "),
    Declared("max_mesh_nodes", bounded.vrml("{}" * 5_000_001), VRML, "^has more than 5,000,000 nodes "),
    Declared("max_mesh_depth", bounded.scene(198), VRML, "^has more than 200 nodes inside each other "),
    Declared("max_scene_nodes", bounded.gltf(num_nodes=100_001), GLB, "^has 100,001 nodes; "),
    Declared("max_array_bytes", saved("a.npy", MANY_VALUES), ARRAY, "^takes 1,073,741,828 bytes as float32; "),
    Declared("max_array_bytes", bounded.zipped("values", MANY_VALUES, 2**25), ARRAYS, "^takes 1,073,741,828 bytes "),
    Declared("max_archive_members", bounded.many_arrays(1025), ARRAYS, "^holds 1,025 arrays; "),
    Declared("max_manifest_rows", bounded.parquet(10_000_001), TABLE, r"^m\.parquet has 10,000,001 rows; "),
    Declared(
        "max_manifest_rows", bounded.idx(10_000_001), Reader(idx_of, bounded.idx(2)), "declares 10,000,001 bytes; "
    ),
    Declared("max_manifest_line_bytes", sparse("m.csv", 2**31, CSV.encode()), TABLE, "line 4: longer than 1,048,576 "),
    Declared("max_manifest_line_bytes", saved("m.csv", CELLS), TABLE, ": longer than 1,048,576 bytes "),
    Declared("max_manifest_columns", saved("m.csv", "," * 500_000 + "\n"), TABLE, "has 500,001 columns; "),
    Declared("max_manifest_field_bytes", saved("m.csv", f"file,label\n{'a' * 65_537},b\n"), TABLE, "of 65,537 bytes; "),
    Declared("max_classes", lambda folder: map(str, range(100_001)), CLASSES, "^it has 100,001 classes; "),
    Declared(
        "max_classes", bounded.shards_with("classes.txt", 2**34), MEMBERS, "^classes.txt has 17,179,869,184 bytes; "
    ),
    Declared("max_shards", lambda folder: "a-{000000..100000}.tar", PATTERN, "stands for more than 100,000 shards "),
    Declared(
        "max_shard_index_bytes", bounded.shards_with("index.jsonl", 2**30 + 1), INDEX, "has 1,073,741,825 bytes; "
    ),
    Declared("max_member_bytes", bounded.sparse_shard(2**30 + 1), MEMBERS, "^has 1,073,741,825 bytes; "),
    Declared("max_shard_header_bytes", bounded.sparse_shard(2**20 + 1, b"L"), MEMBERS, "header of 1,048,577 bytes; "),
)

measured = pytest.mark.skipif(not is_measurable(), reason="only Linux tells the peak of a process's memory anew")


@measured
@pytest.mark.parametrize("asked", DECLARED, ids=lambda asked: f"{asked.limit}-{asked.message[:30]}")
def test_what_a_file_declares_beyond_a_limit_costs_neither_memory_nor_time(tmp_path: Path, asked: Declared) -> None:
    (tmp_path / "good").mkdir()
    refusal(asked.reader.read, asked.reader.good(tmp_path / "good"), Limits())
    item = asked.make(tmp_path)
    reasons: list[str] = []
    cost = cost_of(lambda: reasons.append(refusal(asked.reader.read, item, Limits())))
    assert re.search(asked.message, reasons[0]), reasons[0]
    assert option_of(asked.limit) in reasons[0]
    assert cost.bytes < MOST_BYTES
    assert cost.seconds < MOST_SECONDS


BOMBS = {
    "deflated": (bounded.zipped("points", NINE_POINTS, 2**28, says=344), ZIPPED, "^no .npz file, or a damaged one$"),
    "bzip2": (
        bounded.zipped("points", NINE_POINTS, 2**28, method=zipfile.ZIP_BZIP2),
        ZIPPED,
        "^packs points.npy in a ",
    ),
    "axes": (bounded.with_long_axes, ARRAYS, '^"axes" must be a list of names'),
}


@measured
@pytest.mark.parametrize("name", BOMBS)
def test_what_unpacks_to_more_than_it_says_costs_neither_memory_nor_time(tmp_path: Path, name: str) -> None:
    """Hundreds of megabytes of zeros, in a file of a few hundred kilobytes, that no limit of a size would refuse."""
    make, reader, message = BOMBS[name]
    (tmp_path / "good").mkdir()
    refusal(reader.read, reader.good(tmp_path / "good"), Limits())
    path = make(tmp_path)
    reasons: list[str] = []
    cost = cost_of(lambda: reasons.append(refusal(reader.read, path, Limits())))
    assert re.search(message, reasons[0]), reasons[0]
    assert cost.bytes < MOST_BYTES
    assert cost.seconds < MOST_SECONDS


@measured
def test_the_measurement_can_fail() -> None:
    kept: list[np.ndarray] = []
    assert cost_of(lambda: kept.append(np.ones(2 * MOST_BYTES, np.uint8))).bytes > MOST_BYTES
    assert cost_of(kept.clear).bytes < MOST_BYTES
    assert cost_of(lambda: np.ones(2 * MOST_BYTES, np.uint8)).bytes > MOST_BYTES  # freed at once, and seen


# --- what reading may take ---


@pytest.mark.parametrize(
    ("limit", "job", "kind", "whole", "message"),
    [
        ("max_file_seconds", "spin", "image", False, "^took more than 1 s of processor time "),
        ("max_clip_seconds", "spin", "audio", False, "^took more than 1 s of processor time "),
        ("max_recording_seconds", "spin", "video", True, "^took more than 1 s of processor time "),
        ("max_decode_bytes", "eat", "image", False, "^needs more than 209,715,200 bytes "),
    ],
)
def test_what_reading_may_take_is_held_where_it_is_read(
    limit: str, job: str, kind: str, whole: bool, message: str
) -> None:
    """`eat` takes twice the memory that is given here, `spin` never ends."""
    limits = Limits(**{limit: MEMORY_BYTES if job == "eat" else 1})
    allowance = StreamReader(single_stream(MODALITIES[kind]()), limits).allowance(whole=whole)
    with Children(act, allowance, num_children=1) as children:
        (modest, _), harmed = children.map(["modest", job])
    assert modest == "modest"
    assert re.search(message, str(harmed)), harmed
    assert option_of(limit) in str(harmed)


def test_memory_just_inside_is_given() -> None:
    reader = StreamReader(single_stream(MODALITIES["image"]()), Limits(max_decode_bytes=4 * MEMORY_BYTES))
    with Children(act, reader.allowance(whole=False), num_children=1) as children:
        assert list(children.map(["eat"])) == [2 * MEMORY_BYTES]


# --- nothing is left out ---


HELD_BY_TESTS = {
    "max_file_seconds": (__file__, test_what_reading_may_take_is_held_where_it_is_read.__name__),
    "max_clip_seconds": (__file__, test_what_reading_may_take_is_held_where_it_is_read.__name__),
    "max_recording_seconds": (__file__, test_what_reading_may_take_is_held_where_it_is_read.__name__),
    "max_decode_bytes": (__file__, test_what_reading_may_take_is_held_where_it_is_read.__name__),
    # Nothing is refused: frames behind it are taken on trust.
    "max_checked_frames": (
        "tests/unit/data/test_video_files.py",
        "test_a_check_of_a_long_file_stays_in_bounded_memory",
    ),
}
"""Limits that are no row of the table: the file and the name of the test that holds them."""


def test_every_limit_is_a_row_of_the_table_or_held_by_a_test_of_its_own() -> None:
    rows = {case.limit for case in CASES}
    assert rows.isdisjoint(HELD_BY_TESTS)
    assert rows | HELD_BY_TESTS.keys() == {field.name for field in dataclasses.fields(Limits)}
    for limit, (file, test) in HELD_BY_TESTS.items():
        text = (ROOT / file).read_text(encoding="utf-8")
        _, found, rest = text.partition(f"def {test}(")
        assert found, f"{file} has no {test}"
        assert limit in (text if file == __file__ else rest.partition("\ndef ")[0])
