"""The paper's ImageNet model on this machine: builds, predicts an image, trains a step; seconds and peak memory.

Each measurement runs in a process of its own, so that its peak memory is its own.

Usage: python benchmarks/imagenet_model.py [--batch-size 1] [--runs 3] [--json]
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

KINDS = ("build", "predict", "train", "train, activations recomputed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", choices=KINDS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only is not None:
        print(json.dumps(measure(options.only, options.batch_size, options.runs)))
        return
    rows = []
    for kind in KINDS:
        command = [sys.executable, __file__, "--only", kind, "--batch-size", str(options.batch_size)]
        found = subprocess.run([*command, "--runs", str(options.runs)], check=True, capture_output=True, text=True)
        rows.append(json.loads(found.stdout))
    if options.json:
        print(json.dumps(rows))
        return
    print("| what | seconds (median) | fastest to slowest | peak memory of the process |")
    print("| --- | --- | --- | --- |")
    for row in rows:
        times = row["seconds"]
        print(
            f"| {row['kind']} | {statistics.median(times):.2f} | {min(times):.2f} to {max(times):.2f} "
            f"| {row['peak_bytes'] / 2**30:.2f} GiB |"
        )
    print(f"\n{rows[0]['parameters']:,} parameters, batch {options.batch_size}, {rows[0]['threads']} threads, fp32")


def measure(kind: str, batch_size: int, runs: int) -> dict:
    import torch

    from perceptio.models.counts import count_parameters
    from perceptio.models.perceiver import build_perceiver
    from perceptio.recipes.registry import find_recipe
    from perceptio.training.optimizers import build_optimizer

    config = find_recipe("imagenet")
    torch.manual_seed(0)
    began = time.monotonic()
    model = build_perceiver(config.input_config(), config.model, 1000)
    seconds = [time.monotonic() - began]
    inputs, targets = {"image": torch.randn(batch_size, 224, 224, 3)}, torch.randint(1000, (batch_size,))
    model.checkpoint_activations = kind.endswith("recomputed")
    optimizer = build_optimizer(config.training.optimizer, model, config.learning_rate)
    if kind != "build":
        seconds = []
    for _ in range(runs if kind != "build" else 0):
        began = time.monotonic()
        if kind == "predict":
            model.eval()
            with torch.inference_mode():
                model(inputs).argmax(dim=1)
        else:
            torch.nn.functional.cross_entropy(model(inputs), targets).backward()
            optimizer.step()
            optimizer.zero_grad()
        seconds.append(time.monotonic() - began)
    return {
        "kind": kind,
        "seconds": seconds,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "parameters": count_parameters(model),
        "threads": torch.get_num_threads(),
    }


if __name__ == "__main__":
    main()
