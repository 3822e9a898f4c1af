import json
from pathlib import Path

import pytest

from perceptio.cli.main import main
from support.pictures import make_picture_folder


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return make_picture_folder(tmp_path / "pictures", per_class=4)


def test_pack_and_check(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["data", "pack", str(pictures), str(out)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"Packed    12 samples into 1 shard, 0.0 MB, in {out}",
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
    assert lines[-1] == "          1 problem, 8.3 % of the samples lost"
    (pictures / "disc" / "01.png").write_bytes(b"")
    assert main(["data", "check", str(pictures), "--json"]) == 4


def test_a_check_lists_files_of_which_none_can_be_used(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = sorted(str(path.relative_to(pictures)) for path in pictures.glob("*/*.png"))
    for name in names:
        (pictures / name).write_bytes(b"")
    assert main(["data", "check", str(pictures)]) == 4
    assert capsys.readouterr().out.splitlines() == [
        *(f"bad       {name}: empty file (0 bytes)" for name in names),
        "Checked   0 samples of 0 classes can be used (looked at)",
        "          12 problems, 100.0 % of the samples lost",
    ]


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
