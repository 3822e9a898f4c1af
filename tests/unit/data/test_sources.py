import pickle
import sys

import pytest

from perceptio.data.fashion_sample import FASHION_SAMPLE
from perceptio.data.limits import Limits
from perceptio.data.sources import open_source
from perceptio.errors import UsageError


def test_auto_recognises_each_kind(make_tree, limits: Limits) -> None:
    folder = make_tree("cat/1.jpg", "dog/1.jpg")
    assert open_source(str(folder), "auto", limits).classes == ("cat", "dog")
    (folder / "metadata.csv").write_text("file_name,label\ncat/1.jpg,x\ndog/1.jpg,y\n")
    assert open_source(str(folder), "auto", limits).classes == ("x", "y")
    assert open_source(str(folder / "metadata.csv"), "auto", limits).classes == ("x", "y")
    assert open_source(str(folder), "folder", limits).classes == ("cat", "dog")
    assert open_source(str(FASHION_SAMPLE), "auto", limits).classes[0] == "ankle boot"
    assert open_source("", "sample", limits).classes[0] == "ankle boot"
    assert len(open_source("fashion-sample", "sample", limits).records) == 14_000


def test_every_source_survives_pickle(make_tree, limits: Limits) -> None:
    for source in (open_source(str(make_tree("cat/1", "dog/1")), "auto", limits), open_source("", "sample", limits)):
        again = pickle.loads(pickle.dumps(source))  # noqa: S301 (our own bytes)
        assert again.records == source.records


def test_names_of_neighbours(make_tree, limits: Limits, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_tree("cat/1.jpg", "dog/1.jpg")
    monkeypatch.chdir(root.parent)
    with pytest.raises(UsageError, match=r"^no folder fotos/ here; did you mean photos/ \?$"):
        open_source("fotos", "auto", limits)
    with pytest.raises(UsageError, match=r"^no folder dgo/ in photos/; did you mean dog/ \?$"):
        open_source("photos/dgo", "auto", limits)
    with pytest.raises(UsageError, match=r"^no file list\.csv here\. There is: photos\.$"):
        open_source("list.csv", "auto", limits)
    with pytest.raises(UsageError, match=r"^no folder nowhere/, so no a in it$"):
        open_source("nowhere/a", "auto", limits)


@pytest.mark.parametrize(
    ("path", "format", "message"),
    [
        ("", "auto", "^no data given; name a folder or a manifest, such as --data photos/$"),
        ("photos", "sample", "^the embedded sample is 'fashion-sample'; 'photos' has no effect, remove it$"),
        ("photos/cat/1.jpg", "auto", r"^photos/cat/1\.jpg is a \.jpg file; give a folder, or a manifest \(\.csv"),
        ("photos", "idx", r"^photos is not a folder with train-images-idx3-ubyte\.gz; format auto looks what it is$"),
        ("photos", "manifest", r"^photos is not a \.csv, \.jsonl or \.parquet file or a folder with metadata\.csv"),
        ("photos/cat/1.jpg", "folder", r"^photos/cat/1\.jpg is not a folder"),
        ("a\0b", "auto", r"^no folder a\\x00b/ here\."),
        ("a" * 5000, "auto", r"^no folder a{80} can exist: File name too long$"),
    ],
)
def test_wrong_usage(make_tree, limits: Limits, monkeypatch, path: str, format: str, message: str) -> None:
    monkeypatch.chdir(make_tree("cat/1.jpg", "dog/1.jpg").parent)
    with pytest.raises(UsageError, match=message):
        open_source(path, format, limits)


def test_two_metadata_tables(make_tree, limits: Limits) -> None:
    root = make_tree("metadata.csv", "metadata.jsonl", "a/1")
    with pytest.raises(UsageError, match=r"photos/ holds metadata\.csv and metadata\.jsonl; keep one$"):
        open_source(str(root), "auto", limits)


def test_reading_folders_needs_neither_torch_nor_pillow() -> None:
    import subprocess

    code = (
        "import sys, perceptio.data.sources, perceptio.data.folder, perceptio.data.image_reader, perceptio.data.probe;"
        "bad = {'torch', 'PIL', 'pyarrow'} & set(sys.modules); assert not bad, bad"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_manifest_is_told_which_columns_hold_parts(make_tree, limits: Limits) -> None:
    root = make_tree("metadata.csv", content=b"image,audio,label\na.png,a.wav,x\nb.png,,y\n")
    for path in (root, root / "metadata.csv"):
        source = open_source(str(path), "auto", limits, ("audio", "image"))
        assert [record.parts for record in source.records] == [
            (("image", "a.png"), ("audio", "a.wav")),
            (("image", "b.png"),),
        ]
