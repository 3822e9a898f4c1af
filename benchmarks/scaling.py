"""What recomputed activations, micro-batches, bf16 and torch.compile do to result, time and memory; and what the
paper's ImageNet recipe takes on 1, 8 and 64 GPUs, on paper.

Each measurement runs in a process of its own. Times are the processor's (one thread); peaks are the process's, beyond
what it held before the model. `gpus` measures nothing: it multiplies counts by the assumptions that it prints.

Usage: python benchmarks/scaling.py [--what effects large need gpus] [--json]
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

from measure import print_surroundings, print_table

WAYS = ("as it is", "activations recomputed", "4 micro-batches", "bf16", "torch.compile")
LARGE_WAYS = ("as it is", "activations recomputed")  # bf16 takes many minutes a step on a CPU without it
NEEDS = (("fashion-mnist", 64), ("fashion-mnist", 256), ("64 x 64 pixels", 8), ("64 x 64 pixels", 32), ("imagenet", 1))
BATCH = {"fashion-mnist": 64, "64 x 64 pixels": 32, "imagenet": 1}
MIB, GIB = 2**20, 2**30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--what", nargs="+", default=["effects", "gpus"], choices=("effects", "large", "need", "gpus"))
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", nargs=3, metavar=("MODEL", "WAY", "BATCH"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        model, way, batch = options.only
        print(json.dumps(measure(model, way, int(batch), options.steps)))
        return
    found = {what: TABLES[what](options.steps) for what in options.what}
    if options.json:
        print(json.dumps(found))
        return
    for what, (columns, rows) in found.items():
        print(f"\n### {what}")
        print_table(columns, rows)
    print_surroundings()


def effects(steps: int) -> tuple[list[str], list[list[str]]]:
    return compare("64 x 64 pixels", WAYS, steps)


def large(steps: int) -> tuple[list[str], list[list[str]]]:
    return compare("imagenet", LARGE_WAYS, 1)


def compare(model: str, ways: tuple[str, ...], steps: int) -> tuple[list[str], list[list[str]]]:
    found = {way: in_a_process(model, way, BATCH[model], steps) for way in ways}
    base = found[ways[0]]
    rows = []
    for way, row in found.items():
        apart = max(abs(a - b) / abs(b) for a, b in zip(row["norms"], base["norms"], strict=True))
        rows.append(
            [
                way,
                f"{row['seconds']:.2f}",
                f"{base['seconds'] / row['seconds']:.2f}",
                f"{row['peak'] / MIB:,.0f} MiB",
                f"{apart:.0e}" if apart else "0",
            ]
        )
    return [f"{model}, batch {BATCH[model]}", "seconds a step", "times faster", "peak", "gradient norm off by"], rows


def need(steps: int) -> tuple[list[str], list[list[str]]]:
    from perceptio.runs.memory import process_bytes

    rows = []
    for model, batch in NEEDS:
        row = in_a_process(model, WAYS[0], batch, 2 if model == "imagenet" else steps)
        rows.append(
            [
                f"{model}, {batch}",
                f"{row['counted'] / MIB:,.0f} MiB",
                f"{row['peak'] / MIB:,.0f} MiB",
                f"{row['peak'] / row['counted']:.2f}",
                f"{process_bytes(row['counted']) / MIB:,.0f} MiB",
            ]
        )
    return ["model, samples at once", "tensors, counted", "process, measured", "ratio", "planned with"], rows


def in_a_process(model: str, way: str, batch: int, steps: int) -> dict:
    command = [sys.executable, __file__, "--only", model, way, str(batch), "--steps", str(steps)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def make_config(model: str):
    """Returns a run's config: a recipe, or a small relative of the ImageNet model."""
    from perceptio.inputs.grid import GridEncoding
    from perceptio.modalities.streams import single_stream
    from perceptio.recipes.registry import find_recipe

    if model != "64 x 64 pixels":
        return replace(find_recipe(model), batch_size=BATCH[model])
    recipe = find_recipe("imagenet")
    pictures = replace(recipe.streams.by_name["image"], size=(64, 64), encoding=GridEncoding(num_bands=16))
    small = replace(
        recipe.model,
        num_latents=64,
        latent_channels=256,
        num_cross_attends=4,
        num_blocks=4,
        num_self_attends_per_block=3,
    )
    return replace(recipe, batch_size=BATCH[model], streams=single_stream(pictures), model=small)


