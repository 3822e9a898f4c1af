"""Batches for evaluation: the same ones each time, kept in memory when they are small."""

from collections.abc import Iterator

from perceptio.data.batches import Batch
from perceptio.data.children import Allowance
from perceptio.data.dataset import EvaluationSamples
from perceptio.data.failures import told
from perceptio.data.lasting import BATCH_SECONDS, LastingBatches
from perceptio.errors import UnreachableError

KEPT_BYTES = 512 * 2**20


class EvaluationBatches:
    """Iterates over a set in its order. Views without augmentation never change, so a small set is decoded once.

    Args:
        rank, num_processes: process `rank` gets samples rank, rank + num_processes, .. of the set.
        allowance: what reading one sample may take.
        batch_seconds: how long a batch may take before its worker counts as hung.
    """

    def __init__(
        self,
        samples: EvaluationSamples,
        *,
        batch_size: int,
        num_workers: int,
        rank: int = 0,
        num_processes: int = 1,
        allowance: Allowance | None = None,
        batch_seconds: float = BATCH_SECONDS,
    ) -> None:
        self.samples = samples
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.rank = rank
        self.num_processes = num_processes
        self.allowance = allowance or Allowance()
        self.batch_seconds = batch_seconds
        self._kept: list[Batch] | None = None

    def __iter__(self) -> Iterator[Batch]:
        """Yields the batches; raises UnreachableError when the disk or network fails."""
        if self._kept is not None:
            yield from self._kept
            return
        try:
            yield from self._loaded()
        except OSError as error:
            raise UnreachableError(
                f"the disk or network failed ({told(error)}). That is not the files' fault, so nothing was skipped; "
                "once it works, start again, or go on from the last checkpoint with perceptio train --resume"
            ) from error

    def _loaded(self) -> Iterator[Batch]:
        share = range(self.rank, len(self.samples), self.num_processes)
        keys = [list(share[start : start + self.batch_size]) for start in range(0, len(share), self.batch_size)]
        kept: list[Batch] | None = []
        size = 0
        for batch in LastingBatches(
            self.samples,
            keys,
            num_workers=self.num_workers,
            allowance=self.allowance,
            batch_seconds=self.batch_seconds,
        ):
            size += batch.num_bytes
            if size > KEPT_BYTES:
                kept = None
            if kept is not None:
                kept.append(batch)
            yield batch
        self._kept = kept
