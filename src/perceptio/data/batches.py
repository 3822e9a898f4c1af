"""From samples to batches, and to loaders that fetch them in parallel."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from perceptio.data.dataset import Sample
from perceptio.data.records import Skipped


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Samples side by side.

    Attributes:
        values: uint8 (B, \\*axes, channels), samples of different sizes padded at the end of each axis.
        extents: (B, A) places of each axis that a sample fills, or None when all fill the whole grid.
        indices: (B,) index of each sample's record.
        failures: files that could not be read.
    """

    values: Tensor
    extents: Tensor | None
    indices: Tensor
    failures: tuple[Skipped, ...]

    def __len__(self) -> int:
        return len(self.indices)

    def pin_memory(self) -> "Batch":
        """Returns the batch in page-locked memory; the loader calls this where copies to a GPU are to overlap."""
        return replace(
            self,
            values=self.values.pin_memory(),
            extents=None if self.extents is None else self.extents.pin_memory(),
        )


def collate(samples: Sequence[Sample]) -> Batch:
    """Returns the batch of those samples that have values."""
    failures = tuple(failure for sample in samples for failure in sample.failures)
    read = [(sample.index, sample.values) for sample in samples if sample.values is not None]
    indices = torch.tensor([index for index, _ in read], dtype=torch.int64)
    if not read:
        return Batch(values=torch.empty(0, dtype=torch.uint8), extents=None, indices=indices, failures=failures)
    arrays = [values for _, values in read]
    sizes = np.array([array.shape[:-1] for array in arrays])
    whole = sizes.max(axis=0)
    if (sizes == whole).all():
        values = torch.from_numpy(np.stack(arrays))
        return Batch(values=values, extents=None, indices=indices, failures=failures)
    padded = np.zeros((len(arrays), *whole, arrays[0].shape[-1]), dtype=np.uint8)
    for row, array in zip(padded, arrays, strict=True):
        row[tuple(slice(0, length) for length in array.shape[:-1])] = array
    return Batch(values=torch.from_numpy(padded), extents=torch.from_numpy(sizes), indices=indices, failures=failures)


def make_loader(
    dataset: Dataset[Sample], batches: Iterable[list[Any]], *, num_workers: int, pin_memory: bool = False
) -> DataLoader[Sample]:
    """Returns a loader of `Batch` over the given batches of sample keys, in their order for any number of workers.

    Workers start by forkserver: a fork of a process whose threads ran a kernel may hang or die.
    """
    return DataLoader(
        dataset,
        batch_sampler=batches,
        collate_fn=collate,
        num_workers=num_workers,
        multiprocessing_context="forkserver" if num_workers else None,
        pin_memory=pin_memory,
        worker_init_fn=_begin_worker,
        # Its own generator: otherwise the loader draws from torch's global one and moves every later dropout mask.
        generator=torch.Generator().manual_seed(0),
    )


def _begin_worker(number: int) -> None:
    """Lets a worker outlive Ctrl-C, which a terminal sends to all processes, and never the main process.

    Ctrl-C asks the main process to finish its step, for which it may still need batches. And after a kill -9 torch's
    own watch would fail: it looks at the worker's parent, which with forkserver is the server, and that lives as long
    as its workers do.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_main_process, daemon=True).start()


def _end_with_main_process() -> None:
    main_process = multiprocessing.parent_process()
    assert main_process is not None, "only workers run this"
    main_process.join()
    os._exit(1)


def standardise(values: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Returns uint8 values (B, \\*axes, channels) as float32: scaled to [0, 1], minus the mean, over the std."""
    scale = torch.tensor(std, dtype=torch.float32, device=values.device)
    shift = torch.tensor(mean, dtype=torch.float32, device=values.device)
    return (values.to(torch.float32) / 255.0 - shift) / scale
