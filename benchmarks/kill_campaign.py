"""Kills training runs again and again, goes on with them, and compares each with a run that was never stopped.

    PYTHONPATH=src:tests python benchmarks/kill_campaign.py --runs 25 --kills 3 --seed 0 --workers 2

Every run trains on picture files with augmentation, mixup, cutmix, dropout, LAMB, accumulation and a moving average of
the weights. It is killed by SIGKILL, loader workers and all, at aimed moments (support.aimed), and goes on in a new
process each time. At the end the losses of every step (those taken twice included), all tensors and the state of the
newest checkpoint, the best weights, metrics.jsonl (clocks and memory aside), the split and the test predictions must
be those of the undisturbed run, byte for byte. `--signal TERM` or INT asks politely instead, as a batch system or
Ctrl-C does: then the exit code must be the signal's as well. `--without BREAK` builds resume wrongly
(support.controls): the campaign must then fail. Exit code 1 if anything differs or an aim was missed.
"""

import argparse
import json
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from perceptio.runs.serialisation import dump, to_json
from support.aimed import Aim
from support.comparison import differing_parts
from support.configs import everything_random, tiny_config
from support.controls import BREAKS
from support.pictures import make_picture_folder
from support.warm import Part, Warm

EPOCHS, STEPS_PER_EPOCH = 8, 3
FIRST_STEP = STEPS_PER_EPOCH + 1  # before the first checkpoint there is nothing to go on from
LAST_STEP = (EPOCHS - 1) * STEPS_PER_EPOCH
TARGETS = ("save",) * 6 + ("step",) * 4 + ("evaluation",) * 3 + ("prune",) * 2
MOMENTS = {"save": 30, "step": 10, "evaluation": 19, "prune": 10}
MOST_SECONDS_INTO_A_STEP = 0.2
SECONDS_TO_DIE = 10.0
EXIT_CODES = {"KILL": -9, "TERM": 143, "INT": 130}


@dataclass
class Run:
    """A run and what became of it. `left_over`: files and processes that should be gone."""

    number: int
    aims: list[Aim]
    folder: Path
    problems: list[str] = field(default_factory=list)
    left_over: list[str] = field(default_factory=list)

    @property
    def hits(self) -> list[dict[str, str]]:
        """What each kill hit."""
        notes = self.folder / "notes"
        return [json.loads(line) for line in notes.read_text().splitlines()] if notes.exists() else []


def make_plan(num_runs: int, num_kills: int, seed: int, number: int) -> list[list[Aim]]:
    """Returns the aims of each run, in order: targets by turns, each moment of a target before any comes again.

    Args:
        number: of the signal.
    """
    random = np.random.default_rng(seed)
    targets = random.permutation(list(islice(cycle(TARGETS), num_runs * num_kills))).tolist()
    places = {target: _places(target, random) for target in MOMENTS}
    plan = []
    for run in range(num_runs):
        steps = sorted(random.integers(FIRST_STEP, LAST_STEP + 1, num_kills).tolist())
        of_run = targets[run * num_kills : (run + 1) * num_kills]
        aims = [replace(next(places[target]), step=step) for target, step in zip(of_run, steps, strict=True)]
        plan.append([replace(aim, signal=number) for aim in aims])
    return plan


def _places(target: str, random: np.random.Generator) -> Iterator[Aim]:
    while True:
        for place in random.permutation(MOMENTS[target]).tolist():
            yield Aim(target=target, step=0, place=place)
        if target == "step":  # as often at any moment at all
            for seconds in random.uniform(0, MOST_SECONDS_INTO_A_STEP, MOMENTS[target]).tolist():
                yield Aim(target=target, step=0, after_seconds=seconds)


