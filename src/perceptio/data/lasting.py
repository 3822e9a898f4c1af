"""Batches that outlive the workers that make them.

A file may kill the worker that decodes it, or never let go of it. Which files a lost worker may have had is known: the
order of samples is a function. Each of them is then read in a child process, those that harm it are put in quarantine,
and new workers go on at the same batch. All that follows is as if those files had been known to be bad at that batch.
"""

import math
import multiprocessing
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from multiprocessing.process import BaseProcess
from typing import Any, cast

from perceptio.data.batches import Batch, make_loader, script_left_alone
from perceptio.data.children import Allowance, Children
from perceptio.data.dataset import Samples
from perceptio.data.names import printable
from perceptio.data.records import Skipped
from perceptio.errors import DataError, FileError, HarmfulFileError

BATCH_SECONDS = 600.0
"""How long a batch may take, if nobody says otherwise."""
MOST_LOSSES = 10
"""Losses of workers after which a run stops; it is then not the files, or too many of them."""

# Batches that torch lets each worker prepare in advance.
_PREFETCHED = 2
_WORKER_MEMORY_FACTOR = 4
_JOBS_A_MESSAGE = 4
_WATCH_SECONDS = 0.5
# How long a worker that died takes to be seen as dead by the process that started it.
_DEATH_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class Loss:
    """A loss of workers, and what was found out.

    Attributes:
        reason: what happened to the worker.
        quarantined: files that will not be read again, perhaps none.
    """

    reason: str
    quarantined: tuple[Skipped, ...]


class LastingBatches:
    """Iterates over the batches of some samples; several times if asked to.

    Args:
        batches: keys of the samples of each batch; the same ones each time they are asked for.
        num_workers: processes that make them. 0: this one does, which is for samples that need no decoder.
        allowance: what reading one sample may take.
        batch_seconds: how long a batch may take before its worker counts as hung.
        on_loss: is told of each loss.
    """

    def __init__(
        self,
        samples: Samples[Any],
        batches: Iterable[list[Any]],
        *,
        num_workers: int,
        allowance: Allowance,
        batch_seconds: float = BATCH_SECONDS,
        pin_memory: bool = False,
        on_loss: Callable[[Loss], None] = lambda loss: None,
    ) -> None:
        self._samples = samples
        self._batches = batches
        self._num_workers = num_workers
        self._allowance = allowance
        self._batch_seconds = batch_seconds
        self._pin_memory = pin_memory
        self._on_loss = on_loss
        self._num_losses = 0

    def __iter__(self) -> Iterator[Batch]:
        """Yields the batches.

        Raises:
            DataError: workers were lost again and again.
        """
        num_done = 0
        while True:
            before = set(multiprocessing.active_children())
            watch = _Watch(self._batch_seconds)
            try:
                with script_left_alone():
                    loader = iter(self._loader(num_done))
                watch.workers = tuple(set(multiprocessing.active_children()) - before)
                while (batch := watch.next_of(loader)) is not None:
                    yield cast(Batch, batch)
                    num_done += 1
                return
            except (RuntimeError, OSError, EOFError, MemoryError) as error:
                reason = watch.loss(error)
                if reason is None:
                    raise
                self._mend(reason, num_done)
            finally:
                watch.end()

    def _loader(self, num_done: int) -> Iterable[Any]:
        rest = self._batches if num_done == 0 else _From(self._batches, num_done)
        return make_loader(
            self._samples,
            rest,
            num_workers=self._num_workers,
            pin_memory=self._pin_memory,
            worker_bytes=_WORKER_MEMORY_FACTOR * self._allowance.memory_bytes,
        )

    def _mend(self, reason: str, num_done: int) -> None:
        """Finds out which file did it, if one did."""
        under_way = islice(self._batches, num_done, num_done + 1 + _PREFETCHED * self._num_workers)
        found = quarantine_harmful(self._samples, [key for batch in under_way for key in batch], self._allowance)
        self._num_losses += 1
        self._on_loss(Loss(reason=reason, quarantined=found))
        if self._num_losses >= MOST_LOSSES:
            blamed = f"the last file to blame: {printable(found[-1].name)}" if found else "no file is to blame"
            raise DataError(
                f"the processes that read files were lost {self._num_losses} times, the last time because {reason}; "
                f"{blamed}. If memory is short, use fewer of them: --workers 1"
            )


