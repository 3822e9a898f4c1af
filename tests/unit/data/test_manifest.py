import contextlib
import datetime
import json
import math
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from perceptio.data.limits import Limits
from perceptio.data.manifest import read_manifest
from perceptio.data.manifest_cells import split_labels
from perceptio.data.parquet_rows import ParquetReader
from perceptio.data.records import MAIN
from perceptio.errors import DataError, MissingExtraError, UsageError
from perceptio.json_values import finite
from support.harmful import act


def write(folder: Path, text: str | bytes, name: str = "metadata.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def rows(source) -> list[tuple]:
    return [(r.name, r.labels, r.split, r.group) for r in source.records]


def test_csv(tmp_path: Path, limits: Limits) -> None:
    text = 'file,label,split,group\nb/2.jpg,dog,val,p1\n./a.jpg,cat,,\n"c,d.jpg", cat ,TEST,\n\n'
    source = read_manifest(write(tmp_path, text), limits)
    assert rows(source) == [
        ("a.jpg", ("cat",), None, None),
        ("b/2.jpg", ("dog",), "validation", "p1"),
        ("c,d.jpg", ("cat",), "test", None),
    ]
    assert source.classes == ("cat", "dog")
    assert not source.multi_label
    assert source.root == tmp_path
    assert source.load(source.records[1]) == {MAIN: tmp_path / "b/2.jpg"}
    assert source.notes == ("3 files listed in metadata.csv", "splits given: test, validation")


@pytest.mark.parametrize("column", ["file", "path", "file_name", "image"])
def test_every_name_of_the_file_column(tmp_path: Path, limits: Limits, column: str) -> None:
    assert len(read_manifest(write(tmp_path, f"{column},label\na,x\nb,y\n"), limits).records) == 2


@pytest.mark.parametrize(
    "text", ["\ufefffile,label\na,x\nb,y\n", "file;label\r\na;x\r\nb;y\r\n", "file\tlabel\na\tx\nb\ty"]
)
def test_marks_of_spreadsheets(tmp_path: Path, limits: Limits, text: str) -> None:
    assert [r.labels for r in read_manifest(write(tmp_path, text), limits).records] == [("x",), ("y",)]


def test_several_labels(tmp_path: Path, limits: Limits) -> None:
    text = 'file,labels\na,x|y\nb,"[""y; z"", ""x""]"\nc,\nd,x;x; w\n'
    source = read_manifest(write(tmp_path, text), limits)
    assert source.multi_label
    assert [r.labels for r in source.records] == [("x", "y"), ("y; z", "x"), (), ("x", "w")]
    assert source.classes == ("w", "x", "y", "y; z")


def test_jsonl(tmp_path: Path, limits: Limits) -> None:
    lines = [{"image": "a.png", "label": 3}, {"image": "b.png", "label": 10, "split": "train", "note": "x"}]
    source = read_manifest(write(tmp_path, "\n".join(map(json.dumps, lines)) + "\n\n", "m.jsonl"), limits)
    assert rows(source) == [("a.png", ("3",), None, None), ("b.png", ("10",), "train", None)]
    assert "columns ignored: note" in source.notes


def test_jsonl_lists(tmp_path: Path, limits: Limits) -> None:
    source = read_manifest(
        write(tmp_path, '{"file":"a","labels":["x","y"]}\n{"file":"b","labels":[]}', "m.jsonl"), limits
    )
    assert [r.labels for r in source.records] == [("x", "y"), ()]


def test_parquet(tmp_path: Path, limits: Limits) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(
        pyarrow.table({"path": ["b", "a"], "labels": [["x"], ["y", "x"]], "split": ["test", None]}),
        tmp_path / "m.parquet",
    )
    source = read_manifest(tmp_path / "m.parquet", limits)
    assert rows(source) == [("a", ("y", "x"), None, None), ("b", ("x",), "test", None)]


def test_labels_in_a_column_of_bytes_are_text(tmp_path: Path, limits: Limits) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = {"path": pyarrow.array(["a", "b"]), "label": pyarrow.array(["é".encode(), b"x"], pyarrow.binary())}
    parquet.write_table(pyarrow.table(columns), tmp_path / "m.parquet")
    assert read_manifest(tmp_path / "m.parquet", limits).classes == ("x", "é")


def test_a_number_has_the_same_name_in_parquet_and_json_lines(tmp_path: Path, limits: Limits) -> None:
    """Where a column of integers lacks one, pandas makes all of it floats: 1.0, 2.0 and NaN for what is missing."""
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    labels, groups = [1.0, 2.5, 1e20, 7], [3.0, math.nan, None, -4.0]
    columns = {"file": list("abcd"), "label": list(map(float, labels)), "group": groups}
    parquet.write_table(pyarrow.table(columns), tmp_path / "m.parquet")
    lines = [
        {"file": file, "label": label, "group": finite(group)}
        for file, label, group in zip("abcd", labels, groups, strict=True)
    ]
    write(tmp_path, "\n".join(map(json.dumps, lines)), "m.jsonl")
    found = [rows(read_manifest(tmp_path / name, limits)) for name in ("m.parquet", "m.jsonl")]
    expected = [("a", ("1",), "3"), ("b", ("2.5",), None), ("c", ("1e+20",), None), ("d", ("7",), "-4")]
    assert [[(name, label, group) for name, label, _, group in each] for each in found] == [expected, expected]
    lists = {"file": ["a", "b"], "labels": [[1.0, 2.0], [3.5]]}
    parquet.write_table(pyarrow.table(lists), tmp_path / "l.parquet")
    assert [record.labels for record in read_manifest(tmp_path / "l.parquet", limits).records] == [("1", "2"), ("3.5",)]


def test_a_label_that_is_no_number_is_missing(tmp_path: Path, limits: Limits) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table({"file": ["a", "b"], "label": [0.0, math.nan]}), tmp_path / "m.parquet")
    with pytest.raises(DataError, match=r"^m\.parquet, line 2: no label; every file needs one$"):
        read_manifest(tmp_path / "m.parquet", limits)
    with pytest.raises(DataError, match=r"^m\.jsonl, line 1: not valid JSON \(NaN is no JSON value\)$"):
        read_manifest(write(tmp_path, '{"file": "a", "label": NaN}', "m.jsonl"), limits)


