"""Fashion-MNIST, official split: the `fashion-mnist` recipe against a linear model and a small CNN, several seeds.

All three choose their epoch on the same 5,000 held-out training pictures and see the test pictures once. A seed whose
run folder is finished is not run again, so the script may be stopped and restarted, and seeds may run side by side.

Usage: python benchmarks/fashion_mnist.py --data /usr/share/datasets/fashion-mnist [--seeds 0 1 2] [--json]
"""

import argparse
import json
import shutil
import statistics
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from perceptio.data.limits import Limits
from perceptio.data.records import MAIN
from perceptio.data.sources import open_source
from perceptio.data.split_file import read_split
from perceptio.recipes.registry import find_recipe
from perceptio.runs.folder import RunFolder
from perceptio.runs.machine import choose_device, describe_machine, package_versions
from perceptio.runs.resume import resume_run
from perceptio.runs.train import train_run
from perceptio.runs.workbench import TrainOptions

BASELINE_EPOCHS = {"linear": 10, "cnn": 5}
MEAN, STD = 0.286, 0.353


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--models", nargs="+", default=["perceiver", "linear", "cnn"])
    parser.add_argument("--out", type=Path, default=Path("runs/fashion-mnist"))
    parser.add_argument("--workers", type=int, help="loader processes of the Perceiver's run (default: as many as fit)")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_interop_threads(1)
    rows = []
    for model in options.models:
        results = [run_one(model, seed, options) for seed in options.seeds]
        accuracies = [result["accuracy"] for result in results]
        rows.append(
            {
                "model": model,
                "parameters": results[0]["parameters"],
                "accuracies": accuracies,
                "mean": statistics.mean(accuracies),
                "spread": max(accuracies) - min(accuracies),
                "seconds": [result["seconds"] for result in results],
            }
        )
    versions, machine = package_versions(), describe_machine(choose_device("auto"))
    if options.json:
        print(json.dumps({"rows": rows, "versions": versions, "machine": machine, "threads": torch.get_num_threads()}))
        return
    print(f"| model | parameters | test accuracy, seeds {options.seeds} | mean | spread | seconds a seed |")
    print("| --- | --- | --- | --- | --- | --- |")
    for row in rows:
        each = ", ".join(f"{accuracy:.2%}" for accuracy in row["accuracies"])
        seconds = statistics.mean(row["seconds"])
        cells = [row["model"], f"{row['parameters']:,}", each, f"{row['mean']:.2%}", f"{row['spread']:.2%}"]
        print(f"| {' | '.join([*cells, f'{seconds:,.0f}'])} |")
    print(f"\n{machine}; {torch.get_num_threads()} threads a process; {versions}")


def run_one(model: str, seed: int, options: argparse.Namespace) -> dict[str, float]:
    """Returns accuracy, parameters and seconds of one seed, from its folder if it is there."""
    run = options.out / f"perceiver-{seed}"
    if model == "perceiver":
        return run_perceiver(seed, run, options)
    path = options.out / f"{model}-{seed}.json"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(run_baseline(model, options.data, seed, run)))
    return json.loads(path.read_text())


def run_perceiver(seed: int, path: Path, options: argparse.Namespace) -> dict[str, float]:
    folder = RunFolder(path)
    if "test" not in folder.read_facts():
        if any(folder.checkpoints.glob("step-*")):
            resume_run(path)
        else:
            if folder.plots.exists():
                shutil.rmtree(path)  # stopped before its first checkpoint: nothing is lost
            config = replace(find_recipe("fashion-mnist"), data=options.data, seed=seed)
            command = f"python benchmarks/fashion_mnist.py --seeds {seed}"
            train_run(config, TrainOptions(out=path, workers=options.workers, command=command))
    facts = folder.read_facts()
    return {
        "accuracy": facts["test"]["accuracy"],
        "parameters": facts["num_parameters"],
        "seconds": facts["seconds"],
    }


def run_baseline(model: str, data: str, seed: int, split_of: Path) -> dict[str, float]:
    """Trains with the split of the Perceiver's run of the same seed."""
    torch.manual_seed(seed)
    parts = load_parts(data, read_split(split_of / "split.csv"))
    network = build_baseline(model)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.01)
    train_x, train_y = parts["train"]
    steps = BASELINE_EPOCHS[model] * (len(train_x) // 64)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=steps + 1)
    best, chosen = 0.0, {}
    began = time.monotonic()
    for _ in range(BASELINE_EPOCHS[model]):
        network.train()
        for x, y in batches(train_x, train_y, 64, shuffle=True):
            optimizer.zero_grad()
            functional.cross_entropy(network(x), y).backward()
            optimizer.step()
            schedule.step()
        accuracy = evaluate(network, *parts["validation"])
        if accuracy > best:
            best, chosen = accuracy, {name: value.clone() for name, value in network.state_dict().items()}
    seconds = time.monotonic() - began
    network.load_state_dict(chosen)
    return {
        "accuracy": evaluate(network, *parts["test"]),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "seconds": seconds,
    }


def build_baseline(model: str) -> nn.Module:
    if model == "linear":
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64 * 49, 128), nn.ReLU(), nn.Dropout(0.3), nn.Linear(128, 10),
    )  # fmt: skip


def load_parts(data: str, splits: dict[str, str]) -> dict[str, tuple[Tensor, Tensor]]:
    source = open_source(data, "idx", Limits())
    parts = {}
    for split in ("train", "validation", "test"):
        records = [record for record in source.records if splits[record.name] == split]
        images = np.stack([np.asarray(source.load(record)[MAIN]).reshape(28, 28) for record in records])
        labels = torch.tensor([source.classes.index(record.labels[0]) for record in records])
        parts[split] = ((torch.from_numpy(images)[:, None].float() / 255 - MEAN) / STD, labels)
    return parts


def batches(x: Tensor, y: Tensor, size: int, *, shuffle: bool) -> Iterator[tuple[Tensor, Tensor]]:
    order = torch.randperm(len(x)) if shuffle else torch.arange(len(x))
    for start in range(0, len(x) - size + 1 if shuffle else len(x), size):
        chosen = order[start : start + size]
        yield x[chosen], y[chosen]


@torch.inference_mode()
def evaluate(network: nn.Module, x: Tensor, y: Tensor) -> float:
    network.eval()
    right = sum((network(a).argmax(1) == b).sum().item() for a, b in batches(x, y, 500, shuffle=False))
    return right / len(x)


if __name__ == "__main__":
    main()
