import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from perceptio.data.children import Allowance
from perceptio.data.fashion_sample import read_fashion_sample
from perceptio.data.folder import read_folder
from perceptio.data.limits import Limits
from perceptio.data.probe import Looking, ProbeResult, probe
from perceptio.data.records import FileSource, Record
from perceptio.data.verdicts import VerdictCache
from perceptio.errors import DataError
from support.harmful import Noting, look, look_at_picture, name_parts

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


def looking(look, *, full: bool = False, seconds: int = 5) -> Looking:
    allowance = Allowance(seconds=seconds, memory_bytes=200 * 2**20)
    return Looking(look=look, limits=Limits(), full=full, allowance=allowance)


def run(root: Path, *, full: bool):
    return probe(read_folder(root, Limits()), looking(look_at_picture, full=full))


def test_exactly_the_broken_files_are_listed_with_their_reasons(mixed: Path) -> None:
    result = run(mixed, full=True)
    cut = (mixed / "cat/cut.png").stat().st_size
    assert {s.name: s.reason for s in result.skipped} == REASONS | {
        "cat/cut.png": f"truncated PNG file: it ends after {cut:,} bytes"
    }
    assert [r.name for r in result.good] == ["cat/good.png", "dog/good.png", "dog/inside.png"]
    assert list(result.facts.values()) == 3 * [[30, 20]]
    assert set(result.facts) == {r.name for r in result.good}


def test_headers_alone_do_not_find_a_cut(mixed: Path) -> None:
    result = run(mixed, full=False)
    assert {s.name: s.reason for s in result.skipped} == REASONS
    assert "cat/cut.png" in result.facts


def test_arrays_need_no_probe() -> None:
    source = read_fashion_sample()
    result = probe(source, looking(lambda items, full: pytest.fail("nothing to look at"), full=True))
    assert result.good == source.records
    assert result.skipped == ()
    assert result.facts == {}


def test_progress_comes_in_order_and_ends_complete(make_tree, limits: Limits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perceptio.data.probe._PROGRESS_STEP", 3)
    source = read_folder(make_tree(*(f"{c}/{n}" for c in ("a", "b") for n in range(4))), limits)
    seen = []
    probe(source, looking(look), progress=lambda *done: seen.append(done))
    assert seen == [(3, 8), (6, 8), (8, 8)]


@pytest.mark.parametrize("full", [False, True])
def test_whether_to_decode_is_handed_on(make_tree, limits: Limits, full: bool) -> None:
    source = read_folder(make_tree("a/1", "b/1"), limits)
    assert probe(source, looking(look, full=full)).facts == {"a/1": {"full": full}, "b/1": {"full": full}}


def of_two_files(root: Path, **second: str) -> FileSource:
    """A sample "1" whose parts lie in two files, one of which the caller names, and a sample "2" that lacks one."""
    records = (
        Record(name="1", labels=("a",), parts=(("left", "a/1.l"), ("right", second.get("right", "a/1.r")))),
        Record(name="2", labels=("b",), parts=(("right", "b/2.r"),)),
    )
    return FileSource(records=records, classes=("a", "b"), multi_label=False, notes=(), root=root)


def test_all_files_of_a_sample_are_looked_at_together(make_tree, limits: Limits) -> None:
    root = make_tree("a/1.l", "a/1.r", "b/2.r")
    found = probe(of_two_files(root), looking(name_parts))
    assert found.facts == {
        "1": {"left": str(root / "a/1.l"), "right": str(root / "a/1.r")},
        "2": {"right": str(root / "b/2.r")},
    }


def test_one_bad_file_spoils_its_sample_and_is_named(make_tree, limits: Limits, tmp_path: Path) -> None:
    root = make_tree("a/1.l", "b/2.r")
    (tmp_path / "outside.r").write_bytes(b"x")
    for right, reason in (
        ("a/none.r", "right (none.r): no such file"),
        ("../outside.r", "right (outside.r): leads out of the data folder; copy the file into it"),
    ):
        found = probe(of_two_files(root, right=right), looking(name_parts))
        assert [(entry.name, entry.reason) for entry in found.skipped] == [("1", reason)]
        assert list(found.facts) == ["2"]


def test_a_failing_disk_stops_and_skips_nothing(make_tree, limits: Limits) -> None:
    source = read_folder(make_tree("a/system.1", "b/1"), limits)
    with pytest.raises(DataError, match=r"^a/system.1: the disk or network failed 3 times \(Input/output error\)"):
        probe(source, looking(look))


def test_files_that_harm_their_decoder_are_skipped_and_all_others_are_good(make_tree, limits: Limits) -> None:
    """One kills, one spins, one eats memory; each is found among files of the same message."""
    names = ["a/segfault.1", "a/spin.2", "b/eat.3", *(f"{c}/{n}" for c in "ab" for n in range(30))]
    result = probe(read_folder(make_tree(*names), limits), looking(look, seconds=1))
    assert {entry.name: entry.reason for entry in result.skipped} == {
        "a/segfault.1": "kills its decoder (SIGSEGV)",
        "a/spin.2": "took more than 1 s of processor time (--source.limits.max-clip-seconds)",
        "b/eat.3": "needs more than 209,715,200 bytes (--source.limits.max-decode-bytes)",
    }
    assert [record.name for record in result.good] == sorted(names[3:])


def test_good_files_are_remembered_until_they_change(make_tree, limits: Limits, tmp_path: Path) -> None:
    root = make_tree("a/1", "a/2", "b/1", "b/refuse.2")
    source = read_folder(root, limits)
    cache = VerdictCache(tmp_path / "cache")
    looked = tmp_path / "looked"

    def looked_at(**changes) -> tuple[list[str], ProbeResult]:
        looked.write_text("")
        result = probe(source, replace(looking(Noting(looked)), **changes), cache=cache)
        return sorted(looked.read_text().split()), result

    first, found = looked_at()
    assert first == ["1", "1", "2", "refuse.2"]
    second, again = looked_at()
    assert second == ["refuse.2"]
    assert again == found
    (root / "a" / "1").write_bytes(b"another content")
    assert looked_at()[0] == ["1", "refuse.2"]
    assert looked_at(settings="others")[0] == first
    assert looked_at(full=True)[0] == first
    assert looked_at(limits=replace(Limits(), max_classes=7))[0] == first
    for path in cache.folder.iterdir():
        path.write_bytes(b'["\xff')
    assert looked_at()[0] == first
