"""What two processes find when they check `Processes` and sharding together; each prints it as one JSON line.

Started twice by a test, with RANK 0 and 1. Not under a launcher: that alone would take longer than all checks.
"""

import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from perceptio.data.names import Split
from perceptio.data.records import Skipped
from perceptio.errors import DataError, PerceptioError
from perceptio.inputs.grid import GridEncoding, GridInputConfig
from perceptio.inputs.streams import StreamsInputConfig
from perceptio.models.perceiver import Perceiver, build_perceiver
from perceptio.runs.machine import connect
from perceptio.training.checkpoint import load_optimizer, optimizer_tensors, weight_tensors
from perceptio.training.exchange import average
from perceptio.training.lost_files import FileLost, LostFiles
from perceptio.training.optimizers import OptimizerConfig, build_optimizer
from perceptio.training.processes import Processes
from perceptio.training.sharding import copy_whole, shard, whole
from support.configs import TINY_MODEL
from support.pictures import SIDE


def said(act: Callable[[], Any]) -> list[Any]:
    """Returns what an error is: its type, exit code and message."""
    try:
        act()
    except PerceptioError as error:
        return [type(error).__name__, error.exit_code, str(error)]
    except OSError as error:
        return [type(error).__name__, 1, error.strerror]
    raise AssertionError("no error")


def errors(processes: Processes) -> dict[str, Any]:
    """Returns what each process is told when one fails."""

    def fails(error: Exception, rank: int) -> Callable[[], None]:
        def act() -> None:
            with processes.agreed():
                if processes.rank == rank:
                    raise error

        return act

    def unread() -> int:
        raise DataError("no file there")

    return {
        "first fails": said(fails(OSError(28, "No space left on device"), 0)),
        "second fails": said(fails(DataError("unreadable"), 1)),
        "first does": said(lambda: processes.first_does(unread)),
    }


def values(processes: Processes) -> dict[str, Any]:
    """Returns what each process gets from the others."""
    own = {"a": torch.arange(3.0), "b": torch.ones(2, 2, dtype=torch.int64)} if processes.is_first else {}
    shared = processes.share(own)
    return {
        "mean": processes.mean(processes.rank + 0.25),
        "any": [processes.any(processes.rank == 1), processes.any(False)],
        "gather": processes.gather(f"from {processes.rank}"),
        "gather to first": processes.gather_to_first(processes.rank),
        "first does": processes.first_does(lambda: f"by {processes.rank}"),
        "share": {name: tensor.tolist() for name, tensor in shared.items()},
    }


def averages(processes: Processes) -> list[list[float]]:
    """Returns means over both processes: of tensors that travel together, and of one that is too large for that."""
    own = [torch.arange(4.0).view(2, 2).T, torch.full((3,), 5.0), torch.ones(7_000_000)]
    mine = [tensor * (1 + 2 * processes.rank) for tensor in own]
    average(mine, processes.count)
    return [tensor.flatten()[:4].tolist() for tensor in mine]


def model() -> Perceiver:
    """Returns a model whose weights are shared between iterations, the same in every process."""
    torch.manual_seed(3)
    grid = GridInputConfig(axes=(SIDE, SIDE), channels=3, encoding=GridEncoding(num_bands=3))
    return build_perceiver(StreamsInputConfig({"image": grid}), TINY_MODEL, 3)


def steps(kind: str, sharded: bool, processes: Processes) -> tuple[dict[str, Tensor], dict[str, Tensor], list[float]]:
    """Returns weights and moments, whole, after three steps on the same pictures, and the gradients' norms."""
    trained, random = model(), torch.Generator().manual_seed(0)
    if sharded:
        shard(trained, torch.device("cpu"), processes.count)
    config = OptimizerConfig(kind=kind, clip_norm=0.5)  # type: ignore[arg-type]
    optimizer = build_optimizer(config, trained, 0.01)
    norms = []
    for number in range(3):
        if number == 2:  # through what a checkpoint holds
            held = optimizer_tensors(trained, optimizer)
            optimizer.state.clear()
            load_optimizer(trained, optimizer, held)
        pictures = torch.randn(4, SIDE, SIDE, 3, generator=random)
        trained({"image": pictures}, {}, {}).sub(1).square().mean().backward()
        norm = torch.nn.utils.clip_grad_norm_(trained.parameters(), 0.5)
        norms.append(float(whole(norm)))
        optimizer.step()
        optimizer.zero_grad()
    if sharded:
        plain = model()
        copy_whole(trained, plain)
        kept = weight_tensors(trained)
        assert all(torch.equal(kept[name], value) for name, value in plain.state_dict().items())
    return weight_tensors(trained), optimizer_tensors(trained, optimizer), norms


def sharding(processes: Processes) -> dict[str, Any]:
    """Returns how far sharded training is from plain training, and what share of the weights a process holds."""
    found: dict[str, Any] = {}
    for kind in ("lamb", "adamw"):
        plain, spread = steps(kind, False, processes), steps(kind, True, processes)
        assert plain[0].keys() == spread[0].keys()
        assert plain[1].keys() == spread[1].keys()
        start = model().state_dict()
        moved = max(float((plain[0][name] - start[name]).abs().max()) for name in start)
        apart = max(float((plain[0][name] - spread[0][name]).abs().max()) for name in start)
        moments = max(float((plain[1][name] - spread[1][name]).abs().max()) for name in plain[1])
        norms = max(abs(a / b - 1) for a, b in zip(plain[2], spread[2], strict=True))
        found[kind] = {"moved": moved, "apart": apart, "moments": moments, "norms": norms}
    spread_model = model()
    total = sum(parameter.numel() for parameter in spread_model.parameters())
    shard(spread_model, torch.device("cpu"), processes.count)
    held = sum(parameter.to_local().numel() for parameter in spread_model.parameters())  # type: ignore[attr-defined]
    return {**found, "share": held / total}


def lost_files(processes: Processes) -> list[Any]:
    """Returns what a process knows and is told of files that itself or the other one could not read."""
    told: list[FileLost] = []
    splits: dict[str, Split] = dict.fromkeys("abcdefghij", "train")
    files = LostFiles(splits, (), allowed=0.2, path=Path("run/skipped.csv"))

    def add(first: str, second: str) -> bool:
        own = [Skipped(name, "gone") for name in (first, second)[processes.rank]]
        return files.add(own, processes, told.append)

    found = [add("", ""), add("", "b"), add("ab", "b")]
    refused = said(lambda: add("", "c"))
    return [found, [entry.name for entry in files.found], [event.name for event in told], refused]


def lost(processes: Processes) -> list[Any]:
    """Returns what the first process is told when the second fails in the midst of what both do."""

    def act() -> None:
        with processes.connected():
            if processes.rank == 1:
                raise DataError("gone bad")
            processes.gather(None)

    return said(act)


def main() -> None:
    """Runs all checks."""
    warnings.simplefilter("error")
    processes = connect("cpu", timeout_minutes=1.0)
    with processes.connected():
        found = {"errors": errors(processes), "values": values(processes), "sharding": sharding(processes)}
        found["averages"] = averages(processes)
        found["lost files"] = lost_files(processes)
    found["lost"] = lost(processes)
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
