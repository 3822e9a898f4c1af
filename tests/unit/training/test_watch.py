from pathlib import Path

import pytest
import torch

from perceptio.runs.machine import make_accelerator
from perceptio.training import watch as watch_module
from perceptio.training.feed import Feed
from perceptio.training.watch import Watch, waiting_for_data
from support.jobs import make_job


def test_workers_read_as_fast_as_training_goes():
    assert waiting_for_data(0.5, 100.0, num_workers=2, num_cores=8) == (
        "training waits for data 50% of the time: 100 samples are read in a second, and the model could take 200. "
        "--workers 4 reads more at once (now 2)"
    )


def test_without_workers_reading_and_training_take_turns():
    text = waiting_for_data(0.25, 90.0, num_workers=0, num_cores=2)
    assert "25% of the time: 360 samples are read in a second, and the model could take 120. --workers 1" in text


def test_more_workers_than_cores_are_not_advised():
    text = waiting_for_data(0.9, 50.0, num_workers=4, num_cores=4)
    assert text.endswith("could take 500. 4 workers keep all 4 cores busy: smaller files are read faster")
    assert "--workers 4 reads" in waiting_for_data(0.9, 50.0, num_workers=3, num_cores=4)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.mark.parametrize(("seconds", "waited", "told"), [(20.0, 6.0, True), (20.0, 4.0, False), (5.0, 4.0, False)])
def test_waiting_is_told_once_and_of_long_windows_only(
    tmp_path: Path, monkeypatch, seconds: float, waited: float, told: bool
):
    clock = Clock()
    monkeypatch.setattr(watch_module, "time", clock)
    feed = Feed(make_job(tmp_path), make_accelerator("cpu", "fp32"), print, first_step=0, num_micro_batches=2)
    feed.seconds_waited = 3.0
    watch = Watch(feed, torch.device("cpu"), batch_size=8, step=10)
    clock.now += seconds
    feed.seconds_waited += waited
    row = watch.row(15)
    assert (row["samples_per_second"], row["data_wait_share"]) == (40 / seconds, waited / seconds)
    assert row["num_micro_batches"] == 2
    assert 50 * 2**20 < row["memory_bytes"] <= row["peak_memory_bytes"] + 2**20
    assert (watch.warning(row) is not None) == told
    assert watch.warning(row) is None
