"""What a run says and writes before its first step."""

from datetime import datetime
from typing import Any

from perceptio.data.dataset import TrainingSamples
from perceptio.models.counts import count_flops, count_parameters
from perceptio.reporting.samples import draw_sample_grid
from perceptio.runs.config import RunConfig
from perceptio.runs.machine import describe_machine, git_revision, package_versions
from perceptio.runs.screen import Screen
from perceptio.runs.workbench import TrainOptions, Workbench

SHOWN_SAMPLES = 24


def opening_facts(bench: Workbench, options: TrainOptions) -> dict[str, Any]:
    """Returns what run.json says from the start: how the run was made, on what, from which data."""
    return {
        "command": options.command,
        "created": datetime.now().astimezone().isoformat(timespec="seconds"),
        "seed": bench.config.seed,
        "versions": package_versions(),
        "revision": git_revision(),
        "machine": describe_machine(bench.accelerator.device),
        "data": {
            "source": bench.prepared.survey.data,
            "fingerprint": bench.prepared.survey.fingerprint,
            "counts": bench.prepared.counts(),
            "notes": bench.prepared.survey.source.notes,
            "copies": bench.prepared.survey.copies,
            "leaks": bench.prepared.leaks,
        },
        "num_parameters": count_parameters(bench.model),
        "flops_per_sample": model_flops(bench.config, len(bench.prepared.classes)),
    }


def model_flops(config: RunConfig, num_classes: int) -> int:
    """Returns floating-point operations of one forward pass, as the paper counts them."""
    grid = config.input_config()
    return count_flops(
        config.model, num_tokens=grid.num_tokens, input_channels=grid.input_channels, num_outputs=num_classes
    ).total


def show_opening(bench: Workbench, screen: Screen) -> None:
    """Shows data, split, input, model, plan and folder, a line each."""
    config, prepared, grid = bench.config, bench.prepared, bench.config.input_config()
    sizes = {split: len(prepared.records(split)) for split in ("train", "validation", "test")}
    skipped = prepared.survey.skipped
    usable = len(prepared.survey.usable)
    screen.fact("Data", f"{prepared.survey.data}: {len(prepared.classes)} classes, {usable:,} samples")
    for note in prepared.survey.notes:
        screen.fact("", note)
    if skipped:
        more = f"; {len(skipped) - 1} more in {bench.folder.skipped}" if len(skipped) > 1 else ""
        screen.fact("", f"{len(skipped)} skipped: {skipped[0].name}: {skipped[0].reason}{more}")
    if prepared.leaks:
        example = prepared.leaks[0][0]
        screen.fact("", f"{len(prepared.leaks)} groups of equal files stand in more than one split, such as {example}")
    parts = ", ".join(f"{size:,} {split}" for split, size in sizes.items())
    screen.fact("Split", f"{parts} ({bench.folder.split})")
    size = config.streams.describe()
    screen.fact("Input", f"{size} = {grid.num_tokens:,} inputs of {grid.input_channels} channels a sample")
    flops = model_flops(config, len(prepared.classes)) / 1e9
    screen.fact("Model", f"{config.recipe}: {count_parameters(bench.model):,} parameters, {flops:.3g} GFLOP a sample")
    screen.fact(
        "Plan", f"{config.epochs:g} epochs, batch {bench.batch_size}, {describe_machine(bench.accelerator.device)}"
    )
    path = bench.folder.path
    screen.fact("Run", f"{path}   Ctrl-C saves and stops; perceptio train --resume {path} goes on")


def draw_training_samples(bench: Workbench, samples: TrainingSamples) -> None:
    """Draws what the model sees in the first epoch, as it sees it."""
    shown = [samples[(0, index)] for index in range(0, len(samples), max(1, len(samples) // SHOWN_SAMPLES))]
    shown = [sample for sample in shown if sample.views][:SHOWN_SAMPLES]
    captions = [", ".join(samples.records[sample.index].labels) for sample in shown]
    pictures = [bench.config.streams.picture(sample.views[0]) for sample in shown]
    draw_sample_grid(pictures, captions, bench.folder.plots / "train_samples.png")
