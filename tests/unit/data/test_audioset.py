import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from perceptio.data.audioset import is_audioset_folder, read_audioset
from perceptio.data.folder_listing import Listing
from perceptio.data.limits import Limits
from perceptio.data.records import FileSource
from perceptio.data.sources import open_source
from perceptio.errors import DataError

CLASSES = 'index,mid,display_name\n0,/m/09x0r,"Speech"\n1,/m/05zppz,"Male speech, man speaking"\n2,/m/04rlf,"Music"\n'
TRAIN = """# Segments csv created Sun Mar  5 10:54:31 2017
# num_ytids=2, num_segs=3, num_unique_labels=3, num_positive_labels=5
# YTID, start_seconds, end_seconds, positive_labels
--PJHxphWEs, 30.000, 40.000, "/m/09x0r,/m/04rlf"
-0RWZT-miFs, 420.000, 430.000, "/m/05zppz"
-0RWZT-miFs, 10.000, 20.000, "/m/04rlf"
"""
EVALUATION = """# YTID, start_seconds, end_seconds, positive_labels
--4gqARaEJE, 0.000, 10.000, "/m/04rlf"
"""


VIDEO = frozenset({".mp4", ".webm", ".mkv"})
SOUND = frozenset({".wav", ".flac", ".m4a"})
MEDIA = (VIDEO, SOUND)


def make_folder(folder: Path, *files: str, train: str = TRAIN) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "class_labels_indices.csv").write_text(CLASSES)
    (folder / "balanced_train_segments.csv").write_text(train)
    (folder / "eval_segments.csv").write_text(EVALUATION)
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"sound")
    return folder


def read(folder: Path, limits: Limits | None = None, media: Sequence[frozenset[str]] = MEDIA) -> FileSource:
    return read_audioset(folder, limits or Limits(), media)


@pytest.mark.parametrize(
    ("first", "second", "third"),
    [
        ("--PJHxphWEs.mp4", "-0RWZT-miFs_420.000.wav", "Y--4gqARaEJE.flac"),
        ("a/--PJHxphWEs_30000_40000.wav", "b/-0RWZT-miFs_420000_430000.wav", "eval/--4gqARaEJE_0.000_10.000.webm"),
        ("--PJHxphWEs-30-40.wav", "-0RWZT-miFs-420-430.wav", "--4gqARaEJE.m4a"),
        ("Y--PJHxphWEs_30.000.mkv", "-0RWZT-miFs_000420.mp4", "Y--4gqARaEJE_0_10000.MP4"),
    ],
)
def test_segments_find_their_files_by_id_and_start(tmp_path: Path, first: str, second: str, third: str):
    source = read(make_folder(tmp_path / "audioset", first, second, third))
    found = {record.name: (record.labels, record.split) for record in source.records}
    assert found == {
        first: (("Speech", "Music"), "train"),
        second: (("Male speech, man speaking",), "train"),
        third: (("Music",), "test"),
    }
    assert source.multi_label
    assert source.classes == ("Male speech, man speaking", "Music", "Speech")
    assert source.notes == ("3 segments of AudioSet have a file, 1 have none",)


def test_one_file_without_a_start_stands_for_each_segment_of_its_video_once(tmp_path: Path):
    source = read(make_folder(tmp_path / "a", "-0RWZT-miFs.wav", "--4gqARaEJE.wav"))
    assert [record.name for record in source.records] == ["--4gqARaEJE.wav", "-0RWZT-miFs.wav"]
    assert source.records[1].labels == ("Male speech, man speaking",), "those of the first listed"
    assert source.notes[1] == "1 have none of their own: a file whose name says no start stands for the first listed"


def test_a_picture_beside_a_video_is_no_media(tmp_path: Path):
    source = read(make_folder(tmp_path / "a", "--PJHxphWEs.mp4", "--PJHxphWEs.jpg"))
    assert [record.name for record in source.records] == ["--PJHxphWEs.mp4"]
    assert source.notes == (
        "1 segments of AudioSet have a file, 3 have none",
        "1 .jpg file of another kind than is wanted and ignored (first: --PJHxphWEs.jpg)",
    )


@pytest.mark.parametrize(
    ("media", "files", "taken"),
    [
        ((VIDEO, SOUND), ("--PJHxphWEs.mp4", "--PJHxphWEs.wav"), "--PJHxphWEs.mp4"),
        ((SOUND, VIDEO), ("--PJHxphWEs.mp4", "--PJHxphWEs.wav"), "--PJHxphWEs.wav"),
        ((VIDEO, SOUND), ("--PJHxphWEs_30.000.mp4", "--PJHxphWEs_30.000.wav"), "--PJHxphWEs_30.000.mp4"),
        ((VIDEO, SOUND), ("--PJHxphWEs.mp4", "--PJHxphWEs_30.000.wav"), "--PJHxphWEs_30.000.wav"),
        ((VIDEO, SOUND), ("b/--PJHxphWEs.mkv", "a/--PJHxphWEs.mp4"), "a/--PJHxphWEs.mp4"),
    ],
)
def test_of_several_files_of_a_segment_one_is_taken_by_the_rule_in_any_order_of_the_disk(
    tmp_path: Path, monkeypatch, media: Sequence[frozenset[str]], files: tuple[str, str], taken: str
):
    folder = make_folder(tmp_path / "a", *files)
    (other,) = set(files) - {taken}
    for order in (sorted(files), sorted(files, reverse=True)):
        listing = Listing(files=order)
        monkeypatch.setattr("perceptio.data.audioset.list_folder", lambda *_, listing=listing: listing)
        source = read(folder, media=media)
        assert [record.name for record in source.records] == [taken]
        assert source.notes == (
            "1 segments of AudioSet have a file, 3 have none",
            f"1 {Path(other).suffix} file ignored, since another file of the same segment was taken (first: {other})",
        )


