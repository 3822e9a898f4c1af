"""Whether training fits into this machine's memory, asked before the first step. On a GPU the first step tells."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from perceptio.errors import UsageError
from perceptio.inputs.contract import InputConfig
from perceptio.models.config import PerceiverConfig
from perceptio.models.counts import count_parameters
from perceptio.runs.config import RunConfig
from perceptio.runs.screen import Screen
from perceptio.runs.workbench import Workbench
from perceptio.training.memory import finer_parts
from perceptio.training.memory_need import Rehearsal

SAFETY = 1.8
"""A process takes up to so many times what the tensors of a step do (docs/scaling.md has what was measured)."""
LIBRARIES = 200 * 2**20
"""And so many bytes for code that is loaded in the first step: Numba, and the loops that it has compiled."""


@dataclass(frozen=True)
class Fit:
    """What fits: `size` samples at once. `needed` bytes for as many as the config says, `available` bytes are there."""

    size: int
    needed: int
    available: int

    def told(self, share: int, num_parts: int) -> str:
        """Returns one line about it; `share` samples were to be run in `num_parts` parts."""
        return (
            f"{share // num_parts} samples at once would take {_gib(self.needed)}, and {_gib(self.available)} are "
            f"free: {self.size} at once (--training.num-micro-batches {share // self.size}); the result is the same"
        )


def plan_memory(bench: Workbench, screen: Screen) -> Workbench:
    """Returns the bench with no more samples at once than this machine has memory for. All processes call this.

    Raises:
        UsageError: not even one fits.
    """
    with bench.processes.agreed():
        room = check_memory(bench, screen)
    return with_room(bench, room)


def with_room(bench: Workbench, size: int | None) -> Workbench:
    """Returns the bench with as many samples at once as fit into every process; None: as many as it has now."""
    sizes = [own for own in bench.processes.gather(size) if own is not None]
    return replace(bench, micro_batch_size=min(sizes)) if sizes else bench


def check_memory(bench: Workbench, screen: Screen) -> int | None:
    """Returns how many samples fit at once, or None when as many as the config says do, or nobody can tell.

    Raises:
        UsageError: not even one fits.
    """
    config, processes = bench.config, bench.processes
    available = available_bytes() if bench.accelerator.device.type == "cpu" else None
    if available is None:
        return None
    # Processes on one machine share its memory.
    available //= int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    share = bench.batch_size // processes.count
    num_parts = config.training.num_micro_batches
    num_parameters = count_parameters(bench.model)
    if most_bytes(config.model, config.input_config(), share // num_parts, num_parameters) < available:
        return None
    rehearsal = _rehearsal(bench, config)
    average = 0 if config.training.average_decay is None else 4 * num_parameters
    found = fit_to_memory(lambda size: rehearsal.need(size).total + average, share, num_parts, available)
    if found is None:
        return None
    screen.fact("Memory", found.told(share, num_parts))
    return found.size


def fit_to_memory(need: Callable[[int], int], share: int, num_parts: int, available: int) -> Fit | None:
    """Returns what fits instead of `share` / `num_parts` samples at once, or None when those do.

    Args:
        need: bytes of the tensors of a training step with so many samples at once.

    Raises:
        UsageError: not even one fits.
    """

    def needed(size: int) -> int:
        return process_bytes(need(size))

    asked = needed(share // num_parts)
    if asked <= available:
        return None
    parts = finer_parts(share, num_parts)
    while parts is not None:
        if needed(share // parts) <= available:
            return Fit(share // parts, asked, available)
        parts = finer_parts(share, parts)
    raise UsageError(
        f"training would take {_gib(needed(1))} of memory with one sample at once, and {_gib(available)} are free. "
        "Recompute activations instead of keeping them (--training.checkpoint-activations), or take a smaller model "
        "(--model.num-latents, --model.latent-channels) or smaller inputs"
    )


def process_bytes(tensor_bytes: int) -> int:
    """Returns what a process is expected to take when the tensors of a step take so much."""
    return round(SAFETY * tensor_bytes) + LIBRARIES


def available_bytes() -> int | None:
    """Returns the memory that a process may still take: the machine's, or its container's if that is less."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return None
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
    except OSError:
        return free
    return free if limit == "max" else min(free, max(0, int(limit) - used))


def most_bytes(model: PerceiverConfig, input: InputConfig, num_samples: int, num_parameters: int) -> int:
    """Returns more than a step can take, from the sizes alone: where that is there, nobody needs to look closer."""
    latents = model.num_latents * model.latent_channels
    qk_channels, v_channels = model.attention_widths(input.input_channels)
    widening = model.cross_attend_widening_factor + model.self_attend_widening_factor
    num_self_attends = model.num_blocks * model.num_self_attends_per_block
    bytes_read = input.num_tokens * (8 * input.input_channels + 4 * (qk_channels + v_channels))
    maps = model.num_cross_attend_heads * model.num_latents * input.num_tokens * model.num_cross_attends
    maps += model.num_self_attend_heads * model.num_latents**2 * num_self_attends
    layers = (model.num_cross_attends + num_self_attends) * (32 + 16 * widening) * latents
    activations = num_samples * (layers + model.num_cross_attends * bytes_read + 4 * maps)
    return process_bytes(4 * (activations + 8 * num_parameters))


def _rehearsal(bench: Workbench, config: RunConfig) -> Rehearsal:
    shapes = {name: stream.raw_shape for name, stream in config.input_config().streams.items()}
    return Rehearsal(
        model=bench.model,
        task=bench.task,
        shapes={name: (*axes, channels) for name, (axes, channels) in shapes.items()},
        num_classes=len(bench.prepared.classes),
        autocast=config.training.precision == "bf16",
        checkpoint_activations=config.training.checkpoint_activations,
    )


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
