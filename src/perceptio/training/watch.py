"""What is measured between two evaluations, for metrics.jsonl."""

import time
from typing import Any

from perceptio.training.feed import Feed


class Watch:
    """Measures the steps since the last evaluation."""

    def __init__(self, feed: Feed, *, batch_size: int, step: int) -> None:
        self.feed = feed
        self.batch_size = batch_size
        self.restart(step)

    def restart(self, step: int) -> None:
        """Begins anew after a step."""
        self._first_step = step
        self._began = time.monotonic()
        self._waited_before = self.feed.seconds_waited

    def row(self, step: int) -> dict[str, Any]:
        """Returns the columns that are measured, up to a step."""
        elapsed = max(time.monotonic() - self._began, 1e-9)
        return {
            "samples_per_second": (step - self._first_step) * self.batch_size / elapsed,
            "data_wait_share": (self.feed.seconds_waited - self._waited_before) / elapsed,
        }
