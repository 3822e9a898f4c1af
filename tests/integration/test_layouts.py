"""Arrays whose axes are all places: nobody can tell them from channels but their owner, on the command line."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from support.processes import perceptio
from support.shards import write_tar

SMALL = ("--epochs", "1", "--model.num-latents", "4", "--workers", "0", "--device", "cpu")


@pytest.fixture
def maps(tmp_path: Path) -> Path:
    """Maps of 9 x 20 places that lean to the north or to the east."""
    random = np.random.default_rng(0)
    for label, slope in (("east", np.arange(20.0)[None]), ("north", np.arange(9.0)[:, None])):
        (tmp_path / "maps" / label).mkdir(parents=True)
        for number in range(10):
            np.save(tmp_path / "maps" / label / f"{number}.npy", slope + random.normal(size=(9, 20)))
    return tmp_path / "maps"


def test_maps_train_where_the_flag_says_that_all_axes_are_places(maps: Path, tmp_path: Path):
    done = perceptio("train", "--data", maps, "--no-array.channels-last", *SMALL, "--out", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "9 x 20 x 1 = 180 inputs of" in done.stderr
    assert "taken as channels" not in done.stderr
    array = json.loads((tmp_path / "run" / "config.json").read_text())["streams"]["by_name"]["array"]
    assert (array["axes"], array["channels"], array["channels_last"]) == ([9, 20], 1, False)


def test_a_table_of_maps_has_the_flag_too(maps: Path, tmp_path: Path):
    table = tmp_path / "list.csv"
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["array", "label"])
        writer.writerows([path.relative_to(tmp_path), path.parent.name] for path in sorted(maps.rglob("*.npy")))
    done = perceptio("train", "--data", table, "--no-array.channels-last", *SMALL, "--dry-run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "9 x 20 x 1 = 180 inputs of" in done.stderr


def test_a_stream_of_another_name_has_the_flag_under_that_name(maps: Path, tmp_path: Path):
    """Shards may call the files of a sample as they like."""
    members = {}
    for number, path in enumerate(sorted(maps.rglob("*.npy"))):
        members[f"{number:02d}.npy"] = path.read_bytes()
        members[f"{number:02d}.cls"] = str(int(path.parent.name == "north")).encode()
        members[f"{number:02d}.json"] = b'{"parts": {"terrain": "npy"}}'
    (tmp_path / "shards").mkdir()
    write_tar(tmp_path / "shards" / "maps.tar", members)
    told = perceptio("info", "shards", cwd=tmp_path)
    assert "the files: 9 x 20 channels (median)" in told.stdout
    assert "the last axis, 20 long, taken as channels (--no-terrain.channels-last if it holds places)" in told.stdout
    flags = ("--no-terrain.channels-last", "--terrain.drop-probability", "0")
    done = perceptio("train", "--data", "shards", *flags, *SMALL, "--out", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    terrain = json.loads((tmp_path / "run" / "config.json").read_text())["streams"]["by_name"]["terrain"]
    assert (terrain["axes"], terrain["channels_last"], terrain["column"]) == ([9, 20], False, "terrain")
