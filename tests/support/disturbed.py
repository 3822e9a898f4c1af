"""`python -m support.disturbed [--stop-at N] .. -- train ..`: the command line with something going wrong in it.

--stop-at N       SIGINT to the whole process group, as Ctrl-C sends it, when step N is done
--signal NAME     another one instead, such as TERM
--twice           the signal is sent twice
--kill-at N       SIGKILL when step N is done
--kill-in-save N  SIGKILL before the N-th file of a checkpoint is written
--without PART    leaves out a part of what exact resume rests on, for negative controls
"""

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import perceptio.data.order as order
import perceptio.runs.log as log
import perceptio.training.fit as fit
import perceptio.training.step as training_step
from perceptio.cli.main import main
from perceptio.disk import Disk
from perceptio.training.job import StepReport


def act_at_step(step: int, act: Callable[[], None]) -> None:
    """Calls `act` when a step is done: after the update, before the evaluation and the checkpoint due at it."""
    show = log.LoggedScreen.training

    def training(self: Any, report: Any) -> None:
        if isinstance(report, StepReport) and report.step == step and os.environ.get("RANK", "0") == "0":
            act()
        show(self, report)

    log.LoggedScreen.training = training  # type: ignore[method-assign]


def send(number: signal.Signals, times: int) -> None:
    """Sends a signal to all processes of this session, as a terminal does, and lets it arrive."""
    for _ in range(times):
        os.killpg(0, number)
        time.sleep(0.1)


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
    """Takes one mechanism away, by putting something else in its place: what the type checker is there to forbid."""
    if part == "dropout-seeds":
        training_step.torch = _Patched(training_step.torch, manual_seed=lambda seed: None)  # type: ignore[assignment]
    elif part == "epoch-in-order":
        of_epoch = order.epoch_order
        order.epoch_order = lambda seed, epoch, num_samples: of_epoch(seed, 0, num_samples)
    elif part == "epoch-in-sample":
        order_iter = order.TrainingOrder.global_batch
        order.TrainingOrder.global_batch = lambda self, step: [(0, index) for _, index in order_iter(self, step)]  # type: ignore[method-assign]
    elif part == "moments":
        fit.load_optimizer = lambda model, optimizer, tensors: None
    elif part == "step-in-mixing":
        drawn = order.batch_mixing
        order.batch_mixing = lambda config, seed, step, batch_size: drawn(config, seed, 0, batch_size)  # type: ignore[assignment]
    else:
        raise SystemExit(f"no part {part!r}")


class _Patched:
    """A module with some names replaced, for one user of it alone."""

    def __init__(self, module: Any, **replaced: Any) -> None:
        self.module = module
        self.__dict__.update(replaced)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.module, name)


def run() -> int:
    """Runs the command line, disturbed."""
    split = sys.argv.index("--")
    parser = argparse.ArgumentParser()
    for name in ("--stop-at", "--kill-at", "--kill-in-save"):
        parser.add_argument(name, type=int)
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
    if chosen.without is not None:
        leave_out(chosen.without)
    return main(sys.argv[split + 1 :])


if __name__ == "__main__":
    sys.exit(run())
