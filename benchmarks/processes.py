"""What several processes promise, run for real: exact and other resumes, sharded or not, and one process that fails.

python benchmarks/processes.py [--only NAME ..]     about 15 minutes on two cores

Every part of a run is a launch of its own by torchrun, on the CPU. Resumes compare bytes where as many processes go on,
else the samples of each global batch (equal, in order) and the loss of each step.
"""

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from perceptio.runs.config import RunConfig
from perceptio.runs.serialisation import dump, to_json
from perceptio.training.checkpoint import read_newest_checkpoint
from support.comparison import differing_parts
from support.configs import everything_random, tiny_config
from support.launched import Trouble, launch, start, steps_of
from support.pictures import make_picture_folder

STEPS = 21  # 3 an epoch, 7 epochs
STOPS = (7, 14)
TOLERANCE = 1e-5
WITHIN_SECONDS = 30.0


def prepare(folder: Path) -> None:
    """Makes pictures and two configs: with dropout, for equal numbers of processes, and without."""
    data = make_picture_folder(folder / "pictures", per_class=15)
    config = everything_random(tiny_config(data, epochs=STEPS / 3))
    write(folder / "random.json", config)
    # Each process draws dropout for its own samples: in another number of processes the masks differ.
    write(folder / "plain.json", replace(config, model=replace(config.model, dropout=0.0, attention_dropout=0.0)))


def write(path: Path, config: RunConfig) -> None:
    path.write_text(dump(to_json(config)))


def begin(config: str, out: Path) -> tuple[str, ...]:
    """Returns the arguments that start a run."""
    return ("train", "--config", config, "--out", str(out), "--workers", "0", "--device", "cpu")


def resume(out: Path) -> tuple[str, ...]:
    """Returns the arguments that go on with one."""
    return ("train", "--resume", str(out), "--workers", "0", "--device", "cpu")


def sharding(count: int, sharded: bool) -> tuple[str, ...]:
    return ("--sharding", "full") if sharded and count > 1 else ()


def journey(folder: Path, config: str, name: str, legs: Iterable[tuple[int, bool]]) -> tuple[Path, Path]:
    """Runs a run in legs of so many processes, sharded or not, each stopped after 7 steps; returns run and record."""
    out, record = folder / name, folder / f"{name}-record"
    record.mkdir()
    legs = list(legs)
    for number, (count, sharded) in enumerate(legs):
        arguments = (*(resume(out) if number else begin(config, out)), *sharding(count, sharded))
        stop = STOPS[number] if number + 1 < len(legs) else None
        trouble = None if stop is None else Trouble(stop_at=stop, rank=count - 1)
        done = launch(*arguments, cwd=folder, count=count, record=record / f"{number}-{count}", trouble=trouble)
        # torchrun ends with 1 whatever a process ended with.
        if (done.code == 0) != (stop is None) or (stop is not None and "Stopped   saved" not in done.stdout):
            raise SystemExit(f"{name}, leg {number}: exit code {done.code}\n{done.stderr}")
    return out, record


def undisturbed(folder: Path, sharded: bool) -> Path:
    """Returns the run by two processes that nothing disturbs, with dropout; made when first asked for."""
    name = f"{'sharded' if sharded else 'replicated'}-2"
    if not (folder / name).exists():
        journey(folder, "random.json", name, [(2, sharded)])
    return folder / name


def same_bytes(folder: Path, sharded: bool) -> str:
    """2 -> 2 -> 2 against 2."""
    kind = "sharded" if sharded else "replicated"
    once = undisturbed(folder, sharded)
    thrice, _ = journey(folder, "random.json", f"{kind}-2-2-2", [(2, sharded)] * 3)
    differing = differing_parts(once, thrice)
    assert not differing, differing
    return "equal bytes: weights, moments, state, metrics, predictions"


def accelerated(folder: Path) -> str:
    """`accelerate launch` against torchrun."""
    out = folder / "accelerated"
    done = launch(*begin("random.json", out), cwd=folder, launcher="accelerate")
    assert done.code == 0, done.stderr
    differing = differing_parts(undisturbed(folder, False), out)
    assert not differing, differing
    return "equal bytes"


def same_losses(folder: Path, name: str, legs: list[tuple[int, bool]]) -> str:
    """Any journey against one process."""
    reference = folder / "alone-record"
    if not reference.exists():
        journey(folder, "plain.json", "alone", [(1, False)])
    _, record = journey(folder, "plain.json", name, legs)
    one, many = steps_of(reference), steps_of(record)
    assert one.keys() == many.keys() == set(range(STEPS)), (sorted(one), sorted(many))
    assert all(one[step][0] == many[step][0] for step in one), "samples differ"
    worst = max(abs(many[step][1] / one[step][1] - 1) for step in one)
    assert worst <= TOLERANCE, worst
    return f"equal samples in {STEPS} steps, losses within {worst:.1e}"


