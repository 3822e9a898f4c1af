import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from perceptio.data.limits import Limits
from perceptio.data.mesh_files import READABLE
from perceptio.data.records import MAIN, FileSource, Record, sort_records
from perceptio.errors import DataError, UsageError
from perceptio.modalities.image import ImageModality
from perceptio.modalities.registry import MODALITIES, register
from perceptio.modalities.streams import Streams, single_stream
from perceptio.modalities.telling import columns_of, join_files, kind_of, media_of, suffixes_of, tell_streams
from support.harmful import MEMORY_BYTES
from support.samples import make_source
from support.sketches import Hum, Sketch


@pytest.fixture(autouse=True)
def sketches() -> Iterator[None]:
    """Two kinds more; the companion "scent" is one that nobody has registered."""
    register(Sketch)
    register(Hum)
    yield
    del MODALITIES["sketch"], MODALITIES["hum"]


def of(*names: str, root: Path = Path("nowhere"), **fields) -> FileSource:
    """Files whose folder is their class."""
    records = [Record(name=name, labels=(name.split("/")[0],)) for name in names]
    return FileSource(
        records=sort_records(records), classes=("a", "b"), multi_label=False, notes=("seen",), root=root, **fields
    )


def tell(source: FileSource, *kinds: str) -> tuple[FileSource, Streams]:
    return tell_streams(source, kinds, Limits())


def columns(streams: Streams) -> dict[str, str]:
    """The column of each stream, by name; the names are the kinds here."""
    assert all(streams.by_name[name].kind == name for name in streams.by_name)
    return {name: modality.column for name, modality in streams.by_name.items()}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a/1.jpg", "image"),
        ("a/1.JPEG", "image"),
        ("1.tar.PNG", "image"),
        ("b.hum", "hum"),
        ("jpg", None),
        ("a.x", None),
    ],
)
def test_a_files_suffix_tells_its_kind(name: str, kind: str | None):
    assert kind_of(name) == kind


def test_of_some_kinds_the_first_that_fits_counts():
    assert kind_of("a.jpg", ("hum", "image")) == "image"
    assert kind_of("a.jpg", ("hum",)) is None


def test_some_suffixes_are_of_a_kind_only_where_it_is_asked_for():
    assert [kind_of("a.txt"), kind_of("a.npy"), kind_of("a.npy", ("points", "array"))] == [None, "array", "array"]
    assert {kind_of(f"a.{suffix}", ("image", "points")) for suffix in ("txt", "npy", "npz", "ply")} == {"points"}
    assert suffixes_of(("points",)) == READABLE
    assert suffixes_of(("hum", "array")) == {".hum", ".npy", ".npz"}
    assert suffixes_of(()) == set()
    with pytest.raises(UsageError, match=r"^unknown kind 'pints'. Nearest: points"):
        suffixes_of(("pints",))


def test_a_folder_of_one_kind_is_one_stream_of_whole_files():
    source = of("a/1.jpg", "a/2.PNG", "b/1.webp")
    found, streams = tell(source)
    assert found is source
    assert columns(streams) == {"image": MAIN}
    assert streams == single_stream(ImageModality())


def test_files_without_a_known_suffix_are_left_to_the_decoder_of_the_others():
    found, streams = tell(of("a/1.jpg", "a/2", "b/1.dat"))
    assert columns(streams) == {"image": MAIN}
    assert len(found.records) == 3


def test_a_source_of_arrays_says_what_it_holds():
    source = make_source(5)
    found, streams = tell_streams(source, (), Limits())
    assert found is source
    assert columns(streams) == {"image": MAIN}


def test_files_that_share_folder_and_stem_are_one_sample():
    source = of("a/1.jpg", "a/1.hum", "a/2.hum", "b/1.hum", "b/1.jpg", "b/3.jpg", "b/x.y.jpg", "b/x.y.hum")
    found, streams = tell(source)
    assert columns(streams) == {"image": "image", "hum": "hum"}
    assert [(record.name, record.labels, record.parts) for record in found.records] == [
        ("a/1.hum", ("a",), (("hum", "a/1.hum"), ("image", "a/1.jpg"))),
        ("a/2.hum", ("a",), (("hum", "a/2.hum"),)),
        ("b/1.hum", ("b",), (("hum", "b/1.hum"), ("image", "b/1.jpg"))),
        ("b/3.jpg", ("b",), (("image", "b/3.jpg"),)),
        ("b/x.y.hum", ("b",), (("hum", "b/x.y.hum"), ("image", "b/x.y.jpg"))),
    ]
    assert (found.root, found.classes, found.notes) == (source.root, source.classes, source.notes)