def measure(name: str, way: str, batch: int, steps: int) -> dict:
    """Returns seconds of a step, the gradient's norm in each, the process's peak, and the tensors' counted one."""
    import torch

    from perceptio.models.perceiver import build_perceiver
    from perceptio.runs.machine import keep_freed_memory
    from perceptio.tasks.classification import SingleLabel
    from perceptio.training.memory_need import Rehearsal
    from perceptio.training.optimizers import build_optimizer

    torch.set_num_threads(1)
    keep_freed_memory()
    config = make_config(name)
    num_classes = 10 if name == "fashion-mnist" else 1000
    torch.manual_seed(0)
    model = build_perceiver(config.input_config(), config.model, num_classes).train()
    torch.nn.init.normal_(model.head.logits.weight, std=0.02)  # it starts at zero and would pass no gradient on
    model.checkpoint_activations = way == "activations recomputed"
    runner = torch.compile(model) if way == "torch.compile" else model
    optimizer = build_optimizer(config.training.optimizer, model, 1e-4)
    (stream,) = config.input_config().streams.values()
    parts = 4 if way == "4 micro-batches" else 1
    inputs = torch.randn(batch, *stream.raw_shape[0], stream.raw_shape[1])
    targets = torch.nn.functional.one_hot(torch.arange(batch) % num_classes, num_classes).float()
    before, seconds, norms = resident(), [], []
    for _ in range(steps + (way == "torch.compile")):
        began = time.process_time()
        for x, y in zip(inputs.chunk(parts), targets.chunk(parts), strict=True):
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=way == "bf16"):
                logits = runner({"image": x})
            (SingleLabel().loss(logits.float(), y) / parts).backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(model.parameters(), math.inf)))
        optimizer.step()
        optimizer.zero_grad()
        seconds.append(time.process_time() - began)
    peak = highest() - before + 4 * sum(parameter.numel() for parameter in model.parameters())
    shapes = {"image": (*stream.raw_shape[0], stream.raw_shape[1])}
    counted = Rehearsal(
        model=model, task=SingleLabel(), shapes=shapes, num_classes=num_classes, autocast=False,
        checkpoint_activations=model.checkpoint_activations,
    ).need(batch)  # fmt: skip
    # The first step warms up, or compiles.
    rest = seconds[1:] or seconds
    return {"seconds": statistics.median(rest), "norms": norms[:1], "peak": peak, "counted": counted.total}


def resident() -> int:
    return _status("VmRSS")


def highest() -> int:
    return _status("VmHWM")


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name))


@dataclass(frozen=True, kw_only=True)
class Assumed:
    """What nobody measured here: an H100 (SXM) as its maker describes it, and what programs usually reach on it."""

    peak_flops: float = 989e12
    """Dense bf16 products."""
    utilisation: float = 0.35
    """Share of the peak that a step reaches."""
    link_bytes: float = 300e9
    """All-reduce inside a machine of 8, a second."""
    network_bytes: float = 40e9
    """The same between machines."""
    memory_bytes: float = 80e9
    images_a_core: float = 150.0
    """Pictures that a core reads, crops and augments in a second."""


def gpus(steps: int) -> tuple[list[str], list[list[str]]]:
    """The recipe's cost from its counts: FLOPs by formula, bytes of a step counted without numbers."""
    from perceptio.models.counts import count_flops, count_parameters
    from perceptio.models.perceiver import build_perceiver
    from perceptio.recipes.registry import find_recipe
    from perceptio.tasks.classification import SingleLabel
    from perceptio.training.memory_need import Rehearsal

    config, assumed = find_recipe("imagenet"), Assumed()
    grid = config.input_config()
    flops = count_flops(config.model, num_tokens=grid.num_tokens, input_channels=grid.input_channels, num_outputs=1000)
    model = build_perceiver(grid, config.model, 1000)
    rehearsal = Rehearsal(
        model=model, task=SingleLabel(), shapes={"image": (224, 224, 3)}, num_classes=1000, autocast=True,
        checkpoint_activations=False,
    )  # fmt: skip
    two, three = rehearsal.need(2).step, rehearsal.need(3).step
    an_image, fixed = three - two, 16 * count_parameters(model)
    step_flops = 3 * (flops.total - flops.shared)
    images = config.epochs * 1_271_167
    rows = []
    for count in (1, 8, 64):
        share = config.batch_size // count
        at_once = share
        while fixed + at_once * an_image > 0.9 * assumed.memory_bytes:
            at_once //= 2
        computing = share * step_flops / (assumed.peak_flops * assumed.utilisation)
        slowest = assumed.link_bytes if count <= 8 else assumed.network_bytes
        summing = 0.0 if count == 1 else 2 * (count - 1) / count * 4 * count_parameters(model) / slowest
        rate = config.batch_size / (computing + summing)
        rows.append(
            [
                str(count),
                f"{share} ({at_once} at once)",
                f"{1e3 * computing:,.0f} + {1e3 * summing:.1f} ms",
                f"{rate:,.0f}",
                f"{images / rate / 3600:,.1f}",
                f"{count * images / rate / 3600:,.0f}",
                f"{(fixed + at_once * an_image) / 1e9:.0f} GB",
                f"{rate / count / assumed.images_a_core:.1f}",
            ]
        )
    print(
        f"\n{step_flops / 1e12:.2f} TFLOP an image and step (3 x {(flops.total - flops.shared) / 1e9:.0f} GFLOP, keys "
        f"and values once), {an_image / MIB:,.0f} MiB of activations an image, {fixed / MIB:,.0f} MiB of weights, "
        f"gradients and moments, {images / 1e6:.1f} million images; assumed: {assumed}"
    )
    columns = [
        "GPUs",
        "images a GPU",
        "computing + summing",
        "images/s",
        "hours",
        "GPU hours",
        "memory a GPU",
        "cores a GPU",
    ]
    return columns, rows


TABLES = {"effects": effects, "large": large, "need": need, "gpus": gpus}


if __name__ == "__main__":
    main()