def failure(folder: Path, part: str, rank: int, sharded: bool, words: str) -> str:
    """One process fails: all end in time with its message, the checkpoint loads, the run goes on to the same bytes."""
    kind = "sharded" if sharded else "replicated"
    once = undisturbed(folder, sharded)
    out = folder / f"{kind}-{part}-{rank}"
    done = launch(*begin("random.json", out), *sharding(2, sharded), cwd=folder, trouble=Trouble(fail=part, rank=rank))
    assert done.code != 0, done.stdout
    assert any(words in line for line in done.errors), done.stderr
    assert done.late is not None, "nothing failed"
    assert done.late < WITHIN_SECONDS, done.late
    others = f" (and {len(done.errors) - 1} more)" if len(done.errors) > 1 else ""
    text = f"ended {done.late:.1f} s later: {done.errors[0]}{others}"
    if part in ("begin", "gather", "write", "kill-in-save"):
        return text  # before the first checkpoint
    step = read_newest_checkpoint(out / "checkpoints").state.step
    again = launch(*resume(out), *sharding(2, sharded), cwd=folder)
    assert again.code == 0, again.stderr
    differing = differing_parts(once, out)
    assert not differing, differing
    return f"{text}; step {step} loads and goes on to equal bytes"


def interrupted(folder: Path) -> str:
    """Ctrl-C as a terminal sends it, to the launcher: it passes it on to all."""
    out = folder / "interrupted"
    running = start(*begin("random.json", out), cwd=folder)
    while not any((out / "checkpoints").glob("step-*")):
        time.sleep(0.1)
    running.process.send_signal(signal.SIGINT)
    began = time.monotonic()
    done = running.end()
    took = time.monotonic() - began
    assert "Stopped   saved" in done.stdout, done.stderr
    assert took < WITHIN_SECONDS, took
    again = launch(*resume(out), cwd=folder)
    assert again.code == 0, again.stderr
    differing = differing_parts(undisturbed(folder, False), out)
    assert not differing, differing
    return f"ended {took:.1f} s later, saved; goes on to equal bytes"


def checks(folder: Path) -> dict[str, Callable[[], str]]:
    """Returns all checks by name, in an order in which the first ones make what the later ones compare with."""
    journeys: dict[str, list[tuple[int, bool]]] = {
        "1 -> 2": [(1, False), (2, False)],
        "2 -> 1": [(2, False), (1, False)],
        "2 -> 4 -> 2": [(2, False), (4, False), (2, False)],
        "1 -> 2 sharded": [(1, False), (2, True)],
        "2 sharded -> 1": [(2, True), (1, False)],
        "2 sharded -> 4 sharded -> 2 sharded": [(2, True), (4, True), (2, True)],
        "2 -> 2 sharded -> 2": [(2, False), (2, True), (2, False)],
    }
    found: dict[str, Callable[[], str]] = {
        "2 -> 2 -> 2": partial(same_bytes, folder, False),
        "2 -> 2 -> 2 sharded": partial(same_bytes, folder, True),
    }
    found["accelerate launch"] = partial(accelerated, folder)
    for name, legs in journeys.items():
        found[name] = partial(same_losses, folder, name.replace(" ", ""), legs)
    lost = "waited in vain for another one"
    for part, rank, sharded, words in (
        ("begin", 0, False, "broken on purpose"),
        ("data", 1, False, "process 1: broken on purpose"),
        ("nan", 1, False, "loss or gradient is not a number"),
        ("step", 1, False, "process 1: RuntimeError: broken on purpose"),
        ("step", 1, True, "process 1: RuntimeError: broken on purpose"),
        ("kill", 1, False, lost),
        ("kill", 1, True, lost),
        ("gather", 1, True, "process 1: RuntimeError: broken on purpose"),
        ("write", 0, False, "broken on purpose"),
        ("kill-in-save", 0, False, lost),
    ):
        kind = ", sharded" if sharded else ""
        found[f"fails: {part}, process {rank}{kind}"] = lambda part=part, rank=rank, sharded=sharded, words=words: (
            failure(folder, part, rank, sharded, words)
        )
    found["Ctrl-C"] = partial(interrupted, folder)
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", nargs="*", help="parts of the names of checks")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        prepare(folder)
        failed = 0
        for name, check in checks(folder).items():
            if chosen.only and not any(part in name for part in chosen.only):
                continue
            began = time.monotonic()
            try:
                result = check()
            except AssertionError as error:
                failed += 1
                result = f"FAILED: {error}"
            print(f"{name}: {result} [{time.monotonic() - began:.0f} s]", flush=True)
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
