import re
from pathlib import Path

import pytest

from perceptio.data.audioset import is_audioset_folder, read_audioset
from perceptio.data.limits import Limits
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


def make_folder(folder: Path, *files: str, train: str = TRAIN) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "class_labels_indices.csv").write_text(CLASSES)
    (folder / "balanced_train_segments.csv").write_text(train)
    (folder / "eval_segments.csv").write_text(EVALUATION)
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"sound")
    return folder


@pytest.mark.parametrize(
    ("first", "second", "third"),
    [
        ("--PJHxphWEs.mp4", "-0RWZT-miFs_420.000.wav", "Y--4gqARaEJE.flac"),
        ("a/--PJHxphWEs_30000_40000.wav", "b/-0RWZT-miFs_420000_430000.wav", "eval/--4gqARaEJE_0.000_10.000.webm"),
        ("--PJHxphWEs-30-40.wav", "-0RWZT-miFs-420-430.wav", "--4gqARaEJE.m4a"),
    ],
)
def test_segments_find_their_files_by_id_and_start(tmp_path: Path, first: str, second: str, third: str):
    source = read_audioset(make_folder(tmp_path / "audioset", first, second, third), Limits())
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
    source = read_audioset(make_folder(tmp_path / "a", "-0RWZT-miFs.wav", "--4gqARaEJE.wav"), Limits())
    assert [record.name for record in source.records] == ["--4gqARaEJE.wav", "-0RWZT-miFs.wav"]


def test_files_in_no_list_are_counted(tmp_path: Path):
    source = read_audioset(make_folder(tmp_path / "a", "--PJHxphWEs.wav", "AAAAAAAAAAA.wav"), Limits())
    assert source.notes[1] == "1 .wav file in no list and ignored"


def test_auto_recognises_the_lists(tmp_path: Path):
    folder = make_folder(tmp_path / "a", "--PJHxphWEs.wav")
    assert is_audioset_folder(folder)
    assert not is_audioset_folder(tmp_path)
    assert len(open_source(str(folder), "auto", Limits()).records) == 1


def test_lists_without_files_say_what_to_put_where(tmp_path: Path):
    message = (
        "a/ holds AudioSet's lists but no media file of their segments (4 listed); put files such as --PJHxphWEs.mp4 "
        "or --PJHxphWEs_30.000.wav anywhere below it"
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        read_audioset(make_folder(tmp_path / "a"), Limits())


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('--PJHxphWEs, 30.000, 40.000, "/m/none"', r"line 1: the class '/m/none' is not in class_labels_indices.csv"),
        ("--PJHxphWEs, 30.000", r"line 1: must hold YTID, start_seconds, end_seconds, positive_labels; it holds 2 cel"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, reason: str):
    folder = make_folder(tmp_path / "a", "--PJHxphWEs.wav", train=f"{line}\n")
    with pytest.raises(DataError, match=rf"^balanced_train_segments.csv, {reason}"):
        read_audioset(folder, Limits())


def test_a_class_list_of_other_columns_is_refused(tmp_path: Path):
    folder = make_folder(tmp_path / "a", "--PJHxphWEs.wav")
    (folder / "class_labels_indices.csv").write_text("name\nSpeech\n")
    message = r"^class_labels_indices\.csv must have the columns mid and display_name; it has "
    with pytest.raises(DataError, match=message + "name$"):
        read_audioset(folder, Limits())
    (folder / "class_labels_indices.csv").write_text("")
    with pytest.raises(DataError, match=message + "none$"):
        read_audioset(folder, Limits())


def test_the_lists_keep_to_the_limits(tmp_path: Path):
    folder = make_folder(tmp_path / "a", "--PJHxphWEs.wav", "-0RWZT-miFs_420.000.wav")
    read_audioset(folder, Limits(max_classes=3, max_manifest_rows=2, max_manifest_line_bytes=70))
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
            read_audioset(folder, limits)
    (folder / "eval_segments.csv").write_text("--PJHxphWEs, 30.000, 40.000, /m/04rlf\n" * 3)
    message = r"^a/ lists more than 2 segments that have a file \(--source\.limits\.max-manifest-rows\)$"
    with pytest.raises(DataError, match=message):
        read_audioset(folder, Limits(max_manifest_rows=2))


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
        read_audioset(folder, Limits())


def test_two_classes_of_one_name_are_refused(tmp_path: Path):
    folder = make_folder(tmp_path / "a", "--PJHxphWEs.wav")
    (folder / "class_labels_indices.csv").write_text("mid,display_name\n/m/1,Speech\n/m/2,Speech\n")
    message = r"^class_labels_indices\.csv gives two classes one display name; make them different$"
    with pytest.raises(DataError, match=message):
        read_audioset(folder, Limits())