def test_two_files_of_one_kind_and_stem_are_two_samples():
    found, _ = tell(of("a/1.jpg", "a/1.png", "a/1.hum", "b/2.jpg"))
    assert [record.parts for record in found.records] == [
        (("hum", "a/1.hum"), ("image", "a/1.jpg")),
        (("image", "a/1.png"),),
        (("image", "b/2.jpg"),),
    ]


def test_what_a_table_calls_different_is_no_pair():
    def listed(name: str, label: str = "a", **fields) -> Record:
        return Record(name=name, labels=(label,), **fields)

    records = [
        listed("1.jpg"), listed("1.hum", "b"),
        listed("2.jpg", split="train"), listed("2.hum", split="test"),
        listed("3.jpg", group="x"), listed("3.hum", group="y"),
        listed("4.jpg", split="test", group="x"), listed("4.hum", split="test", group="x"),
    ]  # fmt: skip
    source = FileSource(
        records=sort_records(records), classes=("a", "b"), multi_label=False, notes=(), root=Path("nowhere")
    )
    found, _ = tell(source)
    assert [len(record.parts) for record in found.records] == [1, 1, 1, 1, 1, 1, 2]
    assert sorted(record.name for record in found.records) == [
        "1.hum", "1.jpg", "2.hum", "2.jpg", "3.hum", "3.jpg", "4.hum"
    ]  # fmt: skip
    assert (found.records[-1].split, found.records[-1].group) == ("test", "x")


@pytest.mark.parametrize(("strays", "kinds"), [(2, {"image"}), (3, {"image", "hum"})])
def test_less_than_a_tenth_of_the_files_are_strays(strays: int, kinds: set[str]):
    names = [f"a/{number}.jpg" for number in range(23)] + [f"a/{number}.hum" for number in range(strays)]
    found, streams = tell(of(*names))
    assert set(streams.by_name) == kinds
    assert len(found.records) == (23 if "hum" in kinds else 25)
    if "hum" in kinds:
        assert list(streams.by_name) == ["image", "hum"], "the most frequent first"


def test_the_user_says_what_files_hold():
    found, streams = tell(of("a/1.dat", "b/2.dat"), "image")
    assert columns(streams) == {"image": MAIN}
    found, streams = tell(of("a/1.jpg", "a/1.hum", "b/2.hum"), "hum", "image")
    assert columns(streams) == {"hum": "hum", "image": "image"}
    assert len(found.records) == 2
    found, streams = tell(of("a/1.jpg", "a/1.hum", "b/2.hum"), "hum")
    assert columns(streams) == {"hum": MAIN}
    assert len(found.records) == 3, "the picture will be skipped, with its decoder's reason"
    with pytest.raises(UsageError, match=r"^unknown kind 'imgae'\. Nearest: image\.$"):
        tell(of("a/1.jpg"), "imgae")


def test_what_cannot_be_told_is_asked_for():
    message = (
        "what the files hold cannot be told from their names (.dat, no suffix, .bin); say it, for instance "
        f"--source.kinds image. Kinds: {', '.join(MODALITIES)}"
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        tell(of("a/1.dat", "a/2.dat", "a/4.dat", "b/5", "b/7", "a/3.bin"))


def written(folder: Path, *contents: str) -> FileSource:
    names = [f"{'ab'[number % 2]}/{number:03d}.sketch" for number in range(len(contents))]
    for name, content in zip(names, contents, strict=True):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content)
    return of(*names, root=folder)


@pytest.mark.parametrize(("with_hum", "kinds"), [(2, ["sketch"]), (3, ["sketch", "hum"]), (5, ["sketch", "hum"])])
def test_a_file_that_mostly_holds_another_kind_as_well_is_two_streams(tmp_path: Path, with_hum: int, kinds: list[str]):
    contents = ["sketch and hum"] * with_hum + ["sketch"] * (5 - with_hum)
    source = written(tmp_path, *contents)
    found, streams = tell(source)
    assert found.records == source.records
    assert columns(streams) == dict.fromkeys(kinds, MAIN)
    left_out = "hum left out, which 2 of 5 files looked into hold; --source.kinds sketch hum takes it in"
    assert found.notes == (("seen", left_out) if with_hum == 2 else ("seen",))


def test_another_kind_that_no_file_holds_gets_no_word(tmp_path: Path):
    source = written(tmp_path, "sketch", "sketch")
    assert tell(source)[0] is source


def test_files_that_the_user_named_are_not_searched_for_more(tmp_path: Path):
    _, streams = tell(written(tmp_path, "sketch and hum", "sketch and hum"), "sketch")
    assert list(streams.by_name) == ["sketch"]


