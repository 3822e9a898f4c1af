"""What a run says and writes before its first step."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from operator import attrgetter
from pathlib import PurePosixPath
from typing import Any

from perceptio.data.dataset import TrainingSamples
from perceptio.data.names import printable
from perceptio.models.counts import count_flops, count_parameters
from perceptio.reporting.numbers import scaled, things
from perceptio.reporting.samples import draw_sample_grid
from perceptio.runs.budget import rough_time
from perceptio.runs.check import Check, make_safe
from perceptio.runs.config import RunConfig
from perceptio.runs.data import SPLITS, PreparedData, Survey
from perceptio.runs.exactness import surroundings
from perceptio.runs.machine import describe_machine, git_revision, package_versions
from perceptio.runs.screen import Screen
from perceptio.runs.workbench import TrainOptions, Workbench
from perceptio.version import __version__

SHOWN_SAMPLES = 24
SHOWN_CLASSES = 8
SHOWN_GROUPS = 3


@dataclass(frozen=True)
class Reason:
    """Why some fields of a config are what they are: a label, a sentence, and the fields' dotted names."""

    label: str
    text: str
    fields: tuple[str, ...]


def reasons_that_hold(reasons: Sequence[Reason], before: RunConfig, after: RunConfig) -> tuple[Reason, ...]:
    """Returns those reasons for a config whose fields another one has left as they were."""
    return tuple(
        reason
        for reason in reasons
        if all(attrgetter(name)(before) == attrgetter(name)(after) for name in reason.fields)
    )


def opening_facts(bench: Workbench, options: TrainOptions, reasons: Sequence[Reason]) -> dict[str, Any]:
    """Returns what run.json says from the start: how the run was made, on what, from which data."""
    return {
        "command": options.command,
        "created": datetime.now().astimezone().isoformat(timespec="seconds"),
        "seed": bench.config.seed,
        "versions": package_versions(),
        "revision": git_revision(),
        "machine": describe_machine(bench.accelerator.device),
        "surroundings": surroundings(bench, options),
        "data": data_facts(bench.prepared),
        "choices": [asdict(reason) for reason in reasons],
        "workers": bench.workers,
        "time_budget_seconds": options.time,
        "num_parameters": count_parameters(bench.model),
        "flops_per_sample": model_flops(bench.config, len(bench.prepared.classes)),
    }


def data_facts(prepared: PreparedData) -> dict[str, Any]:
    """Returns what run.json says of the samples."""
    return {
        "source": prepared.survey.data,
        "fingerprint": prepared.survey.fingerprint,
        "counts": prepared.counts(),
        "notes": prepared.survey.source.notes,
        "copies": prepared.survey.copies,
        "mislabelled": prepared.survey.mislabelled,
        "leaks": prepared.leaks,
        "parted": prepared.parted,
    }


def model_flops(config: RunConfig, num_classes: int) -> int:
    """Returns floating-point operations of one forward pass, as the paper counts them."""
    grid = config.input_config()
    return count_flops(
        config.model, num_tokens=grid.num_tokens, input_channels=grid.input_channels, num_outputs=num_classes
    ).total


def show_title(bench: Workbench, screen: Screen) -> None:
    """Shows what runs, and on what."""
    torch = package_versions()["torch"].partition("+")[0]
    count = bench.processes.count
    several = f", {count} processes" if count > 1 else ""
    screen.fact("perceptio", f"{__version__}, torch {torch}, {describe_machine(bench.accelerator.device)}{several}")