def test_backslashes_of_windows(tmp_path: Path, limits: Limits) -> None:
    assert read_manifest(write(tmp_path, "file,label\na\\1.jpg,x\nb,y\n"), limits).records[0].name == "a/1.jpg"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"^metadata\.csv: empty file"),
        ("file,label\n", r"^metadata\.csv lists no files; it needs a row for each, with columns file and label$"),
        ("file,lable\na,x\n", r"unknown column 'lable'\. Nearest: label"),
        ("flie,label\na,x\n", r"unknown column 'flie'\. Nearest: file"),
        ("file,label,splits\na,x,train\n", r"unknown column 'splits'\. Nearest: split"),
        ("url,label\na,x\n", r"no column says the file; it must be called file or .*\. Columns found: url, label"),
        ("file,category\na,x\n", r"no column says the class; it must be called label or labels"),
        ("file,path,label\na,a,x\n", r"file and path both say the file; keep one"),
        ("file,label,labels\na,x,x\n", r"label and labels both say the class"),
        ("file,label,file\na,x,a\n", r"^metadata\.csv has two columns called 'file'; each name may stand once$"),
        ("file,label\na,x\n/etc/passwd,y\n", r"metadata\.csv, line 3: /etc/passwd is an absolute path"),
        ("file,label\nC:\\x.jpg,x\n", r"line 2: C:\\x\.jpg is an absolute path; write it relative to the manifest's "
                                      r"folder$"),
        ("file,label\n../a,x\n", r"line 2: \.\./a leads out of the manifest's folder; move the manifest above its "
                                 r"files$"),
        ("file,label\nb/../../a,x\n", r"line 2: b/\.\./\.\./a leads out"),
        ("file,label\n..\\a,x\n", r"line 2: \.\.\\a leads out"),
        ("file,label\n,x\n", r"line 2: no file; every row needs one"),
        ("file,label\na, \n", r"line 2: no label; every file needs one"),
        ("file,label\na,x\nb,y\n./a,x\n", r"line 4: a is listed a second time \(first in line 2\); list each file "
                                          r"once, "
         r"with several labels in a column labels$"),
        ("file,label,split\na,x,tset\n", r"line 2: 'tset' is no split\. Nearest: test"),
        ("file,label\na,x,y\n", r"line 2: 3 cells, but the first line names 2 columns; put text that holds a comma "
         r"between \"quotes\"$"),
        ("file,label\na,x\nb,x\n", r"^metadata\.csv has only one class, x"),
        ("file,label\na,\"x\nb,y\n", r"metadata\.csv, line \d: not valid CSV"),
        (b"file,label\na,\xff\n", r"line 2: not valid UTF-8; save the file as UTF-8"),
        (b"file,label\na\0,x\n", r"line 2: holds a zero byte; this is not a text file$"),
        ('file,labels\na,"[x"\n', r"line 2: labels begin with '\[' but are no JSON list"),
        ('file,labels\na,"[[1]]"\n', r"line 2: labels must be a JSON list of names"),
    ],
)  # fmt: skip
def test_bad_csv(tmp_path: Path, limits: Limits, text: str | bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_manifest(write(tmp_path, text), limits)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"file": "a"\n', r"^m\.jsonl, line 1: not valid JSON"),
        (
            '{"file": "a", "label": "x"}\n["b"]\n',
            r'^m\.jsonl, line 2: must be an object such as \{"file": \.\., "label": \.\.\}$',
        ),
        ('{"file": "a", "label": NaN}\n', r"line 1: not valid JSON \(NaN is no JSON value\)"),
        ('{"file": "a", "file": "b", "label": "x"}\n', r"line 1: not valid JSON \(the key 'file' stands twice\)"),
        (
            '{"file": "a", "label": "x"}\n{"file": "b", "labels": ["x"]}\n',
            r"some lines have label and others labels; use one of them in all lines$",
        ),
        ('{"file": ' + "[" * 100_000 + "\n", r"line 1: not valid JSON \(more than 32 brackets inside each other\)"),
    ],
    ids=["cut", "list", "nan", "twice", "mixed", "deep"],
)
def test_bad_jsonl(tmp_path: Path, limits: Limits, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_manifest(write(tmp_path, text, "m.jsonl"), limits)


def test_without_pyarrow_the_way_out_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    message = r"^reading Parquet files needs an .*: pip install 'perceptio\[tables\]'$"
    with pytest.raises(MissingExtraError, match=message):
        ParquetReader(str(write(tmp_path, "x", "m.parquet")), ())(-1)


def test_a_first_line_that_is_no_csv(tmp_path: Path, limits: Limits) -> None:
    with pytest.raises(DataError, match=r"^m\.csv, line 1: not valid CSV \(new-line character seen in unquoted field"):
        read_manifest(write(tmp_path, "file,la\rbel\na.png,x\n", "m.csv"), limits)


def test_half_a_character_is_no_name(tmp_path: Path, limits: Limits) -> None:
    rows = '{"file": "a.png", "label": "\\ud800"}\n{"file": "b.png", "label": "x"}\n'
    message = r"^m\.jsonl has a class name with unprintable characters: \\ud800; rename it$"
    with pytest.raises(DataError, match=message):
        read_manifest(write(tmp_path, rows, "m.jsonl"), limits)


@pytest.mark.parametrize(("old", "new"), [(b"PAR1", b"PAR0"), (b"label", b"\xffabel"), (b"\x15", b"\xff")])
def test_damaged_parquet(tmp_path: Path, limits: Limits, old: bytes, new: bytes) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "m.parquet"
    parquet.write_table(pyarrow.table({"file": ["a.png", "b.png"], "label": ["x", "y"]}), path)
    content = path.read_bytes()
    for place in [place for place in range(len(content)) if content.startswith(old, place)]:
        path.write_bytes(content[:place] + new + content[place + len(old) :])
        with contextlib.suppress(DataError):
            read_manifest(path, limits)


def test_the_rows_of_a_parquet_table_are_counted_before_any_is_read(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table({"file": ["a", "b", "c"], "label": ["x", "y", "x"]}), tmp_path / "m.parquet")
    assert len(read_manifest(tmp_path / "m.parquet", Limits(max_manifest_rows=3)).records) == 3
    message = r"^m\.parquet has 3 rows; the limit is 2 \(--source\.limits\.max-manifest-rows\)$"
    with pytest.raises(DataError, match=message):
        read_manifest(tmp_path / "m.parquet", Limits(max_manifest_rows=2))


def test_a_row_of_many_lines_is_no_longer_than_a_line_may_be(tmp_path: Path) -> None:
    path = write(tmp_path, 'file,label,note\na,x,"1\n2\n3"\nb,y,"4\n5\n6"\n')
    assert [record.name for record in read_manifest(path, Limits(max_manifest_line_bytes=16)).records] == ["a", "b"]
    path = write(tmp_path, 'file,label,note\na,x,"1\n2\n3\n4\n5\n6"\nb,y,\n')
    message = r"^metadata\.csv, line 7: longer than 16 bytes \(--source\.limits\.max-manifest-line-bytes\)$"
    with pytest.raises(DataError, match=message):
        read_manifest(path, Limits(max_manifest_line_bytes=16))


def test_a_path_is_measured_in_bytes(tmp_path: Path) -> None:
    path = write(tmp_path, "file,label\nëë,x\nb,y\n")
    assert len(read_manifest(path, Limits(max_manifest_field_bytes=4)).records) == 2
    with pytest.raises(DataError, match=r"line 2: a path of 4 bytes; the limit is 3 "):
        read_manifest(path, Limits(max_manifest_field_bytes=3))


def test_bad_parquet(tmp_path: Path, limits: Limits) -> None:
    pytest.importorskip("pyarrow.parquet")
    with pytest.raises(DataError, match=r"^m\.parquet: not a valid Parquet file \("):
        read_manifest(write(tmp_path, "not parquet", "m.parquet"), limits)


def test_a_parquet_table_is_read_by_row_groups_and_only_what_is_wanted(tmp_path: Path, limits: Limits) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = {
        "file": [f"{number}.png" for number in range(5)],
        "label": [datetime.date(2026, 1, day) for day in (1, 2, 1, 2, 1)],
        "thumbnail": [b"\xff"] * 5,
        "group": [0.5, None, 2.0, 3.0, 4.0],
    }
    parquet.write_table(pyarrow.table(columns), tmp_path / "m.parquet", row_group_size=2)
    assert list(ParquetReader(str(tmp_path / "m.parquet"), ("file", "split"))(1)["cells"]) == ["file"]
    source = read_manifest(tmp_path / "m.parquet", limits)
    assert rows(source)[:2] == [("0.png", ("2026-01-01",), None, "0.5"), ("1.png", ("2026-01-02",), None, None)]
    assert len(source.records) == 5
    assert "columns ignored: thumbnail" in source.notes


@dataclass(frozen=True)
class HarmfulParquet:
    """Does harm, or answers what no reader of tables does."""

    path: str
    wanted: tuple[str, ...]
    act: str

    def __call__(self, part: int) -> Any:
        if self.act in ("segfault", "eat"):
            act(self.act)
        header = {"columns": ["file", "label"], "row_groups": 1, "rows": 1}
        return {"no header": {"columns": [3]}}.get(self.act, header) if part < 0 else {"num_rows": 1, "cells": self.act}


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("segfault", r"^m\.parquet: kills its decoder \(SIGSEGV\)$"),
        ("eat", r"^m\.parquet: needs more than 104,857,600 bytes \(--source\.limits\.max-decode-bytes\)$"),
        ("no header", r"^m\.parquet: its decoder answers nonsense$"),
        ("no cells", r"^m\.parquet: its decoder answers nonsense$"),
    ],
)
def test_a_parquet_table_that_harms_its_decoder_harms_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, message: str
) -> None:
    monkeypatch.setattr("perceptio.data.parquet_rows.ParquetReader", partial(HarmfulParquet, act=what))
    with pytest.raises(DataError, match=message):
        read_manifest(write(tmp_path, "x", "m.parquet"), Limits(max_decode_bytes=100 * 2**20))


