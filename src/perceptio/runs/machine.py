"""What a run runs on: device, versions, memory. Recorded with each run, compared when one goes on."""

import atexit
import ctypes
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal, get_args

import torch
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState

from perceptio.errors import UsageError
from perceptio.training.processes import Processes, open_board
from perceptio.version import __version__

Device = Literal["auto", "cpu", "cuda"]

# Of GNU's malloc.h: from which size on memory is taken from the system for one block alone, and how much of the rest
# may lie free before it is given back.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3


def choose_device(device: Device) -> torch.device:
    """Returns the device that is asked for; auto takes a GPU if there is one.

    Raises:
        UsageError: when a GPU is asked for and there is none, or something that is none of the three.
    """
    if device not in get_args(Device):
        raise UsageError(f"device must be one of {', '.join(get_args(Device))}: got {device!r}")
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda, but PyTorch finds no GPU here. Use --device cpu, or leave it away.")
    return torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")


def make_accelerator(device: Device, precision: Literal["auto", "fp32", "bf16"], *, exact: bool = False) -> Accelerator:
    """Returns Accelerate's view of device, precision and processes.

    Args:
        exact: whether the run is going to be inside `repeatable`.

    Raises:
        UsageError: when a GPU is asked for and there is none.
    """
    if exact:
        # cuBLAS reads it when it starts, with the first product on a GPU.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    on_gpu = choose_device(device).type == "cuda"
    mixed = {"auto": "bf16" if on_gpu else "no", "fp32": "no", "bf16": "bf16"}[precision]
    # Accelerate keeps its state for the whole process and refuses a second setting: one process may train twice.
    AcceleratorState._reset_state(reset_partial_state=True)
    return Accelerator(mixed_precision=mixed, cpu=not on_gpu)


def connect(device: Device, *, timeout_minutes: float) -> Processes:
    """Returns the processes that `torchrun` or `accelerate launch` started with this one, connected; or this one alone.

    Args:
        timeout_minutes: how long a process waits for the others before it gives up.

    Raises:
        UsageError: when a GPU is asked for and there is none, or the time is no time.
    """
    if not timeout_minutes > 0:
        raise UsageError(f"--timeout-minutes must be greater than 0, got {timeout_minutes:g}")
    on_gpu = choose_device(device).type == "cuda"
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return Processes()
    timeout = timedelta(minutes=timeout_minutes)
    if not dist.is_initialized():
        PartialState(cpu=not on_gpu, timeout=timeout)
    processes = Processes(dist.new_group(backend="gloo", timeout=timeout), open_board())
    atexit.register(processes.leave)  # whichever way the process ends
    return processes


@contextmanager
def repeatable(exact: bool) -> Iterator[None]:
    """Inside, PyTorch takes only operations that give the same bits each time; False leaves things as they are.

    Separable attention needs nothing of it: its kernels add up in one order, without atomic additions.
    """
    if not exact:
        yield
        return
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def describe_machine(device: torch.device) -> str:
    """Returns one line: cores, memory, GPU."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else "no GPU used"
    return f"{os.cpu_count()} CPU cores, {memory:.0f} GB memory, {gpu}"


def package_versions() -> dict[str, str]:
    """Returns the versions that may change a result."""
    found = {"perceptio": __version__, "python": platform.python_version()}
    for name in ("torch", "numpy", "numba", "pillow", "av", "trimesh", "accelerate"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def cpu_model() -> str:
    """Returns the processor's name: compilers and libraries choose code by it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def num_cores() -> int:
    """Returns how many cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS
    return (os.cpu_count() or 1) if affinity is None else len(affinity(0))


def set_threads(asked: int | None, recorded: int | None = None) -> None:
    """Fixes how many threads compute, as sums over another number of parts round differently.

    Args:
        asked: what the user wants, or None.
        recorded: what a run that goes on had so far; taken where this machine has as many cores.

    Raises:
        UsageError: for fewer than one.
    """
    if asked is not None and asked < 1:
        raise UsageError(f"--threads must be at least 1, got {asked}")
    fits = recorded if recorded is not None and recorded <= num_cores() else None
    # Said again even where it is the number already: only then do PyTorch's libraries stop choosing for themselves.
    torch.set_num_threads(asked or fits or torch.get_num_threads())


def keep_freed_memory() -> None:
    """Tells the C library to keep memory that training frees: the next step wants it back.

    By default each large tensor's memory goes back to the system and returns as pages of zeros: a tenth of the time of
    a step of a small model. The peak stays the same. Only GNU's C library can be told; others are left alone.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 2**30)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def git_revision() -> str | None:
    """Returns the revision of the code when it runs from a checkout, with "+" when files differ from it."""
    here = Path(__file__).parent
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--exclude", "*"],
            cwd=here, capture_output=True, text=True, timeout=5, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() or None
