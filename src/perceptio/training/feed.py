"""The batches of the remaining steps, and what became of the files on the way."""

import time
from collections.abc import Iterator

from accelerate import Accelerator

from perceptio.data.batches import Batch, make_loader
from perceptio.data.order import TrainingOrder
from perceptio.data.records import Skipped
from perceptio.errors import DataError
from perceptio.training.job import Job


class Feed:
    """Hands out this process's micro-batches in order, from one step on.

    Attributes:
        failures: files that could not be read so far.
        seconds_waited: time spent waiting for batches so far.
    """

    def __init__(self, job: Job, accelerator: Accelerator, *, first_step: int) -> None:
        self.job = job
        self.accelerator = accelerator
        self.failures: list[Skipped] = []
        self.seconds_waited = 0.0
        self._batches = self._load(first_step)

    def next_batch(self) -> Batch:
        """Returns the next micro-batch.

        Raises:
            DataError: when too many files in a row cannot be read.
        """
        asked = time.monotonic()
        batch = next(self._batches)
        self.seconds_waited += time.monotonic() - asked
        self.failures.extend(batch.failures)
        parts = self.job.config.num_micro_batches * self.accelerator.num_processes
        if len(batch) == 0 or len(batch) * parts != self.job.batch_size:
            raise DataError(_unreadable(batch))
        return batch

    def _load(self, first_step: int) -> Iterator[Batch]:
        job = self.job
        order = TrainingOrder(
            seed=job.seed,
            num_samples=len(job.samples),
            batch_size=job.batch_size,
            num_micro_batches=job.config.num_micro_batches,
            first_step=first_step,
            num_steps=job.num_steps,
            rank=self.accelerator.process_index,
            num_processes=self.accelerator.num_processes,
        )
        pin_memory = self.accelerator.device.type == "cuda"
        return iter(make_loader(job.samples, order, num_workers=job.num_workers, pin_memory=pin_memory))


def _unreadable(batch: Batch) -> str:
    last = batch.failures[-1]
    return f"too many files in a row cannot be read: {len(batch.failures)}, the last one {last.name}: {last.reason}"
