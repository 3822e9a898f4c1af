import json
from pathlib import Path

import pytest

from perceptio.cli.data import parse_bytes
from perceptio.cli.main import main
from perceptio.errors import UsageError
from support.pictures import make_picture_folder


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return make_picture_folder(tmp_path / "pictures", per_class=4)


@pytest.mark.parametrize(
    ("text", "size"), [("256MB", 256_000_000), ("1.5GiB", 3 * 2**29), ("70 KB", 70_000), ("1024", 1024)]
)
def test_sizes(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "MB", "-5MB", "5 miles"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--shard-bytes must be a size such as 256MB or 1GiB: got "):
        parse_bytes(text)


def test_pack_and_check(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["data", "pack", str(pictures), str(out)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"Packed    12 samples into 1 shards, 0.0 MB, in {out}",
        f"Next      perceptio train --data {out}",
    ]
    assert main(["data", "check", str(out), "--full", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["usable"], document["problems"], document["lost_share"]) == (12, [], 0.0)


def test_exit_codes_of_a_check(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (pictures / "disc" / "00.png").write_bytes(b"")
    assert main(["data", "check", str(pictures)]) == 3
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [
        "bad       disc/00.png: empty file (0 bytes)",
        "Checked   11 samples of 3 classes can be used (looked at)",
    ]
    assert lines[-1] == "          1 problems, 8.3% of the samples lost"
    (pictures / "disc" / "01.png").write_bytes(b"")
    assert main(["data", "check", str(pictures), "--json"]) == 4


def test_what_is_left_out_is_named(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (pictures / "disc" / "00.png").write_bytes(b"")
    assert main(["data", "pack", str(pictures), str(tmp_path / "out"), "--shard-bytes", "1MB"]) == 3
    assert capsys.readouterr().out.startswith("left out  disc/00.png: empty file (0 bytes)\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "error: no action given. Type perceptio data pack DATA OUT, or perceptio data check DATA\n"),
        (
            ["pakc"],
            "error: unknown action 'pakc'. Nearest: pack. Type perceptio data pack DATA OUT, or perceptio data check "
            "DATA\n",
        ),
        (
            ["pack", "a", "b", "--seed", "3"],
            "error: --split and --seed have no effect without --draw-splits; add it, or remove them\n",
        ),
    ],
)
def test_wrong_usage(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", *arguments]) == 2
    assert capsys.readouterr().err == message
