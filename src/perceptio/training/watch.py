"""What is measured between two evaluations, for metrics.jsonl, and what is worth a warning in it."""

import os
import time
from typing import Any

import torch

from perceptio.training.feed import Feed
from perceptio.training.memory import memory_bytes, peak_memory_bytes

LONGEST_WAIT_SHARE = 0.25
"""Share of the time spent waiting for data above which somebody is told."""
SHORTEST_WINDOW_SECONDS = 10.0
"""Of shorter windows nothing is concluded: the first batches wait for the workers to start."""


class Watch:
    """Measures the steps since the last evaluation."""

    def __init__(self, feed: Feed, device: torch.device, *, batch_size: int, step: int) -> None:
        self.feed = feed
        self.device = device
        self.batch_size = batch_size
        self._warned = False
        self.restart(step)

    def restart(self, step: int) -> None:
        """Begins anew after a step."""
        self._first_step = step
        self._began = time.monotonic()
        self._waited_before = self.feed.seconds_waited

    def row(self, step: int) -> dict[str, Any]:
        """Returns the columns that are measured, up to a step."""
        elapsed = self._elapsed()
        return {
            "samples_per_second": (step - self._first_step) * self.batch_size / elapsed,
            "data_wait_share": (self.feed.seconds_waited - self._waited_before) / elapsed,
            "num_micro_batches": self.feed.order.num_micro_batches,
            "memory_bytes": memory_bytes(self.device),
            "peak_memory_bytes": peak_memory_bytes(self.device),
        }

    def warning(self, row: dict[str, Any]) -> str | None:
        """Returns what to say about a row: that the model waits for data. Said once a run."""
        waits = row["data_wait_share"] > LONGEST_WAIT_SHARE and self._elapsed() >= SHORTEST_WINDOW_SECONDS
        if self._warned or not waits:
            return None
        self._warned = True
        return waiting_for_data(
            row["data_wait_share"],
            row["samples_per_second"],
            num_workers=self.feed.job.num_workers,
            num_cores=os.cpu_count() or 1,
        )

    def _elapsed(self) -> float:
        return max(time.monotonic() - self._began, 1e-9)


def waiting_for_data(share: float, samples_per_second: float, *, num_workers: int, num_cores: int) -> str:
    """Returns the warning that reading samples is what training waits for.

    Workers read all the time, so they are as fast as training was. Without workers reading and training take turns.
    """
    model_rate = samples_per_second / max(1.0 - share, 1e-9)
    read_rate = samples_per_second if num_workers > 0 else samples_per_second / share
    if num_workers < num_cores:
        way_out = f"--workers {min(num_cores, max(1, 2 * num_workers))} reads more at once (now {num_workers})"
    else:
        way_out = f"{num_workers} workers keep all {num_cores} cores busy: smaller files are read faster"
    return (
        f"training waits for data {share:.0%} of the time: {read_rate:,.0f} samples are read in a second, and the "
        f"model could take {model_rate:,.0f}. {way_out}"
    )
