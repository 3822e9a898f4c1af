"""Files are read in child processes: one that kills, hangs or exhausts its decoder costs itself and nothing else."""

import contextlib
import math
import os
import pickle
import resource
import signal
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import TracebackType
from typing import Any

from perceptio.data.answers import pack, unpack
from perceptio.data.failures import ran_out_of_memory
from perceptio.data.nursery import Child, End, start_child
from perceptio.errors import AbsentError, DataError, FileError, HarmfulFileError, MissingExtraError, UnreachableError

# Processor time is what is limited. Where a child waits instead of working (a dead network share), this much more
# time may pass; a busy machine may need it as well.
_PATIENCE = 6
_LEAST_PATIENCE_SECONDS = 30
_MOST_CHILDREN = 8


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """What reading one file may take.

    Attributes:
        seconds: processor time. A child that waits for something else is given up after six times as long, and not
            before half a minute.
        memory_bytes: on top of what the child starts with.
        options: which raise the two limits, for messages.
    """

    seconds: int = 30
    memory_bytes: int = 2 * 2**30
    options: tuple[str, str] = ("--source.limits.max-clip-seconds", "--source.limits.max-decode-bytes")

    @property
    def patience_seconds(self) -> float:
        """How long a child may be silent."""
        return max(_LEAST_PATIENCE_SECONDS, _PATIENCE * self.seconds)


@dataclass(frozen=True)
class _Task:
    work: Callable[[Any], Any]
    allowance: Allowance


class _Worker:
    """A child, what it has been given and not yet answered, and when it was last heard of."""

    def __init__(self, task: _Task) -> None:
        self.child: Child = start_child(_serve, task)
        self.pending: deque[tuple[int, Any]] = deque()
        self.num_answers = 0
        self.was_killed = False
        self.heard = time.monotonic()

    def give(self, jobs: list[tuple[int, Any]]) -> None:
        """Hands jobs to an idle child."""
        self.pending.extend(jobs)
        self.heard = time.monotonic()
        # A child that died while idle is noticed when its answer is waited for.
        with contextlib.suppress(OSError):
            self.child.connection.send_bytes(pickle.dumps([job for _, job in jobs]))

    def kill(self) -> None:
        """Ends a child that takes too long."""
        self.was_killed = True
        self.child.kill()


class _Queue:
    """Jobs that no child has: those to be tried alone in a new child, those to be given out again, and all others."""

    def __init__(self, rest: Iterator[tuple[int, Any]]) -> None:
        self.alone: deque[tuple[int, Any]] = deque()
        self.again: deque[tuple[int, Any]] = deque()
        self._rest = rest

    def take(self, number: int, room: int) -> list[tuple[int, Any]]:
        """Returns some of those that any child may do, at most `room` of them given out for the first time."""
        taken = [self.again.popleft() for _ in range(min(number, len(self.again)))]
        return taken + list(islice(self._rest, max(0, min(room, number - len(taken)))))