@pytest.mark.parametrize(
    ("field", "value", "text", "message"),
    [
        (
            "max_manifest_line_bytes",
            20,
            "file,label\na," + "x" * 30,
            r"line 2: longer than 20 bytes \(--source.limits.max-manifest-line-bytes\)$",
        ),
        (
            "max_manifest_rows",
            2,
            "file,label\na,x\nb,y\nc,x\n",
            r"has more than 2 rows \(--source.limits.max-manifest-rows\)",
        ),
        (
            "max_manifest_columns",
            2,
            "file,label,c\na,x,1\n",
            r"has 3 columns; the limit is 2 \(--source.limits.max-manifest-columns\)$",
        ),
        ("max_classes", 2, "file,label\na,x\nb,y\nc,z\n", r"has 3 classes; the limit is 2"),
        (
            "max_name_characters",
            3,
            "file,label\na,xxxx\n",
            r"line 2: a name of 4 characters; the limit is 3 \(--source.limits.max-name-characters\)$",
        ),
        (
            "max_manifest_field_bytes",
            3,
            "file,label\naaaa,x\n",
            r"line 2: a path of 4 bytes; the limit is 3 \(--source.limits.max-manifest-field-bytes\)$",
        ),
    ],
)
def test_limits(tmp_path: Path, field: str, value: int, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(DataError, match=message):
        read_manifest(path, Limits(**{field: value}))
    if field != "max_classes":
        with pytest.raises(DataError, match="only one class") if "y" not in text else _nothing():
            read_manifest(path, Limits(**{field: value + 30}))


def _nothing():
    from contextlib import nullcontext

    return nullcontext()


KINDS = ("image", "audio", "points")


def parts(source) -> list[tuple]:
    return [(r.name, r.parts, r.labels) for r in source.records]


def test_a_column_a_kind_makes_samples_of_several_files(tmp_path: Path, limits: Limits) -> None:
    text = "audio,label,image,split,note\nb.wav,x,b.jpg,val,hm\n,y,./a.jpg,,\nc\\c.wav,x,,,\n"
    source = read_manifest(write(tmp_path, text), limits, KINDS)
    assert parts(source) == [
        ("a.jpg", (("image", "a.jpg"),), ("y",)),
        ("b.wav", (("audio", "b.wav"), ("image", "b.jpg")), ("x",)),
        ("c/c.wav", (("audio", "c/c.wav"),), ("x",)),
    ]
    assert source.records[1].split == "validation"
    assert source.load(source.records[1]) == {"audio": tmp_path / "b.wav", "image": tmp_path / "b.jpg"}
    assert source.notes == (
        "3 samples of audio and image listed in metadata.csv", "columns ignored: note", "splits given: validation"
    )  # fmt: skip


@pytest.mark.parametrize("column", ["image", "audio", "points"])
def test_a_single_column_called_after_a_kind_is_the_file_column(tmp_path: Path, limits: Limits, column: str) -> None:
    source = read_manifest(write(tmp_path, f"{column},label\na,x\nb,y\n"), limits, KINDS)
    assert parts(source) == [("a", (), ("x",)), ("b", (), ("y",))]
    assert source.load(source.records[0]) == {MAIN: tmp_path / "a"}


def test_beside_a_plain_file_column_a_kind_is_a_note(tmp_path: Path, limits: Limits) -> None:
    """As it always was: such tables exist, and their other columns hold anything."""
    source = read_manifest(write(tmp_path, "path,audio,label\na,1,x\nb,2,y\n"), limits, KINDS)
    assert parts(source) == [("a", (), ("x",)), ("b", (), ("y",))]
    assert "columns ignored: audio" in source.notes


def test_without_names_of_parts_such_a_table_has_no_file_column(tmp_path: Path, limits: Limits) -> None:
    with pytest.raises(DataError, match=r"no column says the file; it must be called file or path or file_name or im"):
        read_manifest(write(tmp_path, "audio,points,label\na,b,x\n"), limits)


def test_parts_in_jsonl_and_parquet(tmp_path: Path, limits: Limits) -> None:
    rows = [{"image": "a.png", "audio": None, "label": "x"}, {"audio": "b.wav", "image": "b.png", "label": "y"}]
    expected = [("a.png", (("image", "a.png"),), ("x",)), ("b.wav", (("audio", "b.wav"), ("image", "b.png")), ("y",))]
    source = read_manifest(write(tmp_path, "\n".join(map(json.dumps, rows)), "m.jsonl"), limits, KINDS)
    assert parts(source) == expected
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = {name: [row[name] for row in rows] for name in ("audio", "image", "label")}
    parquet.write_table(pyarrow.table(columns), tmp_path / "m.parquet")
    assert parts(read_manifest(tmp_path / "m.parquet", limits, KINDS)) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "image,audio,label\n,,x\n",
            r"^metadata\.csv, line 2: no file; every row needs one, in one of the columns image, audio$",
        ),
        ("image,audio,label\na.png,../a.wav,x\n", r"line 2: \.\./a\.wav leads out of the manifest's folder"),
        ("image,audio,label\na.png,/a.wav,x\n", r"line 2: /a\.wav is an absolute path"),
        ("image,audio,label\na,b,x\na,c,y\n", r"line 3: a is listed a second time \(first in line 2\)"),
        ("file,image,audio,label\na,b,c,x\n", r"file and image both say the file; keep one of these columns"),
        ("image,adio,label\na,b,x\n", r"unknown column 'adio'\. Nearest: audio\. Rename or remove it"),
        (
            "url,label\na,x\n",
            r"no column says the file; it must be called file or path or file_name or image or audio or points\. Col",
        ),
    ],
)
def test_bad_parts(tmp_path: Path, limits: Limits, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_manifest(write(tmp_path, text), limits, KINDS)


@pytest.mark.parametrize(
    ("second", "named"),
    [({"image": "b", "label": "y"}, "image"), ({"image": "b", "points": "b", "label": "y"}, "image and points")],
)
def test_lines_of_jsonl_name_the_same_parts(tmp_path: Path, limits: Limits, second: dict, named: str) -> None:
    lines = [{"image": "a", "audio": "a", "label": "x"}, second]
    message = (
        rf"^m\.jsonl: some lines have image and audio and others {named}; name the same in all lines, with null where "
        r"a file is missing$"
    )
    with pytest.raises(DataError, match=message):
        read_manifest(write(tmp_path, "\n".join(map(json.dumps, lines)), "m.jsonl"), limits, KINDS)


def test_an_unknown_suffix(tmp_path: Path, limits: Limits) -> None:
    with pytest.raises(UsageError, match=r"^m\.xlsx is no manifest; it must end in \.csv, \.jsonl, \.parquet$"):
        read_manifest(write(tmp_path, "x", "m.xlsx"), limits)


def test_split_labels_round_trip_of_plain_text() -> None:
    assert split_labels(" a | b;c ", where="") == ("a", "b", "c")
    assert split_labels("", where="") == ()
