"""Checkpoints: safetensors and JSON in a folder that appears whole or not at all.

`step-000000120/` holds the model, the optimizer's moments, the average of the weights where there is one, and the state
of the loop; `manifest.json`, written last, holds the size and hash of each. A folder is a checkpoint only if all of
them agree. There is no "latest" pointer: it would be a second truth.
"""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from perceptio.data.records import Skipped
from perceptio.disk import DISK, Disk, discard, make_folder, move, require_room, write_new
from perceptio.errors import DataError
from perceptio.training.checkpoint_folders import MANIFEST, aside, step_folder, steps_in
from perceptio.training.sharding import part_of, whole

FORMAT_VERSION = 2
READABLE_FORMATS = (1, 2)  # 1 knows no average and says less about the run's surroundings

_DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError)


@dataclass(frozen=True, kw_only=True)
class LoopState:
    """What the loop knows besides weights and moments; all else follows from the step and the config.

    Its floats are written as JSON numbers: Python's `repr` of a finite float reads back as the same float.

    Attributes:
        step: optimizer steps done.
        best_step: step of the best evaluation, or None before the first.
        best_key: what the evaluations are ordered by: (main metric, minus validation loss).
        window_loss_sum, window_steps: sum of the losses since the last evaluation, and of how many steps.
        seconds: time spent training so far, over all restarts.
        micro_batch_size: samples that a process runs at once where memory did not suffice for as many as the config
            says, else None.
        lost: files that went bad in mid-run.
    """

    step: int = 0
    best_step: int | None = None
    best_key: tuple[float, float] | None = None
    window_loss_sum: float = 0.0
    window_steps: int = 0
    seconds: float = 0.0
    micro_batch_size: int | None = None
    lost: tuple[Skipped, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint read back.

    Attributes:
        average: the moving average of the weights, or None where none was kept.
        facts: what must be equal for an exact resume, as it was.
        passed_over: newer folders that were not whole, each with what is wrong with it.
    """

    path: Path
    model: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]
    average: Mapping[str, Tensor] | None
    state: LoopState
    facts: Mapping[str, Any]
    passed_over: tuple[str, ...] = ()

    @property
    def evaluated(self) -> Mapping[str, Tensor]:
        """The weights that are evaluated and kept as best: the average where there is one."""
        return self.model if self.average is None else self.average


def write_checkpoint(
    folder: Path,
    model: Mapping[str, Tensor],
    optimizer: Mapping[str, Tensor],
    state: LoopState,
    *,
    facts: Mapping[str, Any],
    average: Mapping[str, Tensor] | None = None,
    disk: Disk = DISK,
) -> Path:
    """Writes `folder/step-..`: all of it, or nothing.

    Args:
        model, optimizer, average: plain tensors by name, as `weight_tensors` and `optimizer_tensors` give them.
        facts: what must be equal for an exact resume (versions, threads, data), compared by the caller.

    Raises:
        OSError: when the disk refuses; the older checkpoints are then untouched.
    """
    contents = {
        "model.safetensors": save(dict(model)),
        "optimizer.safetensors": save(dict(optimizer)),
        "state.json": _json({**asdict(state), "facts": dict(facts)}),
    }
    if average is not None:
        contents["average.safetensors"] = save(dict(average))
    files = {
        name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in contents.items()
    }
    # Last: a folder without it, or with half of it, is no checkpoint.
    contents[MANIFEST] = _json(
        {"format": FORMAT_VERSION, "step": state.step, "best_step": state.best_step, "files": files}
    )
    make_folder(folder, disk)
    require_room(folder, sum(map(len, contents.values())), disk)
    target = step_folder(folder, state.step)
    temporary = aside(target, "tmp")
    disk.mkdir(temporary)
    try:
        for name, content in contents.items():
            write_new(temporary / name, content, disk)
        disk.sync_folder(temporary)
        _put_in_place(temporary, target, disk)
    except BaseException:
        discard(temporary, disk)
        raise
    disk.sync_folder(folder)
    return target


def read_newest_checkpoint(folder: Path, disk: Disk = DISK) -> Checkpoint:
    """Returns the newest checkpoint that is whole.

    Raises:
        DataError: when there is none, with what is wrong with each; or when the newest is of a newer format, for going
            on from an older one would throw work away.
    """
    problems: list[str] = []
    for step in steps_in(folder, disk):
        path = step_folder(folder, step)
        try:
            return replace(_read(path, step, disk), passed_over=tuple(problems))
        except _DAMAGE as error:
            problems.append(f"{path.name}: {error}")
    found = "; ".join(problems) if problems else "no step-.. folder there"
    raise DataError(f"no whole checkpoint in {folder}: {found}. There is nothing to go on from: start a new run")


def read_checkpoint(folder: Path, step: int, disk: Disk = DISK) -> Checkpoint:
    """Returns the checkpoint of one step, and no other.

    Raises:
        DataError: when it is not there or not whole; the message lists those that are there.
    """
    path = step_folder(folder, step)
    try:
        return _read(path, step, disk)
    except _DAMAGE as error:
        there = ", ".join(str(other) for other in steps_in(folder, disk)) or "none"
        problem = "there is none" if isinstance(error, FileNotFoundError) else error
        raise DataError(f"no whole checkpoint of step {step} in {folder}: {problem}. Steps there: {there}") from error


def is_whole(path: Path, step: int, disk: Disk = DISK) -> bool:
    """Returns whether a folder, whatever its name, holds the checkpoint of a step."""
    try:
        _read(path, step, disk)
    except (*_DAMAGE, DataError):
        return False
    return True


def weight_tensors(model: nn.Module, *, keep: bool = True) -> dict[str, Tensor]:
    """Returns the model's weights on the CPU, by name.

    Args:
        keep: False returns nothing. Of a sharded model all processes call this, to give their parts to the first.
    """
    return on_cpu(model.state_dict(), keep=keep)


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
    return on_cpu(moments, keep=keep)


def on_cpu(tensors: Mapping[str, Tensor], *, keep: bool) -> dict[str, Tensor]:
    """Returns whole tensors on the CPU; `keep` is that of `weight_tensors`."""
    kept = {}
    for name, value in tensors.items():
        all_of_it = whole(value.detach())  # one at a time: a GPU need not hold them side by side
        if keep:
            kept[name] = all_of_it.contiguous().cpu()
    return kept


def _put_in_place(temporary: Path, target: Path, disk: Disk) -> None:
    """Gives a written folder its name. An older attempt at the step makes room by a rename: never is there neither."""
    if not disk.exists(target):
        move(temporary, target, disk)
        return
    older = aside(target, "trash")
    move(target, older, disk)
    try:
        move(temporary, target, disk)
    except BaseException:
        with suppress(OSError):  # where even this fails, the next start puts it back
            move(older, target, disk)
        raise


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, indent=1, allow_nan=False).encode()


def _read(path: Path, step: int, disk: Disk) -> Checkpoint:
    manifest = json.loads(disk.read(path / MANIFEST))
    if manifest["format"] not in READABLE_FORMATS:
        if isinstance(manifest["format"], int) and manifest["format"] > FORMAT_VERSION:
            raise DataError(
                f"{path} has format {manifest['format']}, this version reads up to {FORMAT_VERSION}: a newer Perceptio "
                "wrote it. Go on with that version"
            )
        raise ValueError(f"unknown format {manifest['format']!r}")
    if manifest["step"] != step:
        raise ValueError(f"it holds step {manifest['step']}")
    contents = {}
    for name, expected in manifest["files"].items():
        content = disk.read(path / name)
        if len(content) != expected["bytes"] or hashlib.sha256(content).hexdigest() != expected["sha256"]:
            raise ValueError(f"{name} is damaged: {len(content)} bytes, {expected['bytes']} were written")
        contents[name] = content
    fields = json.loads(contents["state.json"])
    facts = fields.pop("facts")
    if fields["best_key"] is not None:
        fields["best_key"] = tuple(fields["best_key"])
    # Checkpoints of earlier runs do not have them.
    fields["lost"] = tuple(Skipped(**entry) for entry in fields.get("lost", ()))
    average = contents.get("average.safetensors")
    return Checkpoint(
        path=path,
        model=load(contents["model.safetensors"]),
        optimizer=load(contents["optimizer.safetensors"]),
        average=None if average is None else load(average),
        state=LoopState(**fields),
        facts=facts,
    )
