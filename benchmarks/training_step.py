"""One step of a small model on the CPU, with its data: the `fashion-mnist` recipe on random pictures, part by part.

A step is what training does: 256 samples read, cropped and mixed, forward, backward, clipping, update. Times are the
processor's, not the clock's (one thread; other programs on the machine disturb them less). With --against another
checkout's src folder, whose parts fit together as here, is measured in turn, each round in a process of its own.

Usage: python benchmarks/training_step.py [--rounds 5] [--steps 15] [--against ../other/src] [--json]
"""

import argparse
import json
import os
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

NUM_SAMPLES = 4_000
THIS = Path(__file__).resolve().parents[1] / "src"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--against", type=Path)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        print(json.dumps(measure(options.steps)))
        return
    sources = {"now": THIS} | ({"before": options.against.resolve()} if options.against else {})
    found: dict[str, list[dict[str, float]]] = {name: [] for name in sources}
    for _ in range(options.rounds):
        for name, source in sources.items():
            found[name].append(in_a_process(source, options.steps))
    rows = {
        name: {part: statistics.median(times[part] for times in rounds) for part in rounds[0]}
        for name, rounds in found.items()
    }
    ratios = sorted(a["whole"] / b["whole"] for a, b in zip(found.get("before", []), found["now"], strict=False))
    if options.json:
        print(json.dumps({"milliseconds": rows, "ratios": ratios}))
        return
    print("| milliseconds a step | " + " | ".join(rows["now"]) + " |")
    print("| --- |" + " --- |" * len(rows["now"]))
    for name, parts in rows.items():
        print(f"| {name} | " + " | ".join(f"{value:.1f}" for value in parts.values()) + " |")
    if ratios:
        print(f"\nbefore / now: {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")


def in_a_process(source: Path, steps: int) -> dict[str, float]:
    environment = {**os.environ, "PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--only", "--steps", str(steps)]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def measure(steps: int) -> dict[str, float]:
    """Returns milliseconds of a step: its parts, and the whole."""
    import torch

    from perceptio.runs import train as runs_train
    from perceptio.training import step as step_module

    torch.set_num_threads(1)
    runs_train.keep_freed_memory()  # as a run does
    folder = Path(tempfile.mkdtemp(prefix="training-step-"))
    train_step = make_step(folder)
    parts: dict[str, list[float]] = {}

    def timed(name: str, work: Callable) -> Callable:
        def run(*arguments: object, **named: object) -> object:
            began = time.process_time()
            found = work(*arguments, **named)
            parts.setdefault(name, []).append(1e3 * (time.process_time() - began))
            return found

        return run

    feed, accelerator = train_step.feed, train_step.accelerator
    feed.next_batch = timed("data", feed.next_batch)
    accelerator.backward = timed("backward", accelerator.backward)
    accelerator.clip_grad_norm_ = timed("clipping", accelerator.clip_grad_norm_)
    train_step.stepper.step = timed("update", train_step.stepper.step)
    step_module.mix = timed("mixing", step_module.mix)
    train_step.runner.forward = timed("forward", train_step.runner.forward)
    run = timed("whole", train_step.run)
    for step in range(steps + 3):
        run(step)
    return {name: statistics.median(times[3:]) for name, times in parts.items()}


def make_step(folder: Path):
    """Returns the recipe's training step on random pictures."""
    from dataclasses import replace

    from perceptio.recipes.registry import find_recipe
    from perceptio.runs.data import prepare_data, survey_data
    from perceptio.runs.folder import RunFolder
    from perceptio.runs.machine import connect, make_accelerator
    from perceptio.runs.workbench import TrainOptions, build_workbench
    from perceptio.training.feed import Feed
    from perceptio.training.job import Job
    from perceptio.training.metric_log import MetricLog
    from perceptio.training.optimizers import build_optimizer
    from perceptio.training.step import TrainStep

    write_idx(folder)
    config = replace(find_recipe("fashion-mnist"), data=str(folder))
    prepared = prepare_data(survey_data(config.data, config.source, streams=config.streams), config)
    processes = connect("cpu", timeout_minutes=1.0)
    accelerator = make_accelerator("cpu", "fp32", exact=False)
    bench = build_workbench(config, prepared, accelerator, processes, RunFolder(folder), TrainOptions(workers=0))
    job = Job(
        model=bench.model, task=bench.task, samples=bench.training_samples(), targets=bench.targets("train"),
        prepare=config.streams.prepare, evaluate=lambda model: {}, keep_best=lambda model, state: None,
        config=config.training, epochs=config.epochs, batch_size=config.batch_size,
        learning_rate=config.learning_rate, seed=0, num_workers=0, checkpoints=folder / "checkpoints",
        log=MetricLog(folder / "metrics.jsonl"), facts={}, lost=bench.lost_files(),
    )  # fmt: skip
    optimizer = build_optimizer(config.training.optimizer, job.model, job.learning_rate)
    model, stepper = accelerator.prepare(job.model, optimizer)
    model.train()

    def report(event: object) -> None:
        """Nothing is told."""

    feed = Feed(job, accelerator, report, first_step=0, num_micro_batches=1)
    return TrainStep(
        job=job, accelerator=accelerator, processes=processes, runner=model, optimizer=optimizer, stepper=stepper,
        feed=feed, report=report,
    )  # fmt: skip


def write_idx(folder: Path) -> None:
    random = np.random.default_rng(0)
    for part, count in (("train", NUM_SAMPLES), ("t10k", 100)):
        pictures = random.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        header = struct.pack(">4I", 0x803, count, 28, 28)
        (folder / f"{part}-images-idx3-ubyte").write_bytes(header + pictures.tobytes())
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 0x801, count) + labels.tobytes())


if __name__ == "__main__":
    main()
