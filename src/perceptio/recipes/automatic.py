"""`perceptio train --data DIR` and nothing else: input, model and schedule chosen from the files, with reasons."""

import math
import os
import statistics
from dataclasses import dataclass
from operator import attrgetter

import torch

from perceptio.data.image_config import ImageConfig
from perceptio.inputs.grid import GridEncoding
from perceptio.models.config import PerceiverConfig
from perceptio.models.counts import count_flops
from perceptio.runs.config import RunConfig, SourceConfig
from perceptio.runs.data import Survey
from perceptio.training.config import TrainingConfig
from perceptio.training.optimizers import OptimizerConfig
from perceptio.training.schedule import ScheduleConfig

# What training is planned to take: ten minutes on a CPU, an hour on a GPU, at the rates that were measured in training.
CPU_SECONDS, CPU_FLOPS_PER_CORE_SECOND = 600, 1.25e10
GPU_SECONDS, GPU_FLOPS_PER_SECOND = 3_600, 1.4e14
TRAINING_FACTOR = 3  # forward and backward against forward
SIDES = (32, 48, 64, 96, 128, 160, 224)
MIN_EPOCHS = 5

# (from this many samples, latents, channels, cross-attends, layers of a latent transformer)
MODELS = (
    (500_000, 512, 1024, 8, 6),
    (50_000, 256, 512, 4, 4),
    (10_000, 128, 256, 4, 3),
    (0, 48, 128, 3, 2),
)


@dataclass(frozen=True)
class Reason:
    """Why some fields of a config are what they are: a label, a sentence, and the fields' dotted names."""

    label: str
    text: str
    fields: tuple[str, ...]


