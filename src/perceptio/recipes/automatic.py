"""`perceptio train --data DIR` and nothing else: input, model and schedule chosen from the files, with reasons."""

import math
import statistics
from dataclasses import dataclass

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

# Operations of training that are planned for: minutes to half an hour on two cores, about an hour on one GPU.
CPU_FLOPS_BUDGET = 2.5e13
GPU_FLOPS_BUDGET = 5e17
TRAINING_FACTOR = 3  # forward and backward against forward
SIDES = (32, 48, 64, 96, 128, 160, 224)


@dataclass(frozen=True)
class Choice:
    """A config and why it is what it is, one (label, sentence) each."""

    config: RunConfig
    reasons: tuple[tuple[str, str], ...]


def choose_config(survey: Survey, *, has_gpu: bool, source: SourceConfig | None = None) -> Choice:
    """Returns a config that suits the number and size of a survey's pictures and the device."""
    num_samples = len(survey.usable)
    model = choose_model(num_samples)
    epochs = choose_epochs(num_samples)
    budget = GPU_FLOPS_BUDGET if has_gpu else CPU_FLOPS_BUDGET
    side = choose_side(survey, model, num_samples * epochs, budget)
    bands = max(4, min(64, side // 4))
    batch_size = max(4, min(256 if has_gpu else 32, num_samples // 16))
    config = RunConfig(
        recipe="automatic",
        data=survey.data,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=1e-3,
        source=source or SourceConfig(),
        image=ImageConfig(
            size=(side, side),
            channels=3,
            crop_area=(0.35, 1.0),
            randaugment_layers=2,
            randaugment_relative_lengths=True,
            evaluation_crop=1.0,
        ),
        encoding=GridEncoding(num_bands=bands),
        model=model,
        training=TrainingConfig(
            optimizer=OptimizerConfig(kind="adamw", eps=1e-8, weight_decay=0.05, clip_norm=1.0),
            schedule=ScheduleConfig(kind="cosine", warmup_epochs=min(5.0, epochs / 10)),
            patience_epochs=max(10.0, epochs / 3),
        ),
    )
    device = "a GPU" if has_gpu else "the CPU"
    reasons = (
        ("Input", f"{side} x {side} pixels: {_why_side(survey, side)}, and {device} is to finish in reasonable time"),
        ("", f"{bands} frequency bands an axis: a quarter of the side, the paper's 64 at its 224 pixels"),
        ("Model", f"{model.num_latents} latents of {model.latent_channels} channels, for {num_samples:,} samples"),
        ("Schedule", f"{epochs} epochs of batches of {batch_size}: fewer samples need more passes"),
    )
    return Choice(config, reasons)


def choose_model(num_samples: int) -> PerceiverConfig:
    """Returns a model whose size suits the number of samples: the paper's own, on its 1.3 million images, has 45M."""
    for least, latents, channels, cross_attends, layers in (
        (500_000, 512, 1024, 8, 6),
        (50_000, 256, 512, 4, 4),
        (10_000, 128, 256, 4, 3),
        (0, 48, 128, 3, 2),
    ):
        if num_samples >= least:
            return PerceiverConfig(
                num_latents=latents,
                latent_channels=channels,
                num_cross_attends=cross_attends,
                num_blocks=cross_attends,
                num_self_attends_per_block=layers,
                num_self_attend_heads=8 if channels >= 256 else 4,
            )
    raise AssertionError("the last row takes any number")


def choose_epochs(num_samples: int) -> int:
    """Returns passes over the data: 40 for 1,000 samples, more for fewer, between 20 and 80."""
    return int(min(80, max(20, round(40 * math.sqrt(1_000 / max(1, num_samples))))))


def choose_side(survey: Survey, model: PerceiverConfig, seen_samples: int, budget: float) -> int:
    """Returns the largest side that the files fill and that the budget of operations carries."""
    filled = median_short_side(survey)
    best = SIDES[0]
    for side in SIDES:
        channels = 3 + 2 * (2 * max(4, min(64, side // 4)) + 1)
        flops = count_flops(model, num_tokens=side * side, input_channels=channels, num_outputs=1)
        cost = TRAINING_FACTOR * (flops.total - flops.shared) * seen_samples
        if side <= max(filled, SIDES[0]) and cost <= budget:
            best = side
    return best


def median_short_side(survey: Survey) -> int:
    """Returns the median of the shorter sides, in pixels; 28-pixel arrays count as they are."""
    sides = [min(shape) for shape in survey.shapes.values() if isinstance(shape, tuple)]
    if sides:
        return int(statistics.median(sides))
    array = survey.source.load(survey.usable[0])
    return int(min(getattr(array, "shape", (SIDES[0],))[:2]))


def _why_side(survey: Survey, side: int) -> str:
    filled = median_short_side(survey)
    return f"the files' shorter side is {filled} (median)" + ("" if side >= filled else f", reduced to {side}")


def gpu_is_there() -> bool:
    """Returns whether training will use a GPU."""
    return torch.cuda.is_available()
