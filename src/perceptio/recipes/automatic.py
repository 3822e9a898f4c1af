"""`perceptio train --data DIR` and nothing else: input, model and schedule chosen from the files, with reasons."""

import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from perceptio.inputs.streams import StreamsInputConfig
from perceptio.modalities.contract import Candidate, Facts, Modality
from perceptio.modalities.streams import Streams
from perceptio.models.config import PerceiverConfig
from perceptio.models.counts import count_flops
from perceptio.runs.budget import rough_time
from perceptio.runs.config import RunConfig, SourceConfig
from perceptio.runs.data import Survey
from perceptio.runs.mirroring import without_mirroring
from perceptio.runs.opening import Reason, reasons_that_hold
from perceptio.training.config import TrainingConfig
from perceptio.training.optimizers import OptimizerConfig
from perceptio.training.schedule import ScheduleConfig

# What training is planned to take: ten minutes on a CPU, an hour on a GPU, at the rates that were measured in training.
CPU_SECONDS, CPU_FLOPS_PER_CORE_SECOND = 600, 1.25e10
GPU_SECONDS, GPU_FLOPS_PER_SECOND = 3_600, 1.4e14
TRAINING_FACTOR = 3  # forward and backward against forward
MIN_EPOCHS = 5

# (from this many samples, latents, channels, cross-attends, layers of a latent transformer)
MODELS = (
    (500_000, 512, 1024, 8, 6),
    (50_000, 256, 512, 4, 4),
    (10_000, 128, 256, 4, 3),
    (0, 48, 128, 3, 2),
)


@dataclass(frozen=True)
class Choice:
    """A config and why it is what it is."""

    config: RunConfig
    reasons: tuple[Reason, ...]

    def reasons_for(self, config: RunConfig) -> tuple[Reason, ...]:
        """Returns the reasons that hold for a config made from this one: those whose fields were left as chosen."""
        return reasons_that_hold(self.reasons, self.config, config)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A model, an input and a number of epochs that fit the budget of operations, and what gave way for it."""

    model: PerceiverConfig
    size: "Size"
    epochs: float
    flops: float
    size_is_reduced: bool
    model_is_reduced: bool
    epochs_are_reduced: bool


@dataclass(frozen=True, kw_only=True)
class Size:
    """Streams of one size, and why they suit the files."""

    streams: Streams
    why: str


def choose_config(
    survey: Survey,
    *,
    has_gpu: bool,
    source: SourceConfig | None = None,
    seconds: float | None = None,
    epochs: float | None = None,
) -> Choice:
    """Returns a config that suits the number and size of a survey's samples and the device.

    Args:
        seconds: how long training may take; None: as `planned_seconds` says.
        epochs: passes over the data, where somebody else has chosen them; the rest follows.
    """
    source = source or SourceConfig()
    num_samples = len(survey.usable)
    seconds = planned_seconds(has_gpu=has_gpu) if seconds is None else seconds
    plan = choose_plan(survey, flops_per_second(has_gpu=has_gpu) * seconds, epochs)
    batch_size = max(4, min(256 if has_gpu else 32, num_samples // 16))
    config = RunConfig(
        recipe="automatic",
        data=None if source.format == "sample" else survey.data,
        epochs=plan.epochs,
        batch_size=batch_size,
        learning_rate=1e-3,
        source=source,
        streams=plan.size.streams,
        model=plan.model,
        training=TrainingConfig(
            optimizer=OptimizerConfig(kind="adamw", eps=1e-8, weight_decay=0.05, clip_norm=1.0),
            schedule=ScheduleConfig(kind="cosine", warmup_epochs=min(5.0, plan.epochs / 10)),
            patience_epochs=float(max(10, math.ceil(plan.epochs / 3))),
        ),
    )
    config, mirroring = without_mirroring(config, survey.source.classes)
    size, *others = _reasons(survey, plan, config, has_gpu=has_gpu, planned=seconds)
    reasons = (size, *mirroring, *others)
    return Choice(config, tuple(each for each in reasons if epochs is None or each.label not in ("Schedule", "Time")))


def choose_plan(survey: Survey, budget: float, typed_epochs: float | None = None) -> Plan:
    """Returns the largest model, up to the one that suits the number of samples, and the size that the budget carries.

    Where even the smallest model on the smallest samples is too dear, there are fewer epochs, but never below five and
    never other ones than were typed.
    """
    num_samples = len(survey.usable)
    wanted = choose_epochs(num_samples) if typed_epochs is None else typed_epochs
    suitable = [row for row in MODELS if num_samples >= row[0]]
    sizes = sizes_of(survey)
    for row in suitable:
        model = _model(row)
        size = choose_size(sizes, model, num_samples * wanted, budget)
        flops = training_flops(model, size.streams.input_config(), num_samples * wanted)
        if flops <= budget:
            break
    epochs = wanted
    if flops > budget and typed_epochs is None:
        epochs = max(MIN_EPOCHS, int(budget / training_flops(model, size.streams.input_config(), num_samples)))
    return Plan(
        model=model,
        size=size,
        epochs=epochs,
        flops=training_flops(model, size.streams.input_config(), num_samples * epochs),
        size_is_reduced=size is not sizes[-1],
        model_is_reduced=row is not suitable[0],
        epochs_are_reduced=epochs < wanted,
    )


def choose_model(num_samples: int) -> PerceiverConfig:
    """Returns a model whose size suits the number of samples: the paper's own, on its 1.3 million images, has 45M."""
    return _model(next(row for row in MODELS if num_samples >= row[0]))


