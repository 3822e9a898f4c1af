"""The batches of the remaining steps, and what became of the files on the way."""

import time
from collections.abc import Iterator

from accelerate import Accelerator

from perceptio.data.batches import Batch
from perceptio.data.failures import told
from perceptio.data.lasting import LastingBatches, Loss
from perceptio.data.order import TrainingOrder
from perceptio.errors import DataError, UnreachableError
from perceptio.training.job import Job, Report, WorkerLoss


class Feed:
    """Hands out this process's micro-batches in order, from one step on.

    A file that kills or hangs the worker that reads it costs itself alone (see `data.lasting`).

    Attributes:
        order: which samples a micro-batch has, and how they are mixed.
        seconds_waited: time spent waiting for batches so far.
    """

    order: TrainingOrder

    def __init__(
        self, job: Job, accelerator: Accelerator, report: Report, *, first_step: int, num_micro_batches: int
    ) -> None:
        self.job = job
        self.accelerator = accelerator
        self.report = report
        self.seconds_waited = 0.0
        self.restart(first_step, num_micro_batches)

    def restart(self, step: int, num_micro_batches: int) -> None:
        """Goes on with the first micro-batch of a step, each step in so many of them.

        Raises:
            ValueError: when processes and micro-batches do not divide the batch.
        """
        job = self.job
        self.order = TrainingOrder(
            seed=job.seed,
            num_samples=len(job.samples),
            batch_size=job.batch_size,
            num_micro_batches=num_micro_batches,
            first_step=step,
            num_steps=job.num_steps,
            mixing=job.config.mixing,
            blocks=job.blocks,
            rank=self.accelerator.process_index,
            num_processes=self.accelerator.num_processes,
        )
        self._asked = iter(self.order)
        self._batches: Iterator[Batch] = iter(
            LastingBatches(
                job.samples,
                self.order,
                num_workers=job.num_workers,
                allowance=job.allowance,
                batch_seconds=job.batch_seconds,
                pin_memory=self.accelerator.device.type == "cuda",
                on_loss=self._tell,
            )
        )

    def next_batch(self) -> Batch:
        """Returns the next micro-batch: its own samples, then the partners that they are mixed with.

        Raises:
            DataError: when the disk or network fails.
        """
        began = time.monotonic()
        try:
            batch = next(self._batches)
        except OSError as error:
            raise UnreachableError(_unreachable(error)) from error
        self.seconds_waited += time.monotonic() - began
        self._num_asked = len(next(self._asked))
        return batch

    def check_whole(self, batch: Batch) -> None:
        """Checks that the batch handed out last has all its samples, be they stand-ins.

        Raises:
            DataError: when too many files in a row cannot be read.
        """
        if len(batch) != self._num_asked:
            raise DataError(_unreadable(batch))

    def _tell(self, loss: Loss) -> None:
        self.report(WorkerLoss(reason=loss.reason, quarantined=loss.quarantined))


def _unreadable(batch: Batch) -> str:
    last = batch.failures[-1]
    return f"too many files in a row cannot be read: {len(batch.failures)}, the last one {last.name}: {last.reason}"


def _unreachable(error: OSError) -> str:
    return (
        f"the disk or network failed in the middle of the run ({told(error)}). That is not the files' fault, so "
        "nothing was skipped; once it works, go on from the last checkpoint with perceptio train --resume"
    )
