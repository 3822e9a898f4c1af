"""How much memory is used, and what to do when it does not suffice for a micro-batch."""

import os
import resource
import sys
from pathlib import Path

import torch


def memory_bytes(device: torch.device) -> int | None:
    """Returns the memory in use: of the GPU's tensors, or of this process; None where the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def peak_memory_bytes(device: torch.device) -> int:
    """Returns the most memory used so far: of the GPU's tensors, or of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def finer_parts(num_samples: int, num_parts: int) -> int | None:
    """Returns into how many equal parts to cut samples instead: at least twice as many; None when there is no way."""
    return next((parts for parts in range(2 * num_parts, num_samples + 1) if num_samples % parts == 0), None)


def parts_of_at_most(num_samples: int, size: int, *, at_least: int) -> int:
    """Returns the fewest equal parts, but no fewer than `at_least`, of which none has more than `size` samples."""
    wanted = range(at_least, num_samples + 1)
    return next(parts for parts in wanted if num_samples % parts == 0 and num_samples // parts <= size)


def free_memory(device: torch.device) -> None:
    """Gives back what the allocator keeps in pieces of the old sizes."""
    if device.type == "cuda":
        torch.cuda.empty_cache()


def one_sample_too_large(step: int) -> str:
    """Returns the message for a model that cannot train on a single sample."""
    return (
        f"memory does not suffice for a single sample, at step {step + 1}. Recompute activations instead of keeping "
        "them (--training.checkpoint-activations), or take a smaller model (--model.num-latents, "
        "--model.latent-channels) or smaller inputs"
    )
