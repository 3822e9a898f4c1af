"""From samples to batches, and to loaders that fetch them in parallel."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from operator import itemgetter
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from perceptio.data.children import limit_memory
from perceptio.data.dataset import Sample
from perceptio.data.records import Skipped


@dataclass(frozen=True, kw_only=True)
class Stream:
    """One modality of a batch.

    Attributes:
        values: (B, \\*axes, channels) in the views' own dtype, samples of different sizes padded at the end of each
            axis; zeros where a sample lacks this modality.
        extents: (B, A) places of each axis that a sample fills, or None when all fill the whole grid.
        present: (B,) False where a sample lacks this modality, or None when none does.
    """

    values: Tensor
    extents: Tensor | None = None
    present: Tensor | None = None

    def map(self, change: Callable[[Tensor], Tensor]) -> "Stream":
        """Returns the stream with each of its tensors changed."""
        return Stream(
            values=change(self.values),
            extents=None if self.extents is None else change(self.extents),
            present=None if self.present is None else change(self.present),
        )


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Views side by side.

    Attributes:
        streams: the modalities that at least one sample has, by name.
        indices: (B,) index of each view's record; views of one sample follow each other.
        failures: files that could not be read.
    """

    streams: Mapping[str, Stream]
    indices: Tensor
    failures: tuple[Skipped, ...]

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def num_bytes(self) -> int:
        """Memory that the values take."""
        return sum(stream.values.nbytes for stream in self.streams.values())

    def map(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        """Returns the batch with each tensor of its streams changed."""
        return replace(self, streams={name: stream.map(change) for name, stream in self.streams.items()})

    def pin_memory(self) -> "Batch":
        """Returns the batch in page-locked memory; the loader calls this where copies to a GPU are to overlap."""
        return self.map(Tensor.pin_memory)

    def to(self, device: torch.device) -> "Batch":
        """Returns the batch with its streams on a device."""
        return self.map(lambda tensor: tensor.to(device, non_blocking=True))

    def parts(self, size: int) -> Iterator["Batch"]:
        """Yields the batch in pieces of at most `size` views."""
        for start in range(0, len(self), size):
            chosen = slice(start, start + size)
            yield replace(self.map(itemgetter(chosen)), indices=self.indices[chosen], failures=())


Prepare = Callable[[str, Tensor], Tensor]
"""Turns the values of a stream, given its name, into what the model takes, such as standardised float32."""

ModelInputs = tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]
"""Inputs, extents and presence by stream, as `StreamsInput` takes them."""


def model_inputs(batch: Batch, prepare: Prepare) -> ModelInputs:
    """Returns what the model takes."""
    streams = batch.streams.items()
    return (
        {name: prepare(name, stream.values) for name, stream in streams},
        {name: stream.extents for name, stream in streams if stream.extents is not None},
        {name: stream.present for name, stream in streams if stream.present is not None},
    )


def collate(samples: Sequence[Sample]) -> Batch:
    """Returns the batch of all views of the samples."""
    failures = tuple(failure for sample in samples for failure in sample.failures)
    views = [view for sample in samples for view in sample.views]
    indices = [sample.index for sample in samples for _ in sample.views]
    names = dict.fromkeys(name for view in views for name in view)
    return Batch(
        streams={name: _stack([view.get(name) for view in views]) for name in names},
        indices=torch.tensor(indices, dtype=torch.int64),
        failures=failures,
    )


def _stack(arrays: Sequence[np.ndarray | None]) -> Stream:
    given = [array for array in arrays if array is not None]
    present = None if len(given) == len(arrays) else torch.tensor([array is not None for array in arrays])
    whole = np.array([array.shape[:-1] for array in given]).max(axis=0)
    # A sample without this modality is no reason to pad the others.
    sizes = np.array([whole if array is None else array.shape[:-1] for array in arrays])
    same = bool((sizes == whole).all())
    if same and present is None:
        return Stream(values=torch.from_numpy(np.stack(given)))
    values = np.zeros((len(arrays), *whole, given[0].shape[-1]), dtype=given[0].dtype)
    for row, array in zip(values, arrays, strict=True):
        if array is not None:
            row[tuple(slice(0, length) for length in array.shape[:-1])] = array
    extents = None if same else torch.from_numpy(sizes)
    return Stream(values=torch.from_numpy(values), extents=extents, present=present)


@contextmanager
def script_left_alone() -> Iterator[None]:
    """Lets processes be started from a script that has no `if __name__ == "__main__"`.

    Python runs the script again in each of them, for what it may define; a loader's workers need nothing of it.
    """
    script = vars(sys.modules["__main__"])
    path = script.pop("__file__", None)
    try:
        yield
    finally:
        if path is not None:
            script["__file__"] = path


def make_loader(
    dataset: Dataset[Sample],
    batches: Iterable[list[Any]],
    *,
    num_workers: int,
    pin_memory: bool = False,
    worker_bytes: int | None = None,
) -> DataLoader[Sample]:
    """Returns a loader of `Batch` over the given batches of sample keys, in their order for any number of workers.

    Workers start by forkserver: a fork of a process whose threads ran a kernel may hang or die. Begin to iterate under
    `script_left_alone`.

    Args:
        worker_bytes: address space that a worker may take on top of what it starts with; None: any.
    """
    if num_workers:
        # The server imports torch once and not each worker, which takes them seconds. Without effect once it runs.
        multiprocessing.set_forkserver_preload([__name__])
    return DataLoader(
        dataset,
        batch_sampler=batches,
        collate_fn=collate,
        num_workers=num_workers,
        multiprocessing_context="forkserver" if num_workers else None,
        pin_memory=pin_memory,
        worker_init_fn=partial(_begin_worker, worker_bytes),
        # Its own generator: otherwise the loader draws from torch's global one and moves every later dropout mask.
        generator=torch.Generator().manual_seed(0),
    )


def _begin_worker(worker_bytes: int | None, number: int) -> None:
    """Lets a worker outlive Ctrl-C, which a terminal sends to all processes, and never the main process.

    Ctrl-C asks the main process to finish its step, for which it may still need batches. And after a kill -9 torch's
    own watch would fail: it looks at the worker's parent, which with forkserver is the server, and that lives as long
    as its workers do.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if worker_bytes is not None:
        limit_memory(worker_bytes)
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
