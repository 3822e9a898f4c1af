"""What the benchmarks share: alternating runs, their spread, and peak memory.

Machines are shared and noisy: methods take turns within one process, and what is reported are ratios of medians within
that process. A ratio's spread is that of the ratios of single rounds.
"""

import ctypes
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from perceptio.runs.machine import describe_machine, package_versions


@dataclass
class Timings:
    """Seconds of each method, one entry per round."""

    seconds: dict[str, list[float]] = field(default_factory=dict)

    def median(self, name: str) -> float:
        return statistics.median(self.seconds[name])

    def ratio(self, slow: str, fast: str) -> float:
        """How many times faster `fast` is: the ratio of the medians."""
        return self.median(slow) / self.median(fast)

    def ratio_spread(self, slow: str, fast: str) -> tuple[float, float]:
        """The smallest and the largest ratio of a round, the outermost tenth left out on both sides."""
        rounds = sorted(a / b for a, b in zip(self.seconds[slow], self.seconds[fast], strict=True))
        cut = len(rounds) // 10
        return rounds[cut], rounds[-1 - cut]


def take_turns(methods: dict[str, Callable[[], object]], rounds: int) -> Timings:
    """Runs all methods once unmeasured, then `rounds` times in turn."""
    timings = Timings({name: [] for name in methods})
    for method in methods.values():
        method()
    for _ in range(rounds):
        for name, method in methods.items():
            synchronise()
            began = time.perf_counter()
            method()
            synchronise()
            timings.seconds[name].append(time.perf_counter() - began)
    return timings


def synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def peak_bytes(run: Callable[[], object]) -> int:
    """Returns the most memory that a run held beyond what was held before it; Linux (or CUDA memory on a GPU)."""
    if torch.cuda.is_available():
        run()
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    run()
    ctypes.CDLL(None).malloc_trim(0)  # what the allocator keeps of the first run would hide the second's need
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = _status("VmRSS")
    run()
    return _status("VmHWM") - before


def peak_tensor_bytes(run: Callable[[], object]) -> int:
    """Returns the most memory that the tensors of a run took together, beyond those there before.

    The process needs a few MiB more, for thread stacks and what the allocator holds back; `peak_bytes` sees that too.
    """
    if torch.cuda.is_available():
        return peak_bytes(run)
    run()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        run()
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = highest = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        highest = max(highest, held)
    return highest


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name))


def print_table(columns: list[str], rows: list[list[str]]) -> None:
    print(f"| {' | '.join(columns)} |")
    print(f"| {' | '.join('---' for _ in columns)} |")
    for row in rows:
        print(f"| {' | '.join(row)} |")


def surroundings(device: str = "cpu") -> dict[str, object]:
    """What a result depends on beside the code."""
    return {
        "machine": describe_machine(torch.device(device)),
        "threads": torch.get_num_threads(),
        "versions": package_versions(),
    }


def print_surroundings(device: str = "cpu") -> None:
    print(f"\n{json.dumps(surroundings(device))}")
