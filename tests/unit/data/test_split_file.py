import pytest

from perceptio.data.limits import Limits
from perceptio.data.manifest import read_manifest
from perceptio.data.records import Record
from perceptio.data.split_file import SplitRow, read_split, read_split_rows, write_split
from perceptio.errors import DataError, FileError


def test_split_csv_comes_back_and_is_a_manifest(tmp_path) -> None:
    labels = [("cat",), ("a|b",), ("x", "y, z"), (), ("été; 猫",), ('say "hi"',)]
    records = [Record(name=f"sub/{n}, odd.jpg", labels=label) for n, label in enumerate(labels)]
    splits = {record.name: ("train", "validation", "test")[n % 3] for n, record in enumerate(records)}
    write_split(tmp_path / "split.csv", records, splits, lambda record: f"{len(record.labels)}+7")
    assert read_split(tmp_path / "split.csv") == splits
    rows = read_split_rows(tmp_path / "split.csv")
    assert rows["sub/2, odd.jpg"] == SplitRow("test", '["x", "y, z"]', "2+7")
    source = read_manifest(tmp_path / "split.csv", Limits())
    assert {r.name: (r.labels, r.split) for r in source.records} == {
        r.name: (r.labels, splits[r.name]) for r in records
    }
    assert [file.name for file in tmp_path.iterdir()] == ["split.csv"]


def test_a_file_of_an_older_version_says_nothing_about_sizes(tmp_path) -> None:
    (tmp_path / "split.csv").write_text("file,split\na,train\n")
    assert read_split_rows(tmp_path / "split.csv") == {"a": SplitRow("train", None, None)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,labels\na,x\n", "^split.csv must have the columns file, split, labels; split is missing$"),
        (
            "file,split,labels\na,train,x\na,test,x\n",
            "^split.csv, line 3: a is listed a second time; remove one of the lines$",
        ),
        ("file,split,labels\na,trian,x\n", "^split.csv, line 2: 'trian' is no split"),
    ],
)
def test_bad_split_files(tmp_path, text: str, message: str) -> None:
    (tmp_path / "split.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_split(tmp_path / "split.csv")


def test_a_missing_split_file(tmp_path) -> None:
    with pytest.raises(FileError, match=r"^no such file$"):
        read_split(tmp_path / "split.csv")
