import errno
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from perceptio.data.fashion_sample import read_fashion_sample
from perceptio.data.folder import read_folder
from perceptio.data.image_files import decode_image, probe_image
from perceptio.data.limits import Limits
from perceptio.data.probe import probe
from perceptio.data.records import MAIN, FileSource, Item, Record
from perceptio.errors import DataError

NOISE = np.random.default_rng(0).integers(0, 256, (30, 20, 3), dtype=np.uint8)


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Two good pictures and one of each kind of trouble."""
    root = tmp_path / "mixed"
    for name in ("cat", "dog"):
        (root / name).mkdir(parents=True)
        Image.fromarray(NOISE).save(root / name / "good.png")
    whole = (root / "cat" / "good.png").read_bytes()
    (root / "cat" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (root / "cat" / "empty.jpg").touch()
    (root / "dog" / "page.jpg").write_bytes(b"<!DOCTYPE html>")
    (root / "dog" / "zeros.gif").write_bytes(b"\0" * 100)
    os.mkfifo(root / "dog" / "pipe.png")
    (tmp_path / "outside.png").write_bytes(whole)
    (root / "dog" / "out.png").symlink_to(tmp_path / "outside.png")
    (root / "dog" / "dangling.png").symlink_to(tmp_path / "nothing.png")
    (root / "dog" / "inside.png").symlink_to(root / "cat" / "good.png")
    (root / "dog" / "new\nline.png").write_bytes(whole)
    Path(os.fsdecode(os.fsencode(root) + b"/dog/\xff.png")).write_bytes(whole)
    return root


REASONS = {
    "cat/empty.jpg": "empty file (0 bytes)",
    "dog/dangling.png": "leads out of the data folder; copy the file into it",
    "dog/new\\nline.png": "its name holds control characters; rename it",
    "dog/out.png": "leads out of the data folder; copy the file into it",
    "dog/page.jpg": 'not an image: it begins with "<!DOCTYPE html>"',
    "dog/pipe.png": "not a regular file but a pipe",
    "dog/zeros.gif": "not an image: it begins with zeros",
    "dog/\\udcff.png": "its name is not valid UTF-8; rename it",
}


def look(items: Mapping[str, Item], full: bool) -> tuple[int, int]:
    """Returns the size of the only part; decodes it if asked to."""
    assert set(items) == {MAIN}
    size = probe_image(items[MAIN], Limits())
    if full:
        decode_image(items[MAIN], 3, Limits())
    return size


def run(root: Path, *, full: bool):
    return probe(read_folder(root, Limits()), look, limits=Limits(), full=full)


def test_exactly_the_broken_files_are_listed_with_their_reasons(mixed: Path) -> None:
    result = run(mixed, full=True)
    cut = (mixed / "cat/cut.png").stat().st_size
    assert {s.name: s.reason for s in result.skipped} == REASONS | {
        "cat/cut.png": f"truncated PNG file: it ends after {cut:,} bytes"
    }
    assert [r.name for r in result.good] == ["cat/good.png", "dog/good.png", "dog/inside.png"]
    assert set(result.facts.values()) == {(30, 20)}
    assert set(result.facts) == {r.name for r in result.good}


def test_headers_alone_do_not_find_a_cut(mixed: Path) -> None:
    result = run(mixed, full=False)
    assert {s.name: s.reason for s in result.skipped} == REASONS
    assert "cat/cut.png" in result.facts


def test_arrays_need_no_probe(limits: Limits) -> None:
    source = read_fashion_sample()
    result = probe(source, lambda items, full: pytest.fail("nothing to look at"), limits=limits, full=True)
    assert result.good == source.records
    assert result.skipped == ()
    assert result.facts == {}


def test_progress_comes_in_order_and_ends_complete(make_tree, limits: Limits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perceptio.data.probe._FILES_A_ROUND", 3)
    source = read_folder(make_tree(*(f"{c}/{n}" for c in ("a", "b") for n in range(4))), limits)
    seen = []
    probe(source, lambda items, full: None, limits=limits, full=False, progress=lambda *done: seen.append(done))
    assert seen == [(3, 8), (6, 8), (8, 8)]


@pytest.mark.parametrize("full", [False, True])
def test_whether_to_decode_is_handed_on(make_tree, limits: Limits, full: bool) -> None:
    source = read_folder(make_tree("a/1", "b/1"), limits)
    assert probe(source, lambda items, full: full, limits=limits, full=full).facts == {"a/1": full, "b/1": full}


def of_two_files(root: Path, **second: str) -> FileSource:
    """A sample "1" whose parts lie in two files, one of which the caller names, and a sample "2" that lacks one."""
    records = (
        Record(name="1", labels=("a",), parts=(("left", "a/1.l"), ("right", second.get("right", "a/1.r")))),
        Record(name="2", labels=("b",), parts=(("right", "b/2.r"),)),
    )
    return FileSource(records=records, classes=("a", "b"), multi_label=False, notes=(), root=root)


def test_all_files_of_a_sample_are_looked_at_together(make_tree, limits: Limits) -> None:
    root = make_tree("a/1.l", "a/1.r", "b/2.r")
    found = probe(of_two_files(root), lambda items, full: dict(items), limits=limits, full=False)
    assert found.facts == {"1": {"left": root / "a/1.l", "right": root / "a/1.r"}, "2": {"right": root / "b/2.r"}}


def test_one_bad_file_spoils_its_sample_and_is_named(make_tree, limits: Limits, tmp_path: Path) -> None:
    root = make_tree("a/1.l", "b/2.r")
    (tmp_path / "outside.r").write_bytes(b"x")
    for right, reason in (
        ("a/none.r", "right (none.r): no such file"),
        ("../outside.r", "right (outside.r): leads out of the data folder; copy the file into it"),
    ):
        found = probe(of_two_files(root, right=right), lambda items, full: None, limits=limits, full=False)
        assert [(entry.name, entry.reason) for entry in found.skipped] == [("1", reason)]
        assert list(found.facts) == ["2"]


def test_a_failing_disk_stops_and_skips_nothing(make_tree, limits: Limits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    source = read_folder(make_tree("a/1", "b/1"), limits)

    def fail(items: Mapping[str, Item], full: bool) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(DataError, match=r"^a/1: the disk or network failed 3 times"):
        probe(source, fail, limits=limits, full=False)
