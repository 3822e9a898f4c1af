"""The scripts that make the data sets of docs/results: what a rerun finds, repairs and refuses."""

import importlib
import os
import re
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "benchmarks" / "datasets"


@pytest.fixture
def listed_files(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(SCRIPTS)
    return importlib.import_module("listed_files")


class Pets:
    """Files that note down that they are written."""

    def __init__(self, **texts: str) -> None:
        self.written: list[str] = []
        self.files = {f"{name}/1.txt": partial(self.write, text=text) for name, text in texts.items()}

    def write(self, path: Path, text: str) -> None:
        path.write_text(text)
        self.written.append(text)


def test_a_rerun_writes_only_what_is_missing_or_damaged_and_says_so(
    listed_files: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out, pets = tmp_path / "out", Pets(cat="miaow", dog="woof", cow="moo")
    make = partial(listed_files.make_files, out, "pets 1.0, seed 0", pets.files)
    make()
    assert sorted(pets.written) == ["miaow", "moo", "woof"]
    pets.written.clear()
    make()
    assert pets.written == []
    assert capsys.readouterr().err == ""
    (out / "dog/1.txt").write_bytes(b"")
    (out / "cow/1.txt").unlink()
    make()
    assert sorted(pets.written) == ["moo", "woof"]
    message = f"2 of 3 files in {out} are missing or damaged and are made anew (first: dog/1.txt)\n"
    assert capsys.readouterr().err == message
    assert [(out / f"{name}/1.txt").read_text() for name in ("cat", "dog", "cow")] == ["miaow", "woof", "moo"]
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", listed_files.LIST], cwd=out, check=True)
    assert len((out / listed_files.LIST).read_text().splitlines()) == 1 + 3


def test_files_of_another_seed_or_of_nobody_knows_what_are_refused(listed_files: ModuleType, tmp_path: Path):
    out, files = tmp_path / "out", Pets(cat="miaow").files
    listed_files.make_files(out, "pets 1.0, seed 0", files)
    message = (
        f"{out} holds 'pets 1.0, seed 0'; asked for is 'pets 1.0, seed 1'. Give another folder, or remove this one."
    )
    with pytest.raises(SystemExit, match=f"^{re.escape(message)}$"):
        listed_files.make_files(out, "pets 1.0, seed 1", files)
    (out / listed_files.LIST).unlink()
    message = f"{out} holds files, but no SHA256SUMS that says what they are. Give another folder, or remove this one."
    with pytest.raises(SystemExit, match=f"^{re.escape(message)}$"):
        listed_files.make_files(out, "pets 1.0, seed 0", files)


def test_half_a_line_of_the_list_is_no_line(listed_files: ModuleType, tmp_path: Path):
    out, files = tmp_path / "out", Pets(cat="miaow", dog="woof").files
    listed_files.make_files(out, "pets", files)
    text = (out / listed_files.LIST).read_text()
    for length in (len(text) - 1, len(text) - 4, len(text) - 40):
        (out / listed_files.LIST).write_text(text[:length])
        listed_files.make_files(out, "pets", files)
        assert (out / listed_files.LIST).read_text() == text


KILLED = """
import os, signal, sys
from pathlib import Path
from listed_files import make_files
def write_half(path):
    path.write_text("half of it")
    os.kill(os.getpid(), signal.SIGKILL)
make_files(Path(sys.argv[1]), "pets", {"cat/1.txt": write_half})
"""


def test_a_run_that_is_killed_leaves_no_part_of_a_file_under_its_name(listed_files: ModuleType, tmp_path: Path):
    out = tmp_path / "out"
    killed = subprocess.run([sys.executable, "-c", KILLED, str(out)], env={**os.environ, "PYTHONPATH": str(SCRIPTS)})
    assert killed.returncode == -signal.SIGKILL
    assert not (out / "cat/1.txt").exists()
    listed_files.make_files(out, "pets", Pets(cat="miaow").files)
    assert [path.read_text() for path in (out / "cat").iterdir()] == ["miaow"]


def make_deb(folder: Path, texts: dict[str, str]) -> Path:
    tree = folder / "tree"
    for name, text in {"DEBIAN/control": "Package: pets\nVersion: 1\nArchitecture: all\n", **texts}.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    with (tree / "DEBIAN/control").open("a") as file:
        file.write("Maintainer: nobody <nobody@example.org>\nDescription: pets\n")
    subprocess.run(["dpkg-deb", "--build", str(tree), str(folder / "pets.deb")], check=True, capture_output=True)
    return folder / "pets.deb"


def test_a_damaged_file_of_an_unpacked_package_is_unpacked_anew(
    listed_files: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    if shutil.which("dpkg-deb") is None:
        pytest.skip("unpacks a Debian package, and there is no dpkg-deb")
    debian = importlib.import_module("debian")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = make_deb(tmp_path, {"usr/cat": "miaow", "usr/dog": "woof"})
    pets = debian.Package(name="pets", version="1", sha256=listed_files.sha256_of(file))
    unpacked = debian.fetch(pets, file=file)
    assert debian.fetch(pets) == unpacked, "without the package: it is unpacked already"
    assert capsys.readouterr().err == ""
    (unpacked / "usr/dog").write_bytes(b"")
    assert debian.fetch(pets, file=file) == unpacked
    assert (unpacked / "usr/dog").read_text() == "woof"
    assert capsys.readouterr().err == (
        f"1 of 2 files in {unpacked} are missing or damaged, and the package is unpacked anew (first: usr/dog)\n"
    )


KIT = """<drumkit_info><instrumentList>
<instrument><name>Kick</name><filename>k.wav</filename></instrument>
<instrument><name>Snare 2</name><filename>s.wav</filename></instrument>
</instrumentList></drumkit_info>"""


def test_a_script_makes_its_tree_and_repairs_it(
    listed_files: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    script = importlib.import_module("drum_hits")
    for kit in ("One", "Two"):
        folder = tmp_path / "package" / script.KITS / kit
        folder.mkdir(parents=True)
        (folder / "drumkit.xml").write_text(KIT)
        (folder / "k.wav").write_text(f"kick of {kit}")
        (folder / "s.wav").write_text(f"snare of {kit}")
    monkeypatch.setattr(script, "fetch", lambda package, file: tmp_path / "package")
    monkeypatch.setattr(sys, "argv", ["drum_hits.py", str(tmp_path / "out")])
    out = tmp_path / "out"
    script.main()
    before = {path.name: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert set(before) == {
        "One__k.wav", "One__s.wav", "Two__k.wav", "Two__s.wav", "fold-One.csv", "fold-Two.csv", "all.csv", "SHA256SUMS"
    }  # fmt: skip
    assert "kick/One__k.wav,kick,test,One" in before["fold-One.csv"].decode()
    (out / "kick/Two__k.wav").write_bytes(b"")
    (out / "fold-One.csv").write_bytes(b"")
    script.main()
    assert f"2 of 7 files in {out} are missing or damaged" in capsys.readouterr().err
    after = {path.name: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert {**after, "SHA256SUMS": b""} == {**before, "SHA256SUMS": b""}
