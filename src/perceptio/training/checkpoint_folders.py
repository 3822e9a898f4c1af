"""The names in a folder of checkpoints: which are checkpoints, which are leftovers, which may go.

- `step-000000120`: a checkpoint, whole since its rename.
- `.tmp-step-..`: one being written, or left half written by a crash.
- `.trash-step-..`: an older attempt at a step, out of the way of a newer one.
- `.pruned-step-..`: one that is no longer kept, on its way out.

Any other name is not ours, and stays as it is.
"""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from perceptio.disk import DISK, Disk, discard, move, tag

MANIFEST = "manifest.json"
KEEP = 3
"""Newest checkpoints that are kept: the last may be damaged, and the one before it, too."""

_STEP = re.compile(r"step-(\d{9})")
_LEFTOVER = re.compile(r"\.(tmp|trash|pruned)-step-(\d{9})-.+")


def step_folder(folder: Path, step: int) -> Path:
    """Returns the path of a step's checkpoint."""
    return folder / f"step-{step:09d}"


def aside(path: Path, why: str) -> Path:
    """Returns a free name beside a checkpoint's, for one of the leftovers above."""
    return path.with_name(f".{why}-{path.name}-{tag()}")


def steps_in(folder: Path, disk: Disk = DISK) -> list[int]:
    """Returns the steps of all checkpoints, whole or not, newest first: by step, for clocks can be set back."""
    names = disk.names(folder) if disk.exists(folder) else []
    return sorted((int(match[1]) for match in map(_STEP.fullmatch, names) if match), reverse=True)


def clear_leftovers(folder: Path, is_whole: Callable[[Path, int, Disk], bool], disk: Disk = DISK) -> list[str]:
    """Deals with what a crash left behind; only for the one process that may write here.

    A whole checkpoint that was moved out of the way of another that never came goes back. The rest is deleted.

    Returns:
        What could not be deleted, and why.
    """
    problems = []
    for path, kind, step in _leftovers(folder, disk):
        home = step_folder(folder, step)
        if kind == "trash" and not disk.exists(home) and is_whole(path, step, disk):
            move(path, home, disk)
            disk.sync_folder(folder)
        else:
            problems.append(discard(path, disk))
    return [problem for problem in problems if problem is not None]


def leave_newer(folder: Path, step: int, *, disk: Disk = DISK) -> list[str]:
    """Removes the checkpoints after a step, for a run that goes on from it another way: none may be gone on with later.

    Returns:
        What could not be deleted, and why. It has no checkpoint's name any more.

    Raises:
        OSError: one keeps its name.
    """
    for newer in steps_in(folder, disk):
        if newer > step:
            move(step_folder(folder, newer), aside(step_folder(folder, newer), "pruned"), disk)
    disk.sync_folder(folder)
    problems = [discard(path, disk) for path, kind, _ in _leftovers(folder, disk) if kind == "pruned"]
    return [problem for problem in problems if problem is not None]


def prune(folder: Path, *, newest: int, best: int | None, keep: int = KEEP, disk: Disk = DISK) -> list[str]:
    """Removes all checkpoints but the newest, the best, and the best as each of the newest knows it.

    Call it when checkpoint `newest` is in place, never before. What is newer than that was passed over as damaged when
    the run went on: it goes, too.

    Returns:
        What went wrong. None of it is worth failing for: the next call tries again.
    """
    assert keep >= 2, "the newest may be the one that a crash spoils"
    try:
        steps = steps_in(folder, disk)
        recent = [step for step in steps if step <= newest][:keep]
        kept = {best, *recent, *(_best_known_to(step_folder(folder, step), disk) for step in recent)}
        for step in steps:
            path = step_folder(folder, step)
            # Over a network the list may be an old one, with names that are gone.
            if step not in kept and disk.exists(path):
                move(path, aside(path, "pruned"), disk)
        # Before the first file is deleted: else a power loss could give the name back to a folder that lacks some.
        disk.sync_folder(folder)
        problems = [discard(path, disk) for path, _, _ in _leftovers(folder, disk)]
        return [problem for problem in problems if problem is not None]
    except OSError as error:
        return [f"cannot remove old checkpoints in {folder}: {error.strerror or error}"]


def _leftovers(folder: Path, disk: Disk) -> Iterator[tuple[Path, str, int]]:
    for name in disk.names(folder) if disk.exists(folder) else []:
        match = _LEFTOVER.fullmatch(name)
        if match:
            yield folder / name, match[1], int(match[2])


def _best_known_to(path: Path, disk: Disk) -> int | None:
    try:
        best: int | None = json.loads(disk.read(path / MANIFEST)).get("best_step")
    except (OSError, ValueError, AttributeError):
        return None
    return best
