"""Saves that are cut short at every call, and what must hold afterwards."""

import copy
import functools
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import torch

from perceptio.errors import DataError
from perceptio.training import checkpoint as checkpoints
from perceptio.training.checkpoint import Checkpoint, LoopState, is_whole, read_newest_checkpoint, write_checkpoint
from perceptio.training.checkpoint_folders import clear_leftovers, prune, step_folder, steps_in
from support.crash_disk import Crash, CrashDisk, Fault, Folder

KINDS = ("kill", "power", "error", "lie", "short")
FOLDER = Path("/run/checkpoints")


def save(disk: CrashDisk, step: int, mark: float, *, best: int | None = None) -> None:
    """Writes a checkpoint that says `mark`, as the loop does, without pruning."""
    weights = {"weight": torch.full((5,), mark)}
    write_checkpoint(
        FOLDER,
        weights,
        {"weight/exp_avg": torch.full((5,), -mark)},
        LoopState(step=step, best_step=best, best_key=None if best is None else (0.5, -mark)),
        facts={"mark": mark},
        average={"weight": torch.full((5,), mark / 2)},
        disk=disk,
    )


def mark_of(found: Checkpoint) -> float:
    """Returns what a checkpoint says, and checks that each of its parts says so."""
    mark = float(found.facts["mark"])
    assert found.average is not None
    assert torch.equal(found.model["weight"], torch.full((5,), mark))
    assert torch.equal(found.optimizer["weight/exp_avg"], torch.full((5,), -mark))
    assert torch.equal(found.average["weight"], torch.full((5,), mark / 2))
    return mark


def begin(seed: int, *, again: bool) -> CrashDisk:
    """Returns a disk with checkpoints 1 to 5, the best of which is 1; with `again` there is an older attempt at 6."""
    disk = CrashDisk(seed)
    disk.root = copy.deepcopy(_beginning(again))
    return disk


@functools.cache
def _beginning(again: bool) -> Folder:
    disk = CrashDisk()
    disk.mkdir(Path("/run"))
    for step in (1, 2, 3, 4, 5, *[6] * again):
        save(disk, step, float(step), best=1)
    disk.sync_folder(Path("/run"))
    disk.sync_folder(Path("/"))
    return disk.root


def save_and_prune(disk: CrashDisk, marks: list[float]) -> None:
    """Writes checkpoint 6 that says 66, notes when it is there for good, and prunes."""
    save(disk, 6, 66.0, best=1)
    marks.append(66.0)
    prune(FOLDER, newest=6, best=1, disk=disk)


def crash_everywhere(kind: str, seed: int, *, again: bool) -> Iterator[str]:
    """Fails call 1, 2, 3 .. of a save until none is left to fail; yields a line for each promise that broke."""
    call = 0
    while True:
        call += 1
        disk = begin(seed * 1000 + call, again=again)
        fault = Fault(kind, call)
        disk.arm(fault)
        marks: list[float] = []
        with suppress(Crash, OSError):
            save_and_prune(disk, marks)
        struck = disk.struck
        if not struck and kind == "power":
            disk.lose_power()  # the last chance: right after all is done
        disk.restart()
        yield "" if struck else "end"
        for problem in _broken_promises(disk, marks, again=again):
            yield f"{fault}, seed {seed}, again {again}: {problem}"
        if not struck:
            return


def _broken_promises(disk: CrashDisk, marks: list[float], *, again: bool) -> Iterator[str]:
    """What must hold after any crash, before and after the next start has dealt with leftovers."""
    for name in disk.names(FOLDER):
        path = FOLDER / name
        if _claims_to_be_whole(disk, path) and not is_whole(path, int(name.split("step-")[1][:9]), disk):
            yield f"{name} has a manifest and is not whole"
    clear_leftovers(FOLDER, is_whole, disk)
    leftovers = [name for name in disk.names(FOLDER) if name.startswith(".")]
    if leftovers:
        yield f"{leftovers} are still there"
    for step in steps_in(FOLDER, disk):
        if not is_whole(step_folder(FOLDER, step), step, disk):
            yield f"step {step} is there and not whole"
    try:
        mark = mark_of(read_newest_checkpoint(FOLDER, disk))
    except DataError as error:
        yield str(error)
        return
    allowed = [66.0] if marks else [6.0 if again else 5.0, 66.0]
    if mark not in allowed:
        yield f"it goes on from {mark}, not from {allowed}"
    if not is_whole(step_folder(FOLDER, 1), 1, disk):
        yield "the best is lost"
    save(disk, 6, 67.0, best=1)
    if mark_of(read_newest_checkpoint(FOLDER, disk)) != 67.0:
        yield "the step cannot be saved again"


def _claims_to_be_whole(disk: CrashDisk, path: Path) -> bool:
    home = FOLDER / path.name[path.name.index("step-") :][: len("step-") + 9]
    if path.name.startswith(".pruned") or (path.name.startswith(".trash") and disk.exists(home)):
        return False  # on its way out: its manifest may go last
    try:
        json.loads(disk.read(path / checkpoints.MANIFEST))
    except (OSError, ValueError):
        return False
    return True


def count_crashes(seeds: range, *, stop_at_first: bool = False) -> tuple[int, list[str]]:
    """Returns how many crashes there were, and every promise that broke, or the first."""
    crashes, broken = 0, []
    for seed in seeds:
        for kind in KINDS:
            for again in (False, True):
                for line in crash_everywhere(kind, seed, again=again):
                    if line == "":
                        crashes += 1
                    elif line != "end":
                        broken.append(line)
                        if stop_at_first:
                            return crashes, broken
    return crashes, broken