class Campaign:
    """The folder, the processes that start others, and the undisturbed run."""

    def __init__(self, folder: Path, workers: int, without: str | None, exit_code: int) -> None:
        self.folder = folder
        self.exit_code = exit_code
        self.workers = workers
        self.without = without
        config = everything_random(tiny_config(make_picture_folder(folder / "pictures", per_class=15), epochs=EPOCHS))
        config = replace(config, training=replace(config.training, average_decay=0.9))
        self.config = folder / "config.json"
        self.config.write_text(dump(to_json(config)))
        # Two, by turns: no part of a run shares its hash seed or its imports with the part before.
        environment = {"OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(folder / "cache")}
        self.warm = [Warm(environment), Warm(environment)]
        self.twin = self._twin()

    def _twin(self) -> Run:
        """Returns the undisturbed run, whose files are read by one worker."""
        run = Run(number=-1, aims=[], folder=self.folder / "undisturbed")
        run.folder.mkdir()
        code = self._part(run, 0, workers=1)
        if code != 0:
            raise SystemExit(f"the undisturbed run ended with {code}: {run.folder / 'log'}")
        return run

    def _part(self, run: Run, number: int, *, workers: int) -> int:
        """Runs one process of a run; returns its exit code."""
        path = run.folder / "run"
        begin = ["--config", str(self.config), "--out", str(path)] if number == 0 else ["--resume", str(path)]
        part = Part(
            arguments=["train", *begin, "--workers", str(workers), "--device", "cpu"],
            aim=asdict(run.aims[number]) if number < len(run.aims) else None,
            without=self.without,
            **{name: str(run.folder / name) for name in ("notes", "losses", "log")},
        )
        ended = self.warm[number % 2].run(part)
        run.left_over += _still_running(ended.pid)
        return ended.code

    def disturbed(self, number: int, aims: list[Aim]) -> Run:
        """Returns a run that was killed at each aim, and what differs from the undisturbed one."""
        run = Run(number=number, aims=aims, folder=self.folder / f"run-{number:02d}")
        run.folder.mkdir()
        for place in range(len(aims) + 1):
            code = self._part(run, place, workers=self.workers)
            if code != (self.exit_code if place < len(aims) else 0):
                run.problems.append(f"part {place + 1} ended with {code}")
                return run
        run.problems += differing_parts(self.twin.folder / "run", run.folder / "run")
        run.problems += [] if _same_losses(self.twin.folder, run.folder) else ["losses"]
        run.left_over += [str(path) for path in run.folder.rglob(".*-*") if path.name != ".lock"]
        return run

    def close(self) -> None:
        """Ends the processes that start others."""
        for warm in self.warm:
            warm.close()


def _same_losses(twin: Path, other: Path) -> bool:
    """Whether every step was taken, and each time with the loss of the undisturbed run, to the bit."""
    expected = dict(line.split() for line in (twin / "losses").read_text().splitlines())
    found = [line.split() for line in (other / "losses").read_text().splitlines()]
    return dict(found) == expected and all(expected[step] == loss for step, loss in found)


def _still_running(session: int) -> list[str]:
    """Returns the processes of an ended session that outlive it by more than a moment."""
    deadline = time.monotonic() + SECONDS_TO_DIE
    while True:
        alive = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                state, _, _, of_session = path.read_text().rpartition(")")[2].split()[:4]
            except OSError:  # gone meanwhile
                continue
            if int(of_session) == session and state != "Z":
                alive.append(f"process {path.parent.name}")
        if not alive or time.monotonic() > deadline:
            return alive
        time.sleep(0.1)


def show(runs: list[Run], seconds: float) -> None:
    """Prints what was hit, how often, and what came of it."""
    hits = [(run, aim, hit) for run in runs for aim, hit in zip(run.aims, run.hits, strict=False)]
    print("\n| target | kills | different moments | runs with such a kill | of them equal |")
    print("| --- | --- | --- | --- | --- |")
    for target in MOMENTS:
        found = [(run, hit) for run, aim, hit in hits if aim.target == target]
        of_runs = {run.number: not run.problems for run, _ in found}
        moments = {hit["moment"] for _, hit in found}
        print(f"| {target} | {len(found)} | {len(moments)} | {len(of_runs)} | {sum(of_runs.values())} |")
    print("\n| moment | kills |")
    print("| --- | --- |")
    by_clock = sum(aim.after_seconds is not None for _, aim, _ in hits)
    counts = Counter((aim.target, hit["moment"]) for _, aim, hit in hits if aim.after_seconds is None)
    for (target, moment), count in sorted(counts.items()):
        print(f"| {target}: {moment} | {count} |")
    print(f"| step: at a random time after it began | {by_clock} |")
    equal = sum(not run.problems for run in runs)
    left_over = [name for run in runs for name in run.left_over]
    print(f"\n{equal} of {len(runs)} runs equal, {len(hits)} kills, {seconds / 60:.0f} minutes")
    print(f"left over: {len(left_over)} {sorted(left_over)[:5]}")


def main() -> int:
    """Runs the campaign."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=25)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--signal", choices=list(EXIT_CODES), default="KILL")
    parser.add_argument("--without", choices=list(BREAKS))
    parser.add_argument("--out", type=Path, help="folder for the runs; default: a temporary one")
    arguments = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.out or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        campaign = Campaign(folder.resolve(), arguments.workers, arguments.without, EXIT_CODES[arguments.signal])
        number_of_signal = signal.Signals[f"SIG{arguments.signal}"]
        plan = make_plan(arguments.runs, arguments.kills, arguments.seed, number_of_signal)
        runs = []
        print("| run | killed | equal |")
        print("| --- | --- | --- |", flush=True)
        for number, aims in enumerate(plan):
            run = campaign.disturbed(number, aims)
            killed = "; ".join(f"step {hit['step']}, {hit['phase']}: {hit['moment']}" for hit in run.hits)
            print(f"| {number + 1} | {killed} | {', '.join(run.problems) or 'yes'} |", flush=True)
            runs.append(run)
        campaign.close()
        show(runs, time.monotonic() - began)
    return int(any(run.problems for run in runs))


if __name__ == "__main__":
    sys.exit(main())