@dataclass(frozen=True)
class Choice:
    """A config and why it is what it is."""

    config: RunConfig
    reasons: tuple[Reason, ...]

    def reasons_for(self, config: RunConfig) -> tuple[Reason, ...]:
        """Returns the reasons that hold for a config made from this one: those whose fields were left as chosen."""
        return tuple(
            reason
            for reason in self.reasons
            if all(attrgetter(name)(config) == attrgetter(name)(self.config) for name in reason.fields)
        )


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A model, a side and a number of epochs that fit the budget of operations, and what gave way for it."""

    model: PerceiverConfig
    side: int
    epochs: int
    flops: float
    model_is_reduced: bool
    epochs_are_reduced: bool


def choose_config(survey: Survey, *, has_gpu: bool, source: SourceConfig | None = None) -> Choice:
    """Returns a config that suits the number and size of a survey's pictures and the device."""
    source = source or SourceConfig()
    num_samples = len(survey.usable)
    plan = choose_plan(survey, flops_per_second(has_gpu=has_gpu) * planned_seconds(has_gpu=has_gpu))
    batch_size = max(4, min(256 if has_gpu else 32, num_samples // 16))
    config = RunConfig(
        recipe="automatic",
        data=None if source.format == "sample" else survey.data,
        epochs=plan.epochs,
        batch_size=batch_size,
        learning_rate=1e-3,
        source=source,
        image=ImageConfig(
            size=(plan.side, plan.side),
            channels=3,
            crop_area=(0.35, 1.0),
            randaugment_layers=2,
            randaugment_relative_lengths=True,
            evaluation_crop=1.0,
        ),
        encoding=GridEncoding(num_bands=bands_of(plan.side)),
        model=plan.model,
        training=TrainingConfig(
            optimizer=OptimizerConfig(kind="adamw", eps=1e-8, weight_decay=0.05, clip_norm=1.0),
            schedule=ScheduleConfig(kind="cosine", warmup_epochs=min(5.0, plan.epochs / 10)),
            patience_epochs=max(10.0, plan.epochs / 3),
        ),
    )
    return Choice(config, _reasons(survey, plan, batch_size, has_gpu=has_gpu))


def choose_plan(survey: Survey, budget: float) -> Plan:
    """Returns the largest model, up to the one that suits the number of samples, and the side that the budget carries.

    Where even the smallest model on the smallest side is too dear, there are fewer epochs, but never below five.
    """
    num_samples = len(survey.usable)
    wanted = choose_epochs(num_samples)
    suitable = [row for row in MODELS if num_samples >= row[0]]
    for row in suitable:
        model = _model(row)
        side = choose_side(survey, model, num_samples * wanted, budget)
        flops = training_flops(model, side, num_samples * wanted)
        if flops <= budget:
            break
    epochs = wanted
    if flops > budget:
        epochs = max(MIN_EPOCHS, int(budget / training_flops(model, side, num_samples)))
    return Plan(
        model=model,
        side=side,
        epochs=epochs,
        flops=training_flops(model, side, num_samples * epochs),
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


def choose_side(survey: Survey, model: PerceiverConfig, seen_samples: int, budget: float) -> int:
    """Returns the largest side that the files fill and that the budget of operations carries, or the smallest."""
    filled = median_short_side(survey)
    best = SIDES[0]
    for side in SIDES:
        cost = training_flops(model, side, seen_samples)
        if side <= max(filled, SIDES[0]) and cost <= budget:
            best = side
    return best


def bands_of(side: int) -> int:
    """Returns the number of frequency bands: a quarter of the side, as the paper's 64 at 224 pixels, from 4 to 64."""
    return max(4, min(64, side // 4))


def training_flops(model: PerceiverConfig, side: int, seen_samples: float) -> float:
    """Returns the operations of training on so many colour pictures, each counted as often as it is seen."""
    channels = 3 + 2 * (2 * bands_of(side) + 1)
    flops = count_flops(model, num_tokens=side * side, input_channels=channels, num_outputs=1)
    return TRAINING_FACTOR * (flops.total - flops.shared) * seen_samples


def flops_per_second(*, has_gpu: bool) -> float:
    """Returns the operations in a second of training, roughly: all of the machine's cores, or one GPU."""
    return GPU_FLOPS_PER_SECOND if has_gpu else CPU_FLOPS_PER_CORE_SECOND * (os.cpu_count() or 1)


def planned_seconds(*, has_gpu: bool) -> int:
    """Returns the time that training is planned to take at most."""
    return GPU_SECONDS if has_gpu else CPU_SECONDS


def rough_time(seconds: float) -> str:
    """Returns a time as people say it, such as "about 8 min" or "about 3 h"."""
    if seconds < 90:
        return "about a minute" if seconds >= 30 else "less than a minute"
    if seconds < 90 * 60:
        return f"about {seconds / 60:.0f} min"
    return f"about {seconds / 3600:.0f} h"


def median_short_side(survey: Survey) -> int:
    """Returns the median of the shorter sides, in pixels; 28-pixel arrays count as they are."""
    sides = [min(shape) for shape in survey.shapes.values() if isinstance(shape, tuple)]
    if sides:
        return int(statistics.median(sides))
    array = survey.source.load(survey.usable[0])
    return int(min(getattr(array, "shape", (SIDES[0],))[:2]))


def _reasons(survey: Survey, plan: Plan, batch_size: int, *, has_gpu: bool) -> tuple[Reason, ...]:
    num_samples, model, side = len(survey.usable), plan.model, plan.side
    device = "a GPU" if has_gpu else "the CPU"
    smaller = f", smaller than so many call for, to finish on {device} in time" if plan.model_is_reduced else ""
    passes = (
        f"fewer than so many samples call for, to finish on {device} in time"
        if plan.epochs_are_reduced
        else "fewer samples need more passes"
    )
    return (
        Reason("Input", f"{side} x {side} pixels: {_why_side(survey, side, device)}", ("image.size",)),
        Reason(
            "Bands",
            f"{bands_of(side)} frequency bands an axis: a quarter of the side, the paper's 64 at its 224 pixels",
            ("image.size", "encoding"),
        ),
        Reason(
            "Model",
            f"{model.num_latents} latents of {model.latent_channels} channels, for {num_samples:,} samples{smaller}",
            ("model.num_latents", "model.latent_channels"),
        ),
        Reason("Schedule", f"{plan.epochs} epochs of batches of {batch_size}: {passes}", ("epochs", "batch_size")),
        Reason("Time", _why_time(plan, has_gpu=has_gpu), ("image.size", "encoding", "model", "epochs")),
    )


def _why_side(survey: Survey, side: int, device: str) -> str:
    filled = median_short_side(survey)
    reduced = "" if side >= filled else f", reduced to {side}: {device} is to finish in reasonable time"
    return f"the files' shorter side is {filled} (median){reduced}"


def _why_time(plan: Plan, *, has_gpu: bool) -> str:
    seconds, planned = plan.flops / flops_per_second(has_gpu=has_gpu), planned_seconds(has_gpu=has_gpu)
    text = f"{rough_time(seconds)} of computing on {'a GPU' if has_gpu else 'the CPU'}"
    if seconds > planned:
        text += (
            f", more than the {rough_time(planned).removeprefix('about ')} that are planned for; --epochs shortens it"
        )
    return text


def gpu_is_there() -> bool:
    """Returns whether training will use a GPU."""
    return torch.cuda.is_available()