def _model(row: tuple[int, int, int, int, int]) -> PerceiverConfig:
    _, latents, channels, cross_attends, layers = row
    return PerceiverConfig(
        num_latents=latents,
        latent_channels=channels,
        num_cross_attends=cross_attends,
        num_blocks=cross_attends,
        num_self_attends_per_block=layers,
        num_self_attend_heads=8 if channels >= 256 else 4,
    )


def choose_epochs(num_samples: int) -> int:
    """Returns passes over the data: 40 for 1,000 samples, more for fewer, between 20 and 80."""
    return int(min(80, max(20, round(40 * math.sqrt(1_000 / max(1, num_samples))))))


def sizes_of(survey: Survey) -> tuple[Size, ...]:
    """Returns what each modality offers for the survey's files, side by side, the cheapest first."""
    offers = {name: modality.candidates(_facts_of(survey, name)) for name, modality in survey.streams.by_name.items()}
    sizes = []
    for level in range(max(len(offered) for offered in offers.values())):
        chosen = {name: offered[min(level, len(offered) - 1)] for name, offered in offers.items()}
        streams = {name: _kept(survey.streams.by_name[name], candidate.modality) for name, candidate in chosen.items()}
        why = "; ".join(_under_its_name(candidate, name) for name, candidate in chosen.items())
        sizes.append(Size(streams=replace(survey.streams, by_name=streams), why=why))
    return tuple(sizes)


def _kept(looked_with: Modality, offered: Modality) -> Modality:
    """Returns an offer that reads the files as they were looked at: the same column, in the same layout."""
    fields = ("column", *looked_with.layout_fields)
    return replace(offered, **{name: getattr(looked_with, name) for name in fields})


def _under_its_name(candidate: Candidate, stream: str) -> str:
    """Returns why a candidate suits, with the stream's name in the options, which is a column's in a table."""
    return re.sub(rf"--(no-)?{re.escape(candidate.modality.kind)}\.", rf"--\1{stream}.", candidate.why)


def _facts_of(survey: Survey, stream: str) -> tuple[Facts, ...]:
    return tuple(facts[stream] for facts in survey.facts.values() if stream in facts)


def choose_size(sizes: Sequence[Size], model: PerceiverConfig, seen_samples: float, budget: float) -> Size:
    """Returns the largest size that the budget of operations carries, or the smallest."""
    best = sizes[0]
    for size in sizes:
        if training_flops(model, size.streams.input_config(), seen_samples) <= budget:
            best = size
    return best


def training_flops(model: PerceiverConfig, size: StreamsInputConfig, seen_samples: float) -> float:
    """Returns the operations of training on so many samples, each counted as often as it is seen."""
    flops = count_flops(model, num_tokens=size.num_tokens, input_channels=size.input_channels, num_outputs=1)
    return TRAINING_FACTOR * (flops.total - flops.shared) * seen_samples


def flops_per_second(*, has_gpu: bool) -> float:
    """Returns the operations in a second of training, roughly: all of the machine's cores, or one GPU."""
    return GPU_FLOPS_PER_SECOND if has_gpu else CPU_FLOPS_PER_CORE_SECOND * (os.cpu_count() or 1)


def planned_seconds(*, has_gpu: bool) -> int:
    """Returns the time that training is planned to take at most."""
    return GPU_SECONDS if has_gpu else CPU_SECONDS


def _reasons(survey: Survey, plan: Plan, config: RunConfig, *, has_gpu: bool, planned: float) -> tuple[Reason, ...]:
    num_samples, model = len(survey.usable), plan.model
    device = "a GPU" if has_gpu else "the CPU"
    smaller = f", smaller than so many call for, to finish on {device} in time" if plan.model_is_reduced else ""
    passes = (
        f"fewer than so many samples call for, to finish on {device} in time"
        if plan.epochs_are_reduced
        else "fewer samples need more passes"
    )
    reduced = (
        f"; less than the files have, so that training on {device} takes {rough_time(planned)}"
        if plan.size_is_reduced
        else ""
    )
    return (
        Reason("Input", f"{plan.size.why}{reduced}", ("streams",)),
        Reason(
            "Model",
            f"{model.num_latents} latents of {model.latent_channels} channels, for {num_samples:,} samples{smaller}",
            ("model.num_latents", "model.latent_channels"),
        ),
        Reason(
            "Schedule",
            f"{plan.epochs} epochs of batches of {config.batch_size}: {passes}",
            ("epochs", "batch_size", "training.patience_epochs"),
        ),
        Reason(
            "Training",
            f"AdamW at {config.learning_rate:g}, {config.training.schedule.warmup_epochs:g} epochs of warm-up, then a "
            "cosine to 0: steadier on small sets than the paper's LAMB",
            ("learning_rate", "training.optimizer", "training.schedule"),
        ),
        Reason("Time", _why_time(plan, planned, has_gpu=has_gpu), ("streams", "model", "epochs")),
    )


def _why_time(plan: Plan, planned: float, *, has_gpu: bool) -> str:
    seconds = plan.flops / flops_per_second(has_gpu=has_gpu)
    text = f"{rough_time(seconds)} of computing on {'a GPU' if has_gpu else 'the CPU'}"
    if seconds > planned:
        text += (
            f", more than the {rough_time(planned).removeprefix('about ')} that are planned for; --epochs shortens it"
        )
    return text


def gpu_is_there() -> bool:
    """Returns whether training will use a GPU."""
    return torch.cuda.is_available()
