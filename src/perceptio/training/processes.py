"""Several processes that train one model: what they agree on, and how each learns that another has failed."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import PrefixStore, Store, TCPStore  # type: ignore[attr-defined]  # public, and not in its stubs

from perceptio.errors import PerceptioError, SharedError

T = TypeVar("T")

_FAILURE = "failure"
# What the libraries below say when the other end of a connection is gone or silent; they have no type for it.
_LOST = ("Connection closed by peer", "Connection reset by peer", "Timed out waiting", "gloo", "NCCL", "Broken pipe")


class Processes:
    """The processes of a run, numbered from 0. One alone talks to nobody.

    Messages go over a group of their own on the CPU, so that none waits for a GPU. A block that may fail in one process
    alone stands in `agreed`; what calls the libraries' own collectives (gradients, sharded weights) stands in
    `connected`.

    Args:
        group: over which messages go; None: one process.
        board: where a process that fails says why, for those that find it gone.
    """

    def __init__(self, group: dist.ProcessGroup | None = None, board: Store | None = None) -> None:
        self.group = group
        self.board = board
        self.rank = 0 if group is None else group.rank()
        self.count = 1 if group is None else group.size()

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that writes and shows."""
        return self.rank == 0

    def leave(self) -> None:
        """Ends the threads that carry messages, as far as nobody else holds the group; call it when no more are sent.

        They let go of the last message after it has arrived, and need the interpreter for it. One that comes to it
        while the interpreter is ending ends the whole process by SIGABRT.
        """
        group, self.group = self.group, None
        if group is not None and dist.is_initialized():
            dist.destroy_process_group(group)

    @contextmanager
    def agreed(self) -> Iterator[None]:
        """Runs a block in every process; when it raises in one, it does in all. The block itself must not communicate.

        Raises:
            SharedError: with the message and exit code of the first process that failed; in that process, if it is the
                one that shows messages, the error itself.
        """
        if self.group is None:
            yield
            return
        error: Exception | None = None
        try:
            yield
        except Exception as raised:
            error = raised
        if not self.any(error is not None):
            return
        found = self.gather(None if error is None else (_says(error), _exit_code(error)))
        rank, (message, exit_code) = next((rank, said) for rank, said in enumerate(found) if said is not None)
        if error is not None and self.is_first:
            raise error
        raise SharedError(f"process {rank}: {message}" if rank else message, exit_code) from error

    @contextmanager
    def connected(self) -> Iterator[None]:
        """Runs a block in which processes wait for each other.

        Raises:
            SharedError: when another one failed in the midst of it, with what that one says.
            PerceptioError: when another one is gone without a word.
        """
        if self.group is None:
            yield
            return
        try:
            yield
        except SharedError:
            raise
        except Exception as error:
            if not _is_lost_connection(error):
                self._post(error)
                raise
            raise self._explain(error) from error

    def first_does(self, work: Callable[[], T]) -> T:
        """Does a piece of work in the first process and returns what it gave in all; an error is raised in all."""
        value: T | None = None
        with self.agreed():
            if self.is_first:
                value = work()
        if self.group is None:
            return cast(T, value)
        box = [value]
        dist.broadcast_object_list(box, src=0, group=self.group)
        return cast(T, box[0])

    def any(self, flag: bool) -> bool:
        """Returns whether the flag is set in any process."""
        if self.group is None:
            return flag
        number = torch.tensor(int(flag))
        dist.all_reduce(number, dist.ReduceOp.MAX, group=self.group)
        return bool(number)

    def mean(self, value: float) -> float:
        """Returns the mean of each process's value, in every process."""
        if self.group is None:
            return value
        number = torch.tensor(value, dtype=torch.float64)
        dist.all_reduce(number, group=self.group)
        return float(number) / self.count

    def gather(self, value: T) -> list[T]:
        """Returns each process's value in order of rank, in every process."""
        if self.group is None:
            return [value]
        values: list[T | None] = [None] * self.count
        dist.all_gather_object(values, value, group=self.group)
        return cast(list[T], values)

    def gather_to_first(self, value: T) -> list[T]:
        """Returns each process's value in order of rank in the first process, and nothing in the others."""
        if self.group is None:
            return [value]
        values: list[T | None] | None = [None] * self.count if self.is_first else None
        dist.gather_object(value, values, dst=0, group=self.group)
        return cast(list[T], values or [])

    def share(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Returns the first process's tensors in every process, one after the other: memory for one copy.

        Args:
            tensors: on the CPU; in the other processes nothing of them is looked at.
        """
        if self.group is None:
            return dict(tensors)
        shapes = self.first_does(lambda: {name: (value.shape, value.dtype) for name, value in tensors.items()})
        shared = {}
        for name, (shape, dtype) in shapes.items():
            value = tensors[name].contiguous() if self.is_first else torch.empty(shape, dtype=dtype)
            dist.broadcast(value, src=0, group=self.group)
            shared[name] = value
        return shared

    def _post(self, error: Exception) -> None:
        assert self.board is not None, "whoever has a group has a board"
        self.board.set(_FAILURE, f"{_exit_code(error)} process {self.rank}: {_says(error)}")

    def _explain(self, error: Exception) -> PerceptioError:
        assert self.board is not None, "whoever has a group has a board"
        try:
            if self.board.check([_FAILURE]):
                exit_code, _, message = self.board.get(_FAILURE).decode().partition(" ")
                return SharedError(message, int(exit_code))
        except RuntimeError:  # the board was in the process that is gone
            pass
        return PerceptioError(
            f"process {self.rank} waited in vain for another one, which was killed or hangs ({_how(error)}). The last "
            "checkpoint is untouched: go on with --resume. If nothing hangs and the disk is slow: --timeout-minutes"
        )


def open_board() -> Store:
    """Returns a place that outlives any one process where the launcher keeps one, as torchrun does."""
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = TCPStore(address, port, is_master=False)
    # torchrun may start all processes again, with the same store: what was posted before is of no concern.
    return PrefixStore(f"perceptio/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)


def _is_lost_connection(error: Exception) -> bool:
    return isinstance(error, dist.DistError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in _LOST)
    )


def _how(error: Exception) -> str:
    """Returns in a few words how a connection was lost; the libraries say it with their source files and more."""
    return next((words for words in _LOST if words in str(error)), type(error).__name__)


def _exit_code(error: Exception) -> int:
    return error.exit_code if isinstance(error, PerceptioError) else 1


def _says(error: Exception) -> str:
    """Returns an error as one line."""
    if isinstance(error, PerceptioError):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.strerror or error}" + (f": {error.filename}" if error.filename else "")
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
