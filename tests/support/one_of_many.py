"""`python -m support.one_of_many [--rank R --fail PART] train ..`: one of several processes gets into trouble.

--record FOLDER  each process appends the samples and the loss of each step to FOLDER/RANK.jsonl
--fail PART      in step 5: data (a DataError), nan (its loss is none), step (an error of ours before the backward pass)
                 or kill (SIGKILL); in the first checkpoint: gather (before the state is collected), write (in
                 writing it) or kill-in-save; begin (before the data is read)
--stop-at N      SIGINT to process R when it has taken N steps
--spoil PATTERN  files of the current folder that process R removes when it has taken 4 steps
--rank R         the process in which that happens (1)
"""

import argparse
import atexit
import json
import math
import os
import signal
import sys
from pathlib import Path
from typing import Any

import perceptio.runs.train as train
import perceptio.training.checkpoint as checkpoint
import perceptio.training.saving as saving
from perceptio.cli.main import main
from perceptio.errors import DataError
from perceptio.training.feed import Feed
from perceptio.training.step import TrainStep

STEP = 4  # counted from 0

FAILED = os.environ.get("PERCEPTIO_TEST_FAILED")
"""A file to be touched at the moment of the failure."""

RANK = int(os.environ.get("RANK", "0"))


def mark() -> None:
    """Notes the moment."""
    if FAILED is not None:
        Path(FAILED).touch()


def record(folder: Path) -> None:
    """Writes what each step of this process was taken on, and the loss of all."""
    run, take, seen = TrainStep.run, Feed.next_batch, []

    def next_batch(self: Feed) -> Any:
        batch = take(self)
        size = self.order.batch_size // (self.order.num_processes * self.order.num_micro_batches)
        seen.extend(batch.indices[:size].tolist())  # after them come those that they are mixed with
        return batch

    def step(self: TrainStep, number: int) -> Any:
        seen.clear()
        found = run(self, number)
        with (folder / f"{RANK}.jsonl").open("a") as file:
            file.write(json.dumps({"step": number, "samples": seen, "loss": found.loss}) + "\n")
        return found

    Feed.next_batch, TrainStep.run = next_batch, step  # type: ignore[method-assign]


def stop_at(number: int) -> None:
    """Asks this process to stop and its launcher as well, which passes it on to all: this one is asked twice."""
    run = TrainStep.run

    def step(self: TrainStep, now: int) -> Any:
        found = run(self, now)
        if now + 1 == number:
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getppid(), signal.SIGTERM)
        return found

    TrainStep.run = step  # type: ignore[method-assign]


def spoil(pattern: str) -> None:
    """Removes files in mid-run."""
    run = TrainStep.run

    def step(self: TrainStep, now: int) -> Any:
        found = run(self, now)
        if now + 1 == STEP:
            for path in Path().glob(pattern):
                path.unlink()
        return found

    TrainStep.run = step  # type: ignore[method-assign]


def kill() -> None:
    """Ends this process as the kernel would."""
    mark()
    os.kill(os.getpid(), signal.SIGKILL)


def broken(*arguments: Any, **named: Any) -> Any:
    """Stands in for a part that fails."""
    mark()
    raise RuntimeError("broken on purpose")


def fail_in_step(part: str) -> None:
    """Makes a part of a step fail."""
    run, take, loss = TrainStep.run, Feed.next_batch, TrainStep._loss
    now = {"step": -1}

    def step(self: TrainStep, number: int) -> Any:
        now["step"] = number
        if number == STEP and part == "kill":
            kill()
        return run(self, number)

    def next_batch(self: Feed) -> Any:
        if now["step"] == STEP and part == "data":
            mark()
            raise DataError("broken on purpose")
        return take(self)

    def own_loss(self: TrainStep, *arguments: Any) -> Any:
        if now["step"] == STEP and part == "step":
            broken()
        if now["step"] == STEP and part == "nan":
            mark()
            return loss(self, *arguments) * math.nan
        return loss(self, *arguments)

    TrainStep.run, Feed.next_batch, TrainStep._loss = step, next_batch, own_loss  # type: ignore[method-assign]


def fail(part: str) -> None:
    """Makes a part fail in this process."""
    if part in ("data", "nan", "step", "kill"):
        fail_in_step(part)
    elif part == "gather":
        # Of weights that are not sharded only the first process takes part: the others fail at the next agreement.
        saving.weight_tensors = broken
        if RANK:
            save = saving.Saver.save

            def saved(self: Any, state: Any) -> None:
                if not saving.is_sharded(self.job.model):
                    broken()
                save(self, state)

            saving.Saver.save = saved  # type: ignore[method-assign]
    elif part == "write":
        saving.write_checkpoint = broken
    elif part == "kill-in-save":
        checkpoint.write_new = lambda path, content, disk: kill()
    elif part == "begin":
        train.survey_data = broken
    else:
        raise SystemExit(f"no part {part!r}")


def count_messengers() -> None:
    """Says how many of gloo's working threads there are; PyTorch gives each group two."""
    threads = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
    sys.stderr.write(f"at the end {threads.count('pt_gloo_runloop')} threads of gloo\n")


def run() -> int:
    """Runs the command line."""
    atexit.register(count_messengers)  # the first that is registered is the last that is called
    split = sys.argv.index("train")  # not "--", which torchrun takes for its own
    parser = argparse.ArgumentParser()
    parser.add_argument("--record", type=Path)
    parser.add_argument("--fail")
    parser.add_argument("--stop-at", type=int)
    parser.add_argument("--spoil")
    parser.add_argument("--rank", type=int, default=1)
    chosen = parser.parse_args(sys.argv[1:split])
    if chosen.record is not None:
        record(chosen.record)
    if chosen.stop_at is not None and chosen.rank == RANK:
        stop_at(chosen.stop_at)
    if chosen.spoil is not None and chosen.rank == RANK:
        spoil(chosen.spoil)
    if chosen.fail is not None and chosen.rank == RANK:
        fail(chosen.fail)
    return main(sys.argv[split:])


if __name__ == "__main__":
    sys.exit(run())
