"""Trains on a file system that is really full, or becomes read-only in mid-run; a program for root.

    unshare --mount python -m support.full_disk FOLDER full|read-only

Prints one JSON document: what was told, which checkpoint was left, and whether a resume after the mending ended as a
run that never met the trouble.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from perceptio.errors import PerceptioError
from perceptio.training.checkpoint import read_newest_checkpoint
from perceptio.training.job import Job
from support.jobs import Recorder, make_job, run_job, weights

EPOCHS = 5.0
ROOM_IN_CHECKPOINTS = 1.5
ROOMY = 100


def mount(folder: Path, options: str) -> None:
    """Mounts memory as a file system, or changes the one that is there."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)


def bytes_below(folder: Path) -> int:
    """Returns what the files of a folder take on a disk."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def turning_read_only(job: Job, folder: Path) -> Job:
    """Returns the job on a file system that takes its first evaluation and checkpoint, and nothing after that."""
    evaluations = iter([lambda: None, lambda: mount(folder, "remount,ro")])

    def evaluate(model: nn.Module) -> Mapping[str, float]:
        next(evaluations, lambda: None)()
        return job.evaluate(model)

    return replace(job, evaluate=evaluate)


def main(folder: Path, trouble: str) -> None:
    """Runs the job three times: undisturbed, until its disk refuses, and on from there."""
    whole = make_job(folder / "whole", epochs=EPOCHS)
    run_job(whole)
    size = bytes_below(read_newest_checkpoint(whole.checkpoints).path)
    place = folder / "place"
    place.mkdir()
    mount(place, f"size={int((ROOM_IN_CHECKPOINTS if trouble == 'full' else ROOMY) * size)}")
    stopped, recorder, told = make_job(place, epochs=EPOCHS), Recorder(), ""
    try:
        run_job(stopped if trouble == "full" else turning_read_only(stopped, place), report=recorder)
    except PerceptioError as error:
        told = str(error)
    left = read_newest_checkpoint(stopped.checkpoints)
    names = sorted(path.name for path in stopped.checkpoints.iterdir())
    mount(place, f"remount,rw,size={ROOMY * size}")
    resumed = make_job(place, epochs=EPOCHS)
    ended = run_job(resumed, resume=left).ended
    expected, found = weights(whole), weights(resumed)
    answer = {
        "told": told,
        "warnings": len(recorder.save_failures),
        "left": left.state.step,
        "names": names,
        "ended": ended,
        "equal": all(torch.equal(expected[name], found[name]) for name in expected),
    }
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), sys.argv[2])
