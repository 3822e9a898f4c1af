"""What must be equal, byte for byte, between a run and its undisturbed twin."""

import json
from pathlib import Path
from typing import Any

from perceptio.runs.folder import RunFolder

# What a clock or the system tells, and no two runs have alike.
CLOCKS = {"seconds", "samples_per_second", "data_wait_share", "memory_bytes", "peak_memory_bytes"}


def run_content(path: Path) -> dict[str, Any]:
    """Returns all that a run has computed, by name; clocks and rates left out."""
    folder = RunFolder(path)
    newest = max(folder.checkpoints.glob("step-*"))
    state = json.loads((newest / "state.json").read_bytes())
    rows = [json.loads(line) for line in folder.metrics.read_text().splitlines()]
    return {
        "newest checkpoint": newest.name,
        "best weights": folder.weights.read_bytes(),
        "last weights": (newest / "model.safetensors").read_bytes(),
        "moments": (newest / "optimizer.safetensors").read_bytes(),
        "average": _bytes_of(newest / "average.safetensors"),
        "state": {name: value for name, value in state.items() if name not in CLOCKS},
        "metrics": [{name: value for name, value in row.items() if name not in CLOCKS} for row in rows],
        "split": folder.split.read_bytes(),
        # None: the run was cut off before them, or a test left them out.
        "predictions": _bytes_of(folder.predictions),
        "test": folder.read_facts().get("test"),
    }


def _bytes_of(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def differing_parts(first: Path, second: Path) -> list[str]:
    """Returns the names of the parts in which two runs differ."""
    a, b = run_content(first), run_content(second)
    return [name for name in a if a[name] != b[name]]
