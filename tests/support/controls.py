"""Ways to build resume wrongly, each taken from a library whose users met it: negative controls of the comparison.

A break replaces one mechanism by a weaker one, by `patch(object, name, value)`, at the start of a process: what counts
from the start of a process, or draws from a global generator, begins anew with each call. So a run that is never
stopped is the same under it, or another one that repeats itself just as well; only going on shows it.
"""

import functools
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

import perceptio.data.dataset as dataset
import perceptio.data.order as order
import perceptio.runs.train as train
import perceptio.training.fit as fit
import perceptio.training.step as training_step
from perceptio.training.average import WeightAverage
from perceptio.training.metric_log import MetricLog

Patch = Callable[[Any, str, Any], None]


class Patched:
    """A module with some names replaced, for one user of it alone."""

    def __init__(self, module: Any, **replaced: Any) -> None:
        self.module = module
        self.__dict__.update(replaced)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.module, name)


class FromHere:
    """Counts from the first number that a process sees, as what is kept in memory alone does."""

    def __init__(self) -> None:
        self.first: int | None = None

    def __call__(self, number: int) -> int:
        """Returns the number, less the first one seen."""
        if self.first is None:
            self.first = number
        return number - self.first


def moments(patch: Patch) -> None:
    """The optimizer's moments start at zero again."""
    patch(fit, "load_optimizer", lambda model, optimizer, tensors: None)


def moments_step(patch: Patch) -> None:
    """Moments are restored, the count of steps by which their bias is corrected is not (pytorch#143828's kind)."""
    load = fit.load_optimizer

    def forget(model: Any, optimizer: Any, tensors: Mapping[str, Any]) -> None:
        step = {name: torch.zeros_like(value) for name, value in tensors.items() if name.endswith("/step")}
        load(model, optimizer, {**tensors, **step})

    patch(fit, "load_optimizer", forget)


def schedule(patch: Patch) -> None:
    """The learning rate's schedule starts again (torchtitan#275)."""
    factor, since = training_step.learning_rate_factor, FromHere()
    patch(
        training_step,
        "learning_rate_factor",
        lambda config, step, **lengths: factor(config, since(step), **lengths),
    )


def position(patch: Patch) -> None:
    """A run goes on one batch further than it was: batches fetched are counted, not batches used (torchdata#1437)."""
    batch = order.TrainingOrder.global_batch
    patch(
        order.TrainingOrder, "global_batch", lambda self, step: batch(self, step + 1 if self.first_step > 0 else step)
    )


def epoch_in_order(patch: Patch) -> None:
    """The epochs that decide the order are counted from the start of the process (accelerate#3996)."""
    of_epoch, since = order.epoch_order, FromHere()
    patch(order, "epoch_order", lambda seed, epoch, num_samples: of_epoch(seed, since(epoch), num_samples))


def epoch_in_sample(patch: Patch) -> None:
    """The epochs that decide augmentation are counted from the start of the process."""
    batch, since = order.TrainingOrder.global_batch, FromHere()
    patch(
        order.TrainingOrder,
        "global_batch",
        lambda self, step: [(since(epoch), index) for epoch, index in batch(self, step)],
    )


def augmentation(patch: Patch) -> None:
    """Augmentation draws from a generator that is seeded once a process (pytorch#36998)."""
    keyed, shared = dataset.generator, np.random.Generator(np.random.PCG64(0))
    patch(
        dataset,
        "generator",
        lambda seed, purpose, *key: shared if purpose == "sample" else keyed(seed, purpose, *key),
    )


def mixing(patch: Patch) -> None:
    """Who is mixed with whom is drawn from a generator that is seeded once a process."""
    shared = np.random.Generator(np.random.PCG64(0))

    @functools.cache  # the loader and the loss ask for the same step
    def drawn(config: Any, seed: int, step: int, batch_size: int) -> Any:
        return order.draw_mixing(config, batch_size, shared)

    patch(order, "batch_mixing", drawn)


def dropout(patch: Patch) -> None:
    """Dropout draws from torch's generator, which is seeded once a process."""
    patch(training_step, "torch", Patched(training_step.torch, manual_seed=lambda seed: None))


def average(patch: Patch) -> None:
    """The moving average of the weights starts again."""
    patch(WeightAverage, "load", lambda self, tensors: None)


def best(patch: Patch) -> None:
    """What the best evaluation was is forgotten."""
    _on_resume(patch, best_step=None, best_key=None)


def loss_window(patch: Patch) -> None:
    """The losses since the last evaluation are forgotten."""
    _on_resume(patch, window_loss_sum=0.0, window_steps=0)


def metric_log(patch: Patch) -> None:
    """Rows of steps that are taken once more stay in metrics.jsonl."""
    cut = MetricLog.cut_after
    patch(MetricLog, "cut_after", lambda self, step: None if step else cut(self, step))


def accumulation(patch: Patch) -> None:
    """The first step after a restart lacks the gradient of its first micro-batch."""
    backward = training_step.TrainStep._backward

    def lose(self: Any, batch: Any, step: int, micro: int) -> float | None:
        is_first = step == self.feed.order.first_step > 0 and micro == 0
        return 0.0 if is_first else backward(self, batch, step, micro)

    patch(training_step.TrainStep, "_backward", lose)


def arrival(patch: Patch) -> None:
    """Samples stand in a batch as workers happen to deliver them. Two runs differ even if neither is stopped."""
    batch = order.TrainingOrder.global_batch

    @functools.cache
    def shuffled(step: int, samples: tuple[Any, ...]) -> list[Any]:
        chance = np.random.default_rng(int.from_bytes(os.urandom(8), "big"))
        return [samples[place] for place in chance.permutation(len(samples))]

    patch(order.TrainingOrder, "global_batch", lambda self, step: shuffled(step, tuple(batch(self, step))))


def _on_resume(patch: Patch, **forgotten: Any) -> None:
    begin = train.fit

    def forget(*arguments: Any, resume: Any, **named: Any) -> Any:
        if resume is not None:
            resume = replace(resume, state=replace(resume.state, **forgotten))
        return begin(*arguments, resume=resume, **named)

    patch(train, "fit", forget)


BREAKS: Mapping[str, Callable[[Patch], None]] = {
    found.__name__.replace("_", "-"): found
    for found in (
        moments,
        moments_step,
        schedule,
        position,
        epoch_in_order,
        epoch_in_sample,
        augmentation,
        mixing,
        dropout,
        average,
        best,
        loss_window,
        metric_log,
        accumulation,
        arrival,
    )
}
"""Every break by its name."""
FROM_THE_START = {"augmentation", "mixing", "dropout", "arrival"}
"""Breaks that change a run which is never stopped, too."""
