import json
from pathlib import Path

import pytest

from perceptio.disk import Disk
from perceptio.training.metric_log import MetricLog


@pytest.fixture
def log(tmp_path: Path) -> MetricLog:
    log = MetricLog(tmp_path / "metrics.jsonl")
    for step in (3, 6, 9):
        log.append({"step": step, "train_loss": 1 / step})
    return log


def test_rows_come_back_exactly(log: MetricLog):
    assert log.rows() == [{"step": step, "train_loss": 1 / step} for step in (3, 6, 9)]
    assert all(json.loads(line) for line in log.path.read_text().splitlines())


def test_no_file_has_no_rows(tmp_path: Path):
    assert MetricLog(tmp_path / "none.jsonl").rows() == []


def test_a_last_line_without_its_end_is_no_row_and_goes_with_the_next_cut(log: MetricLog):
    with log.path.open("a") as file:
        file.write('{"step": 12, "train')
    again = MetricLog(log.path)
    assert [row["step"] for row in again.rows()] == [3, 6, 9]
    again.cut_after(6)
    again.append({"step": 9, "train_loss": 0.5})
    assert [row["step"] for row in MetricLog(log.path).rows()] == [3, 6, 9]
    assert [path.name for path in log.path.parent.iterdir()] == ["metrics.jsonl"]


def test_a_row_that_found_no_room_comes_with_the_next(tmp_path: Path):
    class Full(Disk):
        full = True

        def write(self, file: int, content: memoryview) -> int:
            if self.full:
                raise OSError(28, "No space left on device")
            return super().write(file, content)

    disk = Full()
    log = MetricLog(tmp_path / "metrics.jsonl", disk)
    with pytest.raises(OSError, match="No space left"):
        log.append({"step": 3})
    disk.full = False
    log.append({"step": 6})
    assert [row["step"] for row in MetricLog(log.path).rows()] == [3, 6]


def test_cutting_keeps_the_bytes_of_what_stays(log: MetricLog):
    before = log.path.read_bytes()
    log.cut_after(9)
    assert log.path.read_bytes() == before


def test_cutting_at_the_start_empties(log: MetricLog):
    log.cut_after(0)
    assert log.path.read_bytes() == b""