def show_data(survey: Survey, screen: Screen, *, listed_in: str) -> None:
    """Shows what a source holds: classes, files, what is skipped and why.

    Args:
        listed_in: where all skipped files are listed.
    """
    screen.fact("Data", f"{survey.data}: {_classes(survey)}")
    screen.fact("", _files(survey))
    if wrong := survey.mislabelled:
        shown = "; ".join(" = ".join(_labelled_few(group)) for group in wrong[:SHOWN_GROUPS])
        more = f"; and {things(len(wrong) - SHOWN_GROUPS, 'more group')}" if len(wrong) > SHOWN_GROUPS else ""
        screen.fact("", f"warning: equal files bear different labels, some of them wrong: {shown}{more}")
    lacking = {name: sum(name not in facts for facts in survey.facts.values()) for name in survey.streams.by_name}
    if any(lacking.values()):
        parts = [f"{number:,} without {name}" for name, number in lacking.items() if number]
        screen.fact("", f"samples that lack a part: {', '.join(parts)}; the model sees it as masked")
    for note in survey.notes:
        screen.fact("", note)
    if survey.skipped:
        first = survey.skipped[0]
        more = f"; {len(survey.skipped) - 1:,} more in {listed_in}" if len(survey.skipped) > 1 else ""
        screen.fact("", f"skipped: {first.name}: {first.reason}{more}")


def labelled(name: str, labels: Sequence[str]) -> str:
    """Returns a sample's name with its labels, for people."""
    return f"{printable(name)} ({', '.join(map(printable, labels)) or 'no label'})"


def _labelled_few(group: Mapping[str, Sequence[str]]) -> list[str]:
    return [labelled(name, labels) for name, labels in list(group.items())[:SHOWN_GROUPS]]


def _classes(survey: Survey) -> str:
    """Returns the classes with their usable samples, also those that have none."""
    used = Counter(label for record in survey.usable for label in record.labels)
    counts = {name: used[name] for name in survey.source.classes}
    origin = ""
    if survey.source.root is not None and survey.source.records:
        records = survey.usable or survey.source.records
        named = all(set(record.labels) <= set(PurePosixPath(record.name).parts[:-1]) for record in records)
        origin = " from folder names" if named else " from the table"
    if len(counts) <= SHOWN_CLASSES:
        return f"{len(counts)} classes{origin}: " + ", ".join(
            f"{printable(name)} {counts[name]:,}" for name in sorted(counts)
        )
    (most, highest), *_, (least, lowest) = Counter(counts).most_common()
    return (
        f"{len(counts):,} classes{origin}, from {lowest:,} samples ({printable(least)}) to {highest:,} "
        f"({printable(most)})"
    )


def _files(survey: Survey) -> str:
    lost = sum(entry.num_samples for entry in survey.skipped)
    total = len(survey.usable) + lost
    if not survey.source.holds_files:
        return f"{things(total, 'sample')}"
    took = f" in {survey.seconds:.0f} s" if survey.seconds >= 1 else ""
    read = "decoded" if survey.whole else "read by their headers"
    parts = [f"{len(survey.usable):,} used"]
    copies = sum(len(names) - 1 for names in survey.copies)
    if copies:
        parts.append(
            f"{copies:,} of them {'an exact copy' if copies == 1 else 'exact copies'}, kept on one side of the split"
        )
    if lost:
        parts.append(f"{lost:,} skipped")
    return f"{things(total, 'sample')} {read}{took}: {', '.join(parts)}"


def show_split(prepared: PreparedData, config: RunConfig, screen: Screen, *, listed_in: str) -> None:
    """Shows how many samples train, choose the epoch and test, and how that was decided."""
    sizes = ", ".join(f"{len(prepared.records(split)):,} {split}" for split in SPLITS)
    how = "; ".join(part for part in (how_split(prepared, config), listed_in) if part)
    screen.fact("Split", f"{sizes} ({how})")
    if prepared.leaks:
        example = printable(prepared.leaks[0][0])
        screen.fact(
            "", f"warning: {len(prepared.leaks)} groups of equal files stand in more than one split, such as {example}"
        )
    if prepared.parted:
        example = printable(prepared.parted[0][0])
        screen.fact(
            "",
            f"warning: {things(len(prepared.parted), 'group')} of samples that belong together (by the column group, "
            f"or by a shared file) stand in more than one split, as the data has it, such as that of {example}",
        )


def how_split(prepared: PreparedData, config: RunConfig) -> str:
    """Says which splits were given and how the others were drawn."""
    given = {record.split for record in prepared.survey.usable if record.split is not None}
    together = "" if config.split.by == "file" else f", each {config.split.by} on one side"
    drawn = f"drawn by class with seed {config.seed}{together}"
    if not given:
        return drawn
    names = " and ".join(split for split in SPLITS if split in given)
    missing = " and ".join(split for split in SPLITS if split not in given)
    if not missing:
        return "as given"
    return f"{names} as given, {missing} {drawn}"


