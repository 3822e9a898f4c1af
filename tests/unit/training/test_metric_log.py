import json
from pathlib import Path

import pytest

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


def test_a_last_line_without_its_end_is_no_row(log: MetricLog):
    with log.path.open("a") as file:
        file.write('{"step": 12, "train')
    assert [row["step"] for row in log.rows()] == [3, 6, 9]


def test_cutting_drops_later_rows_and_torn_lines(log: MetricLog):
    with log.path.open("a") as file:
        file.write('{"step": 12, "train')
    log.cut_after(6)
    log.append({"step": 9, "train_loss": 0.5})
    assert [row["step"] for row in log.rows()] == [3, 6, 9]
    assert [path.name for path in log.path.parent.iterdir()] == ["metrics.jsonl"]


def test_cutting_keeps_the_bytes_of_what_stays(log: MetricLog):
    before = log.path.read_bytes()
    log.cut_after(9)
    assert log.path.read_bytes() == before


def test_cutting_at_the_start_empties(log: MetricLog):
    log.cut_after(0)
    assert log.path.read_bytes() == b""