def test_only_some_files_are_looked_into(tmp_path: Path):
    tell(written(tmp_path, *["sketch and hum, noted"] * 101))
    seen = list(tmp_path.rglob("*.seen"))
    assert 40 <= len(seen) <= 53
    assert {path.parent.name for path in seen} == {"a", "b"}, "evenly, not the first class alone"


@pytest.mark.parametrize("harm", ["killed", "segfault", "eat"])
def test_a_file_that_harms_who_looks_into_it_holds_nothing_more(tmp_path: Path, harm: str):
    source = written(tmp_path, "sketch and hum", harm, "sketch and hum", "sketch")
    found, streams = tell_streams(source, (), Limits(max_decode_bytes=MEMORY_BYTES))
    assert (list(streams.by_name), found.notes) == (["sketch", "hum"], ("seen",))
    source = written(tmp_path, "sketch and hum", harm, harm, "sketch")
    found, _ = tell_streams(source, (), Limits(max_decode_bytes=MEMORY_BYTES))
    assert found.notes[1].startswith("hum left out, which 1 of 4 files looked into hold;")


def of_columns(*parts: dict[str, str]) -> FileSource:
    records = [
        Record(name=next(iter(columns.values())), labels=("ab"[number % 2],), parts=tuple(columns.items()))
        for number, columns in enumerate(parts)
    ]
    return FileSource(
        records=sort_records(records), classes=("a", "b"), multi_label=False, notes=(), root=Path("nowhere")
    )


def test_columns_are_called_after_kinds_or_their_files_tell():
    source = of_columns(
        {"hum": "1.x", "front": "1.jpg"}, {"front": "2.jpg", "back": "2.png"}, {"front": "3.jpg", "back": "3.png"}
    )
    found, streams = tell(source)
    assert found is source
    assert {name: (modality.kind, modality.column) for name, modality in streams.by_name.items()} == {
        "front": ("image", "front"), "back": ("image", "back"), "hum": ("hum", "hum")
    }  # fmt: skip
    assert list(streams.by_name) == ["front", "back", "hum"], "the fullest first, whatever the rows' order"
    _, named = tell(of_columns({"left": "1.x", "right": "1.y"}), "image")
    assert {modality.kind for modality in named.by_name.values()} == {"image"}
    message = (
        "what the column 'left' holds cannot be told from its files' names; call the column after its kind: "
        f"{', '.join(MODALITIES)}"
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        tell(of_columns({"left": "1.x", "image": "1.jpg"}))


def test_files_are_joined_as_the_streams_of_a_run_say():
    """What a run was trained on is found again in other folders, which may lack a kind altogether."""
    source, streams = tell(of("a/1.jpg", "a/1.hum", "b/2.jpg", "b/2.hum"), "image", "hum")
    assert join_files(of("a/1.jpg", "a/1.hum", "b/2.jpg", "b/2.hum"), streams).records == source.records
    joined = join_files(of("a/7.jpg", "b/8.jpg", "b/9.what"), streams)
    assert [record.parts for record in joined.records] == [
        (("image", "a/7.jpg"),), (("image", "b/8.jpg"),), (("image", "b/9.what"),)
    ]  # fmt: skip
    assert join_files(source, streams) is source
    whole = of("a/1.jpg", "a/1.hum")
    assert join_files(whole, single_stream(ImageModality())) is whole
    arrays = make_source(3)
    assert join_files(arrays, single_stream(ImageModality())) is arrays


@pytest.mark.parametrize(("column", "reads"), [(MAIN, "samples of a single file"), ("side", "side")])
def test_columns_that_the_streams_do_not_read_are_said(column: str, reads: str):
    message = (
        f"the samples are made of back, front, and the stream image reads {reads}; say which of them it is to read: "
        "--image.column"
    )
    source = of_columns({"front": "1.jpg", "back": "1.png"})
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        join_files(source, single_stream(ImageModality(column=column)))
    assert join_files(source, single_stream(ImageModality(column="back"))) is source


def test_of_two_streams_in_one_file_the_first_says_what_it_is():
    streams = Streams(by_name={"sketch": Sketch(), "hum": Hum(), "image": ImageModality(column="picture")})
    assert columns_of(streams) == {MAIN: "sketch", "picture": "image"}


def test_media_are_the_files_that_can_hold_what_is_wanted_and_most_of_it_first():
    video, audio, image = (MODALITIES[kind].suffixes for kind in ("video", "audio", "image"))
    assert media_of(("audio", "video")) == media_of(("video", "audio")) == (video, audio)
    assert media_of(("audio",)) == (audio, video)
    assert media_of(("video",)) == (video,)
    assert media_of(("image",)) == (image,)
    with pytest.raises(UsageError, match=r"^unknown kind 'sound'"):
        media_of(("sound",))