def show_input(survey: Survey, config: RunConfig, screen: Screen, reasons: Sequence[Reason]) -> None:
    """Shows what the model sees of a sample, and what the files are."""
    grid = config.input_config()
    found = "; ".join(
        text
        for name, modality in config.streams.by_name.items()
        if (text := modality.summary([facts[name] for facts in survey.facts.values() if name in facts]))
    )
    files = f"; the files: {found}" if found else ""
    screen.fact(
        "Input", f"{config.streams.describe()} = {grid.num_tokens:,} inputs of {grid.input_channels} channels{files}"
    )
    _show_reasons("Input", reasons, screen)


def show_model(
    config: RunConfig, num_classes: int, num_parameters: int, screen: Screen, reasons: Sequence[Reason]
) -> None:
    """Shows recipe, size and cost of the model."""
    flops = scaled(model_flops(config, num_classes), "FLOP")
    screen.fact(
        "Recipe", f"{config.recipe}: {scaled(num_parameters)} parameters, {flops} a sample; others: perceptio recipes"
    )
    _show_reasons("Model", reasons, screen)


def show_plan(bench: Workbench, seconds: float | None, screen: Screen, reasons: Sequence[Reason]) -> None:
    """Shows epochs, batches, time and what ends the run early."""
    config, epochs = bench.config, f"{bench.config.epochs:g} epoch{'' if bench.config.epochs == 1 else 's'}"
    parts = [f"{epochs}, batch {bench.batch_size}"]
    if bench.batch_size < config.batch_size:
        parts[0] += f" (there are no {config.batch_size} training samples)"
    if seconds is not None:
        parts[0] += f", {rough_time(seconds)}"
    patience = config.training.patience_epochs
    if patience is not None and patience < config.epochs:
        metric = "mean average precision" if bench.task.main_metric == "map" else bench.task.main_metric
        parts.append(f"stops after {patience:.3g} epochs without a better validation {metric}")
    screen.fact("Plan", "; ".join(parts))
    _show_reasons("Schedule", reasons, screen)
    _show_reasons("Training", reasons, screen)


def show_check(bench: Workbench, check: Check, screen: Screen, *, picture: str) -> None:
    """Shows what a trial of one batch gave."""
    memory = f"{check.peak_memory_bytes / 1e9:.1f} GB"
    seen = f"; what the model sees: {picture}" if picture else ""
    screen.fact(
        "Check",
        f"a batch of {check.batch_size} forward and backward and one of validation: fine, "
        f"{_seconds(check.seconds_a_step(bench.workers))} a step, {memory}{seen}",
    )
    if check.micro_batch_size is not None:
        screen.fact(
            "Memory",
            f"no more than {check.micro_batch_size} samples fit at once "
            f"(--training.num-micro-batches {bench.num_micro_batches}); the result is the same",
        )


def _seconds(seconds: float) -> str:
    return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:,.0f} s"


def _show_reasons(label: str, reasons: Sequence[Reason], screen: Screen) -> None:
    for reason in reasons:
        if reason.label == label:
            screen.fact("", reason.text)


def draw_training_samples(bench: Workbench, samples: TrainingSamples) -> None:
    """Draws what the model sees in the first epoch, as it sees it."""
    keys = [(0, index) for index in range(0, len(samples), max(1, len(samples) // SHOWN_SAMPLES))]
    make_safe(bench.prepared.survey, samples, keys, bench.reader.allowance(whole=False))
    shown = [samples[key] for key in keys]
    shown = [sample for sample in shown if sample.views][:SHOWN_SAMPLES]
    captions = [", ".join(samples.records[sample.index].labels) for sample in shown]
    pictures = [bench.config.streams.picture(sample.views[0]) for sample in shown]
    draw_sample_grid(pictures, captions, bench.folder.plots / "train_samples.png")
