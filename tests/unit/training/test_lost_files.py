"""What goes bad in mid-run is counted once, told once, listed, and limited."""

from pathlib import Path

import pytest

from perceptio.data.names import Split
from perceptio.data.records import Skipped
from perceptio.errors import DataError
from perceptio.training.lost_files import FileLost, LostFiles
from perceptio.training.processes import Processes

SPLITS: dict[str, Split] = {
    f"{number:02d}": "train" if number < 14 else "validation" if number < 17 else "test" for number in range(20)
}


def lost_files(folder: Path, *skipped: Skipped, allowed: float = 0.1) -> LostFiles:
    return LostFiles(SPLITS, skipped, allowed=allowed, path=folder / "skipped.csv")


def add(lost: LostFiles, *names: str) -> list[FileLost]:
    told: list[FileLost] = []
    assert lost.add([Skipped(name, f"{name} is gone") for name in names], Processes(), told.append) == bool(names)
    return told


def test_a_file_counts_once_in_its_split_and_the_first_is_told(tmp_path: Path):
    lost = lost_files(tmp_path, allowed=0.5)
    assert add(lost) == []
    listed_in = str(tmp_path / "skipped.csv")
    assert add(lost, "03", "15") == [FileLost(name="03", reason="03 is gone", listed_in=listed_in)]
    assert add(lost, "15", "19", "03") == []
    assert [entry.name for entry in lost.found] == ["03", "15", "19"]
    assert [lost.count(split) for split in ("train", "validation", "test")] == [1, 1, 1]


@pytest.mark.parametrize(("skipped", "most"), [((), 2), ((Skipped("x", "broken"),), 1)])
def test_what_was_skipped_before_counts_towards_the_limit(tmp_path: Path, skipped: tuple[Skipped, ...], most: int):
    """Of 20 samples a tenth is 2; of 21, one of which could not be used from the start, it is 2 with that one."""
    lost = lost_files(tmp_path, *skipped)
    add(lost, *list(SPLITS)[:most])
    with pytest.raises(DataError, match=f"{most + 1} of them since training began"):
        add(lost, "19")


def test_the_message_says_share_limit_first_files_list_and_ways_out(tmp_path: Path):
    lost = lost_files(tmp_path / "my run", Skipped("x", "broken"), allowed=0.15)
    with pytest.raises(DataError) as caught:
        add(lost, "00", "01", "02", "03")
    path = tmp_path / "my run" / "skipped.csv"
    assert str(caught.value) == (
        "5 of 21 samples cannot be used, 4 of them since training began: 23.8%, the limit is 15% "
        "(--source.max-skipped). First: 00: 00 is gone; 01: 01 is gone; 02: 02 is gone; all: "
        f"{path}. Put the files back, then go on from the last checkpoint with perceptio train --resume "
        f"'{path.parent}'; with --accept-changes it goes on without those that are gone"
    )


def test_the_list_has_what_was_skipped_before_and_then_what_was_lost(tmp_path: Path):
    lost = lost_files(tmp_path, Skipped("x", "broken"), allowed=0.5)
    lost.write()
    assert not lost.path.exists(), "there is nothing new"
    add(lost, "17", "03")
    lost.write()
    assert lost.path.read_text().splitlines() == ["file,reason", "x,broken", "17,17 is gone", "03,03 is gone"]


def test_a_run_that_goes_on_knows_what_it_lost_but_for_samples_that_the_data_no_longer_has(tmp_path: Path):
    lost = lost_files(tmp_path)
    lost.restore([Skipped("03", "gone"), Skipped("left out", "gone")])
    assert lost.found == (Skipped("03", "gone"),)
    lost.write()
    assert lost.path.read_text().splitlines() == ["file,reason", "03,gone"]
    assert len(add(lost, "04")) == 1, "said once more"
