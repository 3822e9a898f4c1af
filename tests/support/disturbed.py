"""`python -m support.disturbed [--stop-at N] .. -- train ..`: the command line with something going wrong in it.

--stop-at N       SIGINT to the whole process group, as Ctrl-C sends it, when step N is done
--signal NAME     another one instead, such as TERM
--twice           the signal is sent twice
--kill-at N       SIGKILL when step N is done
--kill-in-save N  SIGKILL before the N-th file of a checkpoint is written
--file-bytes N    no file may grow beyond N bytes: writes fail as on a full disk
--without PART    builds a part of what exact resume rests on wrongly: one of `support.controls.BREAKS`
"""

import argparse
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import perceptio.runs.log as log
from perceptio.cli.main import main
from perceptio.disk import Disk
from perceptio.runs.interruption import ECHO_SECONDS
from perceptio.training.job import StepReport
from support.controls import BREAKS


def act_at_step(step: int, act: Callable[[], None]) -> None:
    """Calls `act` when a step is done: after the update, before the evaluation and the checkpoint due at it."""
    show = log.LoggedScreen.training

    def training(self: Any, report: Any) -> None:
        if isinstance(report, StepReport) and report.step == step and os.environ.get("RANK", "0") == "0":
            act()
        show(self, report)

    log.LoggedScreen.training = training  # type: ignore[method-assign]


def send(number: signal.Signals, times: int) -> None:
    """Sends a signal to all processes of this session, as a terminal does, and lets it arrive; each a new request."""
    for _ in range(times):
        os.killpg(0, number)
        time.sleep(ECHO_SECONDS + 0.1)


def kill_in_save(number: int) -> None:
    """Kills the process before the given file of a checkpoint, counted from 1 over the whole run."""
    create, seen = Disk.create, 0

    def count(self: Disk, path: Path) -> int:
        nonlocal seen
        if path.parent.name.startswith(".tmp-step-"):
            seen += 1
            if seen == number:
                os.kill(os.getpid(), signal.SIGKILL)
        return create(self, path)

    Disk.create = count  # type: ignore[method-assign]


def leave_out(part: str) -> None:
    """Puts a weaker mechanism in the place of one that exact resume rests on."""
    if part not in BREAKS:
        raise SystemExit(f"no part {part!r}")
    BREAKS[part](setattr)


def run() -> int:
    """Runs the command line, disturbed."""
    split = sys.argv.index("--")
    parser = argparse.ArgumentParser()
    for name in ("--stop-at", "--kill-at", "--kill-in-save"):
        parser.add_argument(name, type=int)
    parser.add_argument("--file-bytes", type=int)
    parser.add_argument("--without")
    parser.add_argument("--signal", default="INT")
    parser.add_argument("--twice", action="store_true")
    chosen = parser.parse_args(sys.argv[1:split])
    if chosen.stop_at is not None:
        act_at_step(chosen.stop_at, lambda: send(signal.Signals[f"SIG{chosen.signal}"], 1 + chosen.twice))
    if chosen.kill_at is not None:
        act_at_step(chosen.kill_at, lambda: os.kill(os.getpid(), signal.SIGKILL))
    if chosen.kill_in_save is not None:
        kill_in_save(chosen.kill_in_save)
    if chosen.file_bytes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (chosen.file_bytes, chosen.file_bytes))
    if chosen.without is not None:
        leave_out(chosen.without)
    return main(sys.argv[split + 1 :])


if __name__ == "__main__":
    sys.exit(run())