def test_files_in_no_list_are_counted_and_the_first_is_named(tmp_path: Path):
    strays = ("AAAAAAAAAAA.wav", "--PJHxphWEs_31.000.wav", "--PJHxphWEs_30.000.40.000.wav", "--PJHxphWEs_1..2.wav")
    source = read(make_folder(tmp_path / "a", "--PJHxphWEs.wav", "my holidays.mp4", *strays))
    assert [record.name for record in source.records] == ["--PJHxphWEs.wav"]
    assert source.notes[1:] == ("4 .wav and 1 .mp4 files in no list and ignored (first: --PJHxphWEs_1..2.wav)",)


def test_auto_recognises_the_lists(tmp_path: Path):
    folder = make_folder(tmp_path / "a", "--PJHxphWEs.wav")
    assert is_audioset_folder(folder)
    assert not is_audioset_folder(tmp_path)
    assert len(open_source(str(folder), "auto", Limits(), media=MEDIA).records) == 1


def test_lists_without_files_say_what_to_put_where(tmp_path: Path):
    message = (
        "a/ holds AudioSet's lists but no media file of their segments (4 listed); put files such as --PJHxphWEs.mp4 "
        "or --PJHxphWEs_30.000.wav anywhere below it"
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        read(make_folder(tmp_path / "a"))


def test_files_of_another_kind_alone_are_named_where_none_is_found(tmp_path: Path):
    message = (
        r"\(4 listed; 1 \.jpg file of another kind than is wanted and ignored \(first: --PJHxphWEs\.jpg\)\); put files"
    )
    with pytest.raises(DataError, match=message):
        read(make_folder(tmp_path / "a", "--PJHxphWEs.jpg"))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('--PJHxphWEs, 30.000, 40.000, "/m/none"', r"line 1: the class '/m/none' is not in class_labels_indices.csv"),
        ("--PJHxphWEs, nan, 40.000, /m/04rlf", r"line 1: start_seconds must be a number such as 30\.000; it is 'nan'$"),
        ("--PJHxphWEs, 30.000", r"line 1: must hold YTID, start_seconds, end_seconds, positive_labels; it holds 2 cel"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, reason: str):
    folder = make_folder(tmp_path / "a", "--PJHxphWEs.wav", train=f"{line}\n")
    with pytest.raises(DataError, match=rf"^balanced_train_segments.csv, {reason}"):
        read(folder)


def test_a_class_list_of_other_columns_is_refused(tmp_path: Path):
    folder = make_folder(tmp_path / "a", "--PJHxphWEs.wav")
    (folder / "class_labels_indices.csv").write_text("name\nSpeech\n")
    message = r"^class_labels_indices\.csv must have the columns mid and display_name; it has "
    with pytest.raises(DataError, match=message + "name$"):
        read(folder)
    (folder / "class_labels_indices.csv").write_text("")
    with pytest.raises(DataError, match=message + "none$"):
        read(folder)


def test_the_lists_keep_to_the_limits(tmp_path: Path):
    folder = make_folder(tmp_path / "a", "--PJHxphWEs.wav", "-0RWZT-miFs_420.000.wav")
    read(folder, Limits(max_classes=3, max_manifest_rows=2, max_manifest_line_bytes=70))
    for limits, message in (
        (
            Limits(max_manifest_line_bytes=69),
            r"^balanced_train_segments\.csv, line 2: longer than 69 bytes "
            r"\(--source\.limits\.max-manifest-line-bytes\)$",
        ),
        (
            Limits(max_classes=2),
            r"^class_labels_indices\.csv has more than 2 classes \(--source\.limits\.max-classes\)$",
        ),
    ):
        with pytest.raises(DataError, match=message):
            read(folder, limits)
    (folder / "eval_segments.csv").write_text("--PJHxphWEs, 30.000, 40.000, /m/04rlf\n" * 3)
    message = r"^a/ lists more than 2 segments that have a file \(--source\.limits\.max-manifest-rows\)$"
    with pytest.raises(DataError, match=message):
        read(folder, Limits(max_manifest_rows=2))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (b"0,/m/1\n", "2 cells, but the first line names 3$"),
        (b"0,/m/1,\xff\n", "not valid UTF-8; save the file as UTF-8$"),
        (b"0,/m/1,a\rb\n", r"not valid CSV \(new-line character"),
    ],
)
def test_a_bad_line_of_the_class_list_is_named(tmp_path: Path, row: bytes, message: str):
    folder = make_folder(tmp_path / "a", "--PJHxphWEs.wav")
    (folder / "class_labels_indices.csv").write_bytes(b"index,mid,display_name\n" + row)
    with pytest.raises(DataError, match=rf"^class_labels_indices\.csv, line 2: {message}"):
        read(folder)


def test_two_classes_of_one_name_are_refused(tmp_path: Path):
    folder = make_folder(tmp_path / "a", "--PJHxphWEs.wav")
    (folder / "class_labels_indices.csv").write_text("mid,display_name\n/m/1,Speech\n/m/2,Speech\n")
    message = r"^class_labels_indices\.csv gives two classes one display name; make them different$"
    with pytest.raises(DataError, match=message):
        read(folder)
