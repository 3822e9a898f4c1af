"""Whether decoding keeps pace with training: one loader process against the model's step, of recipes on real data.

A batch is decoded and augmented in this process, then the model takes a step on it (forward, backward, no optimizer),
in turn; so both see the same machine. "Loaders needed" is how many loader processes make batches as fast as the model
takes them, each as fast as this one. Data: as benchmarks/datasets and `perceptio train` take it.

Usage: python benchmarks/input_rate.py drum-hits=drum-hits/fold-ForzeeStereo.csv stamps=stamps/ [--rounds 10] [--json]
"""

import argparse
import json
import math
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from measure import print_surroundings, print_table, surroundings

from perceptio.data.batches import collate, model_inputs
from perceptio.data.order import TrainingOrder
from perceptio.recipes.registry import find_recipe
from perceptio.runs.data import prepare_data, survey_data
from perceptio.runs.folder import RunFolder
from perceptio.runs.machine import connect, make_accelerator
from perceptio.runs.workbench import TrainOptions, Workbench, build_workbench


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="+", metavar="RECIPE=DATA")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_interop_threads(1)
    rows = [measure(*task.split("=", 1), options.rounds) for task in options.tasks]
    if options.json:
        print(json.dumps({"rows": rows, **surroundings("cpu")}))
        return
    columns = ["recipe", "samples/s of one loader", "samples/s of the model", "loaders needed"]
    print_table(columns, [show(row) for row in rows])
    print_surroundings("cpu")


def measure(recipe: str, data: str, rounds: int) -> dict:
    """Returns both rates: the first round, which loads code and fills caches of the operating system, left out."""
    with tempfile.TemporaryDirectory() as folder:
        bench = make_bench(recipe, data, Path(folder))
        samples = bench.training_samples()
        order = TrainingOrder(
            seed=0,
            num_samples=len(samples),
            batch_size=bench.batch_size,
            num_micro_batches=1,
            first_step=0,
            num_steps=rounds + 1,
        )
        loading, training = [], []
        for keys in order:
            began = time.perf_counter()
            batch = collate([samples[key] for key in keys])
            loaded = time.perf_counter()
            inputs, extents, present = model_inputs(batch, bench.config.streams.prepare)
            targets = bench.targets("train")[batch.indices]
            bench.task.loss(bench.model(inputs, extents, present), targets).backward()
            bench.model.zero_grad(set_to_none=True)
            training.append((time.perf_counter() - loaded) / len(batch))
            loading.append((loaded - began) / len(keys))
    seconds = {"loading": loading[1:], "training": training[1:]}
    return {"recipe": recipe, "seconds_a_sample": seconds}


def make_bench(recipe: str, data: str, folder: Path) -> Workbench:
    config = replace(find_recipe(recipe), data=data)
    processes = connect("cpu", timeout_minutes=TrainOptions().timeout_minutes)
    prepared = prepare_data(survey_data(data, config.source, streams=config.streams, copies=False), config)
    accelerator = make_accelerator("cpu", "fp32", exact=False)
    return build_workbench(config, prepared, accelerator, processes, RunFolder(folder), TrainOptions(workers=0))


def show(row: dict) -> list[str]:
    loading, training = (statistics.median(row["seconds_a_sample"][name]) for name in ("loading", "training"))
    return [row["recipe"], f"{1 / loading:,.0f}", f"{1 / training:,.0f}", str(math.ceil(loading / training))]


if __name__ == "__main__":
    main()
