from pathlib import Path

import pytest

from perceptio.runs.log import logged
from perceptio.runs.screen import SilentScreen


def test_a_log_holds_what_was_told_before_it_had_a_place(tmp_path: Path):
    with logged(None, is_main=True) as screen:
        screen.fact("Data", "photos/: ä")
        screen.open(tmp_path / "log.txt")
        screen.fact("Run", "runs/photos-001")
    assert (tmp_path / "log.txt").read_text("utf-8") == "Data      photos/: ä\nRun       runs/photos-001\n"


def test_a_log_keeps_the_traceback_of_what_went_wrong(tmp_path: Path):
    def fail() -> None:
        with logged(SilentScreen(), is_main=True) as screen:
            screen.open(tmp_path / "log.txt")
            _ = 1 / 0

    with pytest.raises(ZeroDivisionError):
        fail()
    text = (tmp_path / "log.txt").read_text()
    assert text.startswith("Traceback (most recent call last)")
    assert "_ = 1 / 0" in text
    assert text.endswith("ZeroDivisionError: division by zero\n")


def test_a_name_that_is_no_text_and_a_full_disk_cost_no_run(tmp_path: Path):
    with logged(None, is_main=True) as screen:
        screen.open(tmp_path / "log.txt")
        screen.fact("Data", "a\udcff")
        assert (tmp_path / "log.txt").read_text() == "Data      a\\udcff\n"
        screen.open(tmp_path / "nowhere" / "log.txt")
        screen.fact("Data", "b")


def test_of_several_processes_only_the_first_logs(tmp_path: Path):
    with logged(None, is_main=False) as screen:
        screen.fact("Data", "x")
        assert screen.waiting == []