class Children:
    """A few child processes that do the same work on one file after another. Close it, or use it as a context.

    Args:
        work: takes a job and returns what `answers.pack` can send; raises FileError, AbsentError, MissingExtraError,
            DataError or OSError. It is sent by pickle, and so are the jobs.
        allowance: what one job may take.
        num_children: None: one a processor core, at most 8.
        jobs_a_message: more than one saves time where jobs are quick.
        most_ahead: how many answers may be there or under way before the first of them is taken; None: enough to keep
            all children busy.
    """

    def __init__(
        self,
        work: Callable[[Any], Any],
        allowance: Allowance,
        *,
        num_children: int | None = None,
        jobs_a_message: int = 1,
        most_ahead: int | None = None,
    ) -> None:
        self._task = _Task(work, allowance)
        self._num_children = num_children or max(1, min(_MOST_CHILDREN, os.cpu_count() or 1))
        self._jobs_a_message = jobs_a_message
        self._most_ahead = most_ahead or 2 * self._num_children * jobs_a_message
        self._workers: list[_Worker] = []
        self.num_deaths = 0
        self.peak_bytes = 0

    def __enter__(self) -> "Children":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the children."""
        for worker in self._workers:
            if worker.pending:
                worker.child.kill()
            worker.child.connection.close()
            self.peak_bytes = max(self.peak_bytes, worker.child.end().peak_bytes)
        self._workers = []

    def map(self, jobs: Iterable[Any]) -> Iterator[Any]:
        """Yields the answer to each job, in order; a `FileError` where the file is to blame.

        A child's death gives a `HarmfulFileError`. It is laid to the file that the child had in work only if that was
        its first: else the file is tried again, alone, in a new child.

        Raises:
            MissingExtraError, DataError, OSError: a job raised it.
            RuntimeError: a job raised something else, which is a fault of this program.
        """
        queue = _Queue(enumerate(jobs))
        answers: dict[int, Any] = {}
        due = 0
        try:
            while True:
                self._feed(queue, len(answers))
                if due in answers:
                    answer = answers.pop(due)
                    due += 1
                    if isinstance(answer, Exception) and not isinstance(answer, FileError):
                        raise answer
                    yield answer
                elif any(worker.pending for worker in self._workers):
                    self._listen(queue, answers)
                else:
                    return
        finally:
            if any(worker.pending for worker in self._workers):
                self.close()  # left in the middle: nobody waits for the rest

    def _feed(self, queue: "_Queue", num_answers: int) -> None:
        """Gives work to idle children; starts those that are missing."""
        while queue.alone:
            if len(self._workers) == self._num_children:
                idle = next((worker for worker in self._workers if not worker.pending), None)
                if idle is None:
                    break
                self._discard(idle)
            self._start().give([queue.alone.popleft()])
        under_way = sum(len(worker.pending) for worker in self._workers) + len(queue.again)
        room = self._most_ahead - num_answers - under_way
        for number in range(self._num_children):
            if number < len(self._workers) and self._workers[number].pending:
                continue
            jobs = queue.take(self._jobs_a_message, room)
            if not jobs:
                return
            room -= len(jobs)
            worker = self._workers[number] if number < len(self._workers) else self._start()
            worker.give(jobs)

    def _start(self) -> _Worker:
        self._workers.append(_Worker(self._task))
        return self._workers[-1]

    def _listen(self, queue: "_Queue", answers: dict[int, Any]) -> None:
        """Waits for answers, deaths and the end of patience."""
        busy = [worker for worker in self._workers if worker.pending]
        patience = self._task.allowance.patience_seconds
        left = min(worker.heard for worker in busy) + patience - time.monotonic()
        ready = wait([worker.child.connection for worker in busy], timeout=max(0.0, left))
        for worker in busy:
            if worker.child.connection in ready:
                try:
                    content = worker.child.connection.recv_bytes(self._task.allowance.memory_bytes)
                except (EOFError, OSError):
                    self._bury(worker, queue, answers)
                else:
                    self._note(worker, content, queue, answers)
            elif not ready and time.monotonic() - worker.heard >= patience:
                if _wants_the_processor(worker.child.pid):
                    worker.heard = time.monotonic()
                else:
                    worker.kill()

    def _note(self, worker: _Worker, content: bytes, queue: "_Queue", answers: dict[int, Any]) -> None:
        number, job = worker.pending.popleft()
        answer = self._understood(content)
        worker.num_answers += 1
        worker.heard = time.monotonic()
        if isinstance(answer, FileError) and ran_out_of_memory(answer) and worker.num_answers > 1:
            # Perhaps the fault of files before it, whose memory is still held.
            queue.alone.append((number, job))
            queue.again.extend(worker.pending)
            self._discard(worker)
        else:
            answers[number] = answer

    def _bury(self, worker: _Worker, queue: "_Queue", answers: dict[int, Any]) -> None:
        end = self._discard(worker)
        self.num_deaths += 1
        number, job = worker.pending.popleft()
        if worker.num_answers:
            queue.alone.append((number, job))
        else:
            answers[number] = HarmfulFileError(self._reason(end, was_killed=worker.was_killed))
        queue.again.extend(worker.pending)

    def _understood(self, content: bytes) -> Any:
        try:
            return _answer_of(unpack(content), self._task.allowance)
        except ValueError:
            return FileError("its decoder answers nonsense")

    def _discard(self, worker: _Worker) -> End:
        self._workers.remove(worker)
        worker.child.kill()
        end = worker.child.end()
        self.peak_bytes = max(self.peak_bytes, end.peak_bytes)
        return end

    def _reason(self, end: End, *, was_killed: bool) -> str:
        allowance = self._task.allowance
        if was_killed:
            return f"took more than {allowance.patience_seconds:g} s ({allowance.options[0]})"
        if end.signal is signal.SIGXCPU:
            return f"took more than {allowance.seconds} s of processor time ({allowance.options[0]})"
        if end.signal is signal.SIGKILL:
            return "its decoder was killed, as systems do when memory runs out"
        if end.signal is not None:
            return f"kills its decoder ({end.signal.name})"
        return f"ends its decoder (exit code {end.exit_code})"


def _answer_of(told: Any, allowance: Allowance) -> Any:
    """Returns what a child told: the result of its work, or the exception that it raised."""
    match told:
        case {"result": result}:
            return result
        case {"memory": str()}:
            error = HarmfulFileError(f"needs more than {allowance.memory_bytes:,} bytes ({allowance.options[1]})")
            error.__cause__ = MemoryError()
            return error
        case {"error": [str(kind), str(message)]} if kind in _ERRORS:
            return _ERRORS[kind](message)
        case {"missing": [str(what), str(extra)]}:
            return MissingExtraError(what, extra)
        case {"system": [int(number), str(message)]}:
            return OSError(number, message)
        case {"fault": str(text)}:
            return RuntimeError(f"reading a file failed in a way that it never should:\n{text}")
        case _:
            return FileError("its decoder answers nonsense")


_ERRORS: dict[str, type[FileError] | type[DataError]] = {
    "FileError": FileError,
    "AbsentError": AbsentError,
    "DataError": DataError,
    "UnreachableError": UnreachableError,
}


def _serve(task: _Task, connection: Connection) -> None:
    """Runs in the child: works through messages of jobs, and answers each job on its own."""
    allowance = task.allowance
    limit_memory(allowance.memory_bytes)
    while True:
        for job in pickle.loads(connection.recv_bytes()):  # noqa: S301 (from the process that started us)
            _limit_seconds(allowance.seconds)
            connection.send_bytes(_told(task.work, job))


def _told(work: Callable[[Any], Any], job: Any) -> bytes:
    try:
        return pack({"result": work(job)})
    except MissingExtraError as error:
        return pack({"missing": [error.what, error.extra]})
    except Exception as error:
        # Whatever it is, the process that asked is told; a fault of ours it raises again, with this traceback.
        if ran_out_of_memory(error):
            return pack({"memory": ""})
        if isinstance(error, FileError | DataError):
            return pack({"error": [type(error).__name__, str(error)]})
        if isinstance(error, OSError):
            return pack({"system": [error.errno or 0, error.strerror or type(error).__name__]})
        return pack({"fault": traceback.format_exc()})


def _wants_the_processor(pid: int) -> bool:
    """Tells whether a process computes or would if it were let: then the machine is busy, and no file is to blame.

    How long it may compute is limited anyway. Linux only; elsewhere False.
    """
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] == b"R"
    except (OSError, IndexError):
        return False


def _limit_seconds(seconds: int) -> None:
    """Allows this process so much more processor time; the system ends it with SIGXCPU."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(used.ru_utime + used.ru_stime) + seconds, hard))


def limit_memory(num_bytes: int) -> None:
    """Allows this process so much more address space, on Linux; macOS takes such a limit and does not keep to it."""
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        limit = pages * resource.getpagesize() + num_bytes
        resource.setrlimit(resource.RLIMIT_AS, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))
