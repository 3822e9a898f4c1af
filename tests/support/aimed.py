"""Kills that are aimed: at a moment of a step, of a save, of an evaluation, or of the removal of old checkpoints.

A phase of training has moments: before each call that changes the disk, within each write, between the parts of a
step. The process ends its whole group, loader workers included, by SIGKILL at moment number `place` of the first such
phase that belongs to step `step` or a later one; where the phase has fewer moments, right after it. What was hit is
noted first, so that hits can be counted.
"""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import perceptio.runs.log as log
import perceptio.training.saving as saving
from perceptio.disk import Disk
from perceptio.models.perceiver import Perceiver
from perceptio.training.average import WeightAverage
from perceptio.training.fit import _Loop
from perceptio.training.job import StepReport
from perceptio.training.step import TrainStep

CHANGES = ("mkdir", "create", "write", "sync", "close", "rename", "sync_folder", "remove")
"""The calls of `Disk` that change what lies on it, or wait until it has."""

MOMENTS_OF_NO_REMOVAL = 1  # the folder's names are synced, and nothing else


@dataclass(frozen=True, kw_only=True)
class Aim:
    """What is to be hit.

    Attributes:
        target: "step", "save", "evaluation" or "prune".
        step: counted from 1.
        place: the moment within the phase, from 0.
        after_seconds: at a step: by the clock instead, so long after it began.
        signal: what is sent. After any but SIGKILL the run goes on to a good end, and nothing more is aimed at.
    """

    target: str
    step: int
    place: int = 0
    after_seconds: float | None = None
    signal: int = signal.SIGKILL


class Moments:
    """Follows the phases of a run, and kills where the aim is.

    Args:
        aim: None kills nowhere.
        notes: file for a line about what was hit.
    """

    def __init__(self, aim: Aim | None, notes: Path) -> None:
        self.aim = aim
        self.notes = notes
        self.phases: list[str] = []
        self.step = 0
        self.count = 0
        self.name = "start"
        self.file = ""
        self.clock_runs = False

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Opens a phase within the present one."""
        self.begin(name)
        yield
        self.end()

    def begin(self, name: str) -> None:
        """Opens a phase; its moments count from 0."""
        self.phases.append(name)
        self.count = 0

    def end(self) -> None:
        """Closes it. A removal in which nothing was removed is none."""
        if self.phases[-1] != "prune" or self.count > MOMENTS_OF_NO_REMOVAL:
            self.moment("after all of it", last=True)
        self.phases.pop()

    def moment(self, name: str, *, last: bool = False) -> None:
        """Passes a moment, or ends here."""
        self.name = name
        if (last and self._is_aimed_at()) or self.is_next():
            self.kill()
        self.count += 1

    def is_next(self) -> bool:
        """Returns whether the next moment is the one that is aimed at."""
        return self._is_aimed_at() and self.aim is not None and self.count == self.aim.place

    def start_clock(self) -> None:
        """Lets the aim's time run, once."""
        aim = self.aim
        if aim is None or aim.after_seconds is None or self.clock_runs or self.step < aim.step:
            return
        self.clock_runs = True
        seconds = aim.after_seconds

        def wait() -> None:
            time.sleep(seconds)
            self.kill()

        threading.Thread(target=wait, daemon=True).start()

    def kill(self) -> None:
        """Notes what is hit, and sends the signal to all processes of this group."""
        assert self.aim is not None
        hit = {"step": self.step, "phase": "/".join(self.phases) or "between", "moment": self.name}
        with self.notes.open("a") as file:
            file.write(json.dumps(hit) + "\n")
        number, self.aim = self.aim.signal, None
        os.killpg(0, number)

    def _is_aimed_at(self) -> bool:
        aim = self.aim
        if aim is None or aim.after_seconds is not None or not self.phases:
            return False
        return self.phases[-1] == aim.target and self.step >= aim.step


def aim(moments: Moments, losses: Path) -> None:
    """Puts itself between the run and its parts; `losses` gets a line a step."""
    _follow_steps(moments, losses)
    _follow_disk(moments)
    moments_of = {"save": "write_checkpoint", "prune": "prune"}
    for phase, name in moments_of.items():
        setattr(saving, name, _within(moments, phase, getattr(saving, name)))
    _Loop._evaluate = _within(moments, "evaluation", _Loop._evaluate)  # type: ignore[method-assign]
    forward = Perceiver.forward

    def seen(self: Any, *arguments: Any, **named: Any) -> Any:
        if moments.phases[-1:] == ["evaluation"]:
            moments.moment("before a batch")
        return forward(self, *arguments, **named)

    Perceiver.forward = seen  # type: ignore[method-assign]


def _within(moments: Moments, phase: str, act: Callable[..., Any]) -> Callable[..., Any]:
    def wrapped(*arguments: Any, **named: Any) -> Any:
        with moments.phase(phase):
            return act(*arguments, **named)

    return wrapped


def _around(moments: Moments, holder: Any, name: str, what: str) -> None:
    """Makes a moment before and one after each call."""
    act = getattr(holder, name)

    def wrapped(*arguments: Any, **named: Any) -> Any:
        moments.moment(f"before {what}")
        found = act(*arguments, **named)
        moments.moment(f"after {what}")
        return found

    setattr(holder, name, wrapped)


def _follow_steps(moments: Moments, losses: Path) -> None:
    run, show = TrainStep.run, log.LoggedScreen.training
    file = os.open(losses, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def run_step(self: Any, step: int) -> Any:
        moments.step = step + 1
        moments.start_clock()
        moments.begin("step")
        moments.moment("before its first batch")
        return run(self, step)

    def training(self: Any, report: Any) -> None:
        if isinstance(report, StepReport):
            os.write(file, f"{report.step} {report.loss.hex()}\n".encode())
            moments.end()
        show(self, report)

    TrainStep.run = run_step  # type: ignore[method-assign]
    log.LoggedScreen.training = training  # type: ignore[method-assign]
    _around(moments, TrainStep, "_backward", "a micro-batch")
    _around(moments, TrainStep, "_average_gradients", "the sum of gradients")
    _around(moments, WeightAverage, "update", "the moving average")


def _follow_disk(moments: Moments) -> None:
    for name in CHANGES:
        setattr(Disk, name, _followed(moments, name, getattr(Disk, name)))

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        """The removal of a folder is many calls of the system: each of them is a moment."""
        if event in ("os.remove", "os.rmdir") and moments.phases[-1:] == ["prune"]:
            moments.moment(f"before {event} {_label(Path(os.fsdecode(arguments[0])))}")

    sys.addaudithook(audit)


def _followed(moments: Moments, name: str, act: Callable[..., Any]) -> Callable[..., Any]:
    def wrapped(self: Disk, first: Any, *rest: Any) -> Any:
        if isinstance(first, Path):
            moments.file = _label(first)
        moments.moment(f"before {name} {moments.file}")
        if name == "write":
            if moments.is_next():
                os.write(first, rest[0][: len(rest[0]) // 2])
            moments.moment(f"within write {moments.file}")
        return act(self, first, *rest)

    return wrapped


def _label(path: Path) -> str:
    """Returns what a file or folder is called in a note, whatever run and process it is of."""
    if "step-" in path.name:
        return "its folder"
    if path.name.startswith(".tmp-"):
        return path.name.removeprefix(".tmp-").split("-")[0]
    return path.name if path.suffix else "the folder around"