class _Watch:
    """Waits for batches, and kills workers that take too long over one.

    The loader's own limit of time will not do: with it torch looks for dead workers only when the time is up.
    """

    def __init__(self, batch_seconds: float) -> None:
        self.workers: tuple[BaseProcess, ...] = ()
        self._batch_seconds = batch_seconds
        self._deadline = math.inf
        self._has_killed = False
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def next_of(self, loader: Iterator[Any]) -> Any:
        """Returns the next batch; None at the end."""
        if self.workers and self._thread is None:
            self._thread = threading.Thread(target=self._run, name="watch over loader", daemon=True)
            self._thread.start()
        self._deadline = time.monotonic() + self._batch_seconds
        try:
            return next(loader, None)
        finally:
            self._deadline = math.inf  # what is done with the batch may take as long as it likes

    def loss(self, error: Exception) -> str | None:
        """Returns what happened to a worker, or None where the error is of another kind."""
        if self._has_killed:
            return "one of them hung"
        if isinstance(error, MemoryError):
            return "one of them ran out of memory"
        deadline = time.monotonic() + _DEATH_SECONDS
        while self.workers and time.monotonic() < deadline:
            if not all(worker.is_alive() for worker in self.workers):
                return "one of them died"
            time.sleep(0.05)
        return None

    def end(self) -> None:
        """Stops watching."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(_WATCH_SECONDS):
            if time.monotonic() > self._deadline:
                self._has_killed = True
                for worker in self.workers:
                    worker.kill()
                return


@dataclass(frozen=True)
class _From:
    """Batches from some place on."""

    batches: Iterable[list[Any]]
    first: int

    def __iter__(self) -> Iterator[list[Any]]:
        return islice(self.batches, self.first, None)


def quarantine_harmful(samples: Samples[Any], keys: Iterable[Any], allowance: Allowance) -> tuple[Skipped, ...]:
    """Sees to it that no harmful file is read when the samples of these keys are made; returns those it found."""
    found = harmful_files(samples, keys, allowance)
    samples.quarantine.update({skipped.name: skipped.reason for skipped in found})
    return found


def harmful_files(samples: Samples[Any], keys: Iterable[Any], allowance: Allowance) -> tuple[Skipped, ...]:
    """Returns the records that harm a child process when the samples of these keys are made, stand-ins included."""
    found: dict[str, str] = {}
    with Children(_Attempt(samples), allowance, jobs_a_message=_JOBS_A_MESSAGE) as children:
        open_keys = [(key, samples.candidates(key)) for key in keys]
        while open_keys:
            # One candidate of each key at a time: the next is tried only where this one cannot be read.
            tried = [(key, candidates, next(candidates, None)) for key, candidates in open_keys]
            jobs = [(key, index) for key, _, index in tried if index is not None]
            answers = iter(list(children.map(jobs)))
            open_keys = []
            for key, candidates, index in tried:
                answer = next(answers) if index is not None else None
                if isinstance(answer, FileError):
                    open_keys.append((key, candidates))
                if isinstance(answer, HarmfulFileError) and index is not None:
                    found[samples.records[index].name] = str(answer)
    return tuple(Skipped(name, reason) for name, reason in found.items())


@dataclass(frozen=True)
class _Attempt:
    """Makes the views of one record under one key and keeps nothing of them."""

    samples: Samples[Any]

    def __call__(self, job: tuple[Any, int]) -> None:
        key, index = job
        name = self.samples.records[index].name
        if name in self.samples.quarantine:
            raise FileError(self.samples.quarantine[name])
        self.samples.views(key, index)
