"""Checkpoints: safetensors and JSON in a folder that appears whole or not at all.

`step-000000120/` holds the model, the optimizer's moments and the state of the loop; `manifest.json`, written last,
holds the size and hash of each. A folder is a checkpoint only if all of them agree. There is no "latest" pointer.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from perceptio.errors import DataError
from perceptio.training.sharding import part_of, whole

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
_STEP_FOLDER = re.compile(r"step-(\d{9})")


@dataclass(frozen=True, kw_only=True)
class LoopState:
    """What the loop knows besides weights and moments; all else follows from the step and the config.

    Attributes:
        step: optimizer steps done.
        best_step: step of the best evaluation, or None before the first.
        best_key: what the evaluations are ordered by: (main metric, minus validation loss).
        window_loss_sum, window_steps: sum of the losses since the last evaluation, and of how many steps.
        seconds: time spent training so far, over all restarts.
        micro_batch_size: samples that a process runs at once where memory did not suffice for as many as the config
            says, else None.
    """

    step: int = 0
    best_step: int | None = None
    best_key: tuple[float, float] | None = None
    window_loss_sum: float = 0.0
    window_steps: int = 0
    seconds: float = 0.0
    micro_batch_size: int | None = None


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint read back.

    Attributes:
        passed_over: newer folders that were not whole, each with what is wrong with it.
    """

    path: Path
    model: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]
    state: LoopState
    facts: Mapping[str, Any]
    passed_over: tuple[str, ...] = ()


def write_checkpoint(
    folder: Path,
    model: Mapping[str, Tensor],
    optimizer: Mapping[str, Tensor],
    state: LoopState,
    *,
    facts: Mapping[str, Any],
    keep: int = 2,
) -> Path:
    """Writes `folder/step-..` and removes all but the newest `keep` checkpoints and the best one.

    Args:
        model, optimizer: as `weight_tensors` and `optimizer_tensors` give them.
        facts: what must be equal for an exact resume (versions, threads, data), compared by the caller.

    Raises:
        OSError: when the disk refuses; the older checkpoints are then untouched.
    """
    assert keep >= 2, "the newest may be the one that a crash spoils"
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"step-{state.step:09d}"
    temporary = folder / f".tmp-{target.name}-{os.getpid()}"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        contents = {
            "model.safetensors": save(dict(model)),
            "optimizer.safetensors": save(dict(optimizer)),
            "state.json": json.dumps({**asdict(state), "facts": dict(facts)}, indent=1).encode(),
        }
        files = {}
        for name, content in contents.items():
            write_durably(temporary / name, content)
            files[name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        manifest = {"format": FORMAT_VERSION, "step": state.step, "files": files}
        write_durably(temporary / MANIFEST, json.dumps(manifest, indent=1).encode())
        _sync_folder(temporary)
        if target.exists():
            # An older attempt at this step makes room by a rename: at no moment is there neither.
            target.rename(folder / f".trash-{target.name}-{os.getpid()}")
        temporary.rename(target)
        _sync_folder(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    older = sorted(_step_folders(folder), reverse=True)[keep:]
    for step, old in older:
        if step != state.best_step:
            shutil.rmtree(old, ignore_errors=True)
    for pattern in (".tmp-step-*", ".trash-step-*"):  # of this save, and of saves that a crash cut short
        for leftover in folder.glob(pattern):
            shutil.rmtree(leftover, ignore_errors=True)
    return target


def read_newest_checkpoint(folder: Path) -> Checkpoint:
    """Returns the newest checkpoint that is whole.

    Raises:
        DataError: when there is none; what was wrong with each is in the message.
    """
    problems: list[str] = []
    for _, path in sorted(_step_folders(folder), reverse=True):
        try:
            return replace(_read(path), passed_over=tuple(problems))
        except (OSError, ValueError, KeyError, TypeError) as error:
            problems.append(f"{path.name}: {error}")
    found = "; ".join(problems) if problems else "no step-.. folder there"
    raise DataError(f"no whole checkpoint in {folder}: {found}")


def read_checkpoint_of(folder: Path, step: int) -> Checkpoint | None:
    """Returns the checkpoint of a step, or None when there is none that is whole."""
    try:
        return _read(folder / f"step-{step:09d}")
    except (OSError, ValueError, KeyError, TypeError):
        return None


def weight_tensors(model: nn.Module, *, keep: bool = True) -> dict[str, Tensor]:
    """Returns the model's weights on the CPU, by name.

    Args:
        keep: False returns nothing. Of a sharded model all processes call this, to give their parts to the first.
    """
    return _on_cpu(model.state_dict(), keep=keep)


def load_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Puts moments back where `optimizer_tensors` took them from."""
    parameters = dict(model.named_parameters())
    for key, tensor in tensors.items():
        name, _, moment = key.rpartition("/")
        parameter = parameters[name]
        # `step` stays on the CPU, as torch's own optimizers keep it.
        optimizer.state[parameter][moment] = tensor.cpu() if moment == "step" else part_of(tensor, parameter)


def optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer, *, keep: bool = True) -> dict[str, Tensor]:
    """Returns the optimizer's moments under "parameter name/moment"; `keep` is that of `weight_tensors`."""
    moments = {
        f"{name}/{moment}": value
        for name, parameter in model.named_parameters()
        for moment, value in optimizer.state.get(parameter, {}).items()
    }
    return _on_cpu(moments, keep=keep)


def _on_cpu(tensors: Mapping[str, Tensor], *, keep: bool) -> dict[str, Tensor]:
    kept = {}
    for name, value in tensors.items():
        all_of_it = whole(value.detach())  # one at a time: a GPU need not hold them side by side
        if keep:
            kept[name] = all_of_it.contiguous().cpu()
    return kept


def write_durably(path: Path, content: bytes) -> None:
    """Writes a new file and waits until the disk has it."""
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def replace_durably(path: Path, content: bytes) -> None:
    """Replaces a file so that a crash leaves the old one or the new one."""
    temporary = path.with_name(f".tmp-{path.name}-{os.getpid()}")
    temporary.unlink(missing_ok=True)
    write_durably(temporary, content)
    temporary.replace(path)
    _sync_folder(path.parent)


def _step_folders(folder: Path) -> Iterator[tuple[int, Path]]:
    for path in folder.iterdir() if folder.is_dir() else ():
        match = _STEP_FOLDER.fullmatch(path.name)
        if match and path.is_dir():
            yield int(match[1]), path


def _read(path: Path) -> Checkpoint:
    manifest = json.loads((path / MANIFEST).read_bytes())
    if manifest["format"] != FORMAT_VERSION:
        raise ValueError(f"format {manifest['format']}, this version reads {FORMAT_VERSION}")
    contents = {}
    for name, expected in manifest["files"].items():
        content = (path / name).read_bytes()
        if hashlib.sha256(content).hexdigest() != expected["sha256"]:
            raise ValueError(f"{name} is damaged: {len(content)} bytes, {expected['bytes']} were written")
        contents[name] = content
    fields = json.loads(contents["state.json"])
    facts = fields.pop("facts")
    if fields["best_key"] is not None:
        fields["best_key"] = tuple(fields["best_key"])
    return Checkpoint(
        path=path,
        model=load(contents["model.safetensors"]),
        optimizer=load(contents["optimizer.safetensors"]),
        state=LoopState(**fields),
        facts=facts,
    )


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
