"""A time for the whole run: how many epochs fit into it, and when it is over."""

import math
import time
from collections.abc import Callable
from dataclasses import replace

from perceptio.errors import UsageError
from perceptio.runs.check import Check, EvaluationCheck
from perceptio.runs.config import RunConfig
from perceptio.runs.workbench import Workbench
from perceptio.training.job import EvaluationReport, Event, Report, StepReport
from perceptio.training.schedule import learning_rate_factor

# Of the time that is left after the check: training and validation. The test, the report and a slower machine get the
# rest.
USED_SHARE = 0.85
CLOSING_SECONDS = 17.0
"""Kept for plots, attention maps, report and the process's end: what they took on two cores."""


def fit_to_time(bench: Workbench, check: Check, seconds_left: float) -> RunConfig:
    """Returns the config with as many epochs as fit; what its schedule counts in epochs is stretched with them.

    Raises:
        UsageError: not even a tenth of an epoch and its evaluation fit.
    """
    config = bench.config
    usable = USED_SHARE * (seconds_left - ending_seconds(bench, check.evaluation))
    epoch = check.seconds_a_step(bench.workers) * steps_per_epoch(bench)
    evaluation = evaluation_seconds(bench, check.evaluation, "validation")
    epochs = usable / (epoch + evaluation / config.training.evaluate_every_epochs)
    if epochs < config.training.evaluate_every_epochs:
        epochs = (usable - evaluation) / epoch  # one evaluation, at the end
    elif epochs >= 3:
        epochs = float(int(epochs))
    if epochs < 0.1:
        raise UsageError(
            f"--time is too short: {max(0.0, seconds_left):.0f} s are left after reading the files, an epoch takes "
            f"{epoch:.0f} s, its evaluation {evaluation:.0f} s and what comes after training "
            f"{ending_seconds(bench, check.evaluation):.0f} s. Give it more (a number alone is seconds, 2m are two "
            "minutes), or take a smaller model or input"
        )
    return stretched(config, round(epochs, 2))


def stretched(config: RunConfig, epochs: float) -> RunConfig:
    """Returns the config with other epochs; warm-up, steps of the schedule and patience keep their share of the run."""
    factor, training = epochs / config.epochs, config.training
    schedule = replace(
        training.schedule,
        warmup_epochs=training.schedule.warmup_epochs * factor,
        decay_epochs=tuple(epoch * factor for epoch in training.schedule.decay_epochs),
    )
    patience = None if training.patience_epochs is None else training.patience_epochs * factor
    if patience is not None and patience > 1:
        patience = float(math.ceil(patience))  # to the end of an epoch, whose evaluation may still be better
    return replace(config, epochs=epochs, training=replace(training, schedule=schedule, patience_epochs=patience))


def new_schedule(before: RunConfig, after: RunConfig, step: int, steps_an_epoch: int) -> tuple[str, ...]:
    """Says what changed epochs do to the learning rate of a run that goes on, and to its patience."""
    if before.epochs == after.epochs:
        return ()

    def rate(config: RunConfig) -> float:
        total = max(1, round(config.epochs * steps_an_epoch))
        factor = learning_rate_factor(
            config.training.schedule, min(step, total), steps_per_epoch=steps_an_epoch, num_steps=total
        )
        return config.learning_rate * factor

    kind = after.training.schedule.kind
    text = (
        f"{kind} over {after.epochs:g} epochs instead of {before.epochs:g}: at epoch {step / steps_an_epoch:g} the "
        f"learning rate is {rate(after):.2g}, it was {rate(before):.2g}"
    )
    patient = before.training.patience_epochs is not None and after.training.patience_epochs is None
    return (text, "patience is off: epochs that were asked for are run") if patient else (text,)


def planned_seconds(bench: Workbench, check: Check) -> float:
    """Returns what the whole run takes, roughly, if it does not end early."""
    config = bench.config
    epoch = check.seconds_a_step(bench.workers) * steps_per_epoch(bench)
    evaluation = evaluation_seconds(bench, check.evaluation, "validation") / config.training.evaluate_every_epochs
    return config.epochs * (epoch + evaluation) + ending_seconds(bench, check.evaluation)


def ending_seconds(bench: Workbench, check: EvaluationCheck) -> float:
    """Returns what comes after training, roughly: the best weights on validation and test samples, and the report."""
    return CLOSING_SECONDS + sum(evaluation_seconds(bench, check, split) for split in ("validation", "test"))


def steps_per_epoch(bench: Workbench) -> int:
    """Returns whole batches in an epoch."""
    return max(1, len(bench.prepared.records("train")) // bench.batch_size)


def evaluation_seconds(bench: Workbench, check: EvaluationCheck, split: str) -> float:
    """Returns what measuring a split takes, roughly, once its samples are decoded."""
    return check.seconds_for(len(bench.prepared.records(split)))


def rough_time(seconds: float) -> str:
    """Returns a time as people say it, such as "about 8 min" or "about 3 h"."""
    if seconds < 90:
        return "about a minute" if seconds >= 30 else "less than a minute"
    if seconds < 90 * 60:
        return f"about {seconds / 60:.0f} min"
    return f"about {seconds / 3600:.0f} h"


class Deadline:
    """Asks a run to stop once its time is over and there are weights worth keeping."""

    def __init__(self, seconds: float | None) -> None:
        self.at = None if seconds is None else time.monotonic() + seconds
        self.has_evaluated = False

    @property
    def is_over(self) -> bool:
        """Whether it is time to stop. Before the first evaluation it never is: there would be nothing to show."""
        return self.at is not None and self.has_evaluated and time.monotonic() >= self.at

    def watching(self, report: Report) -> Report:
        """Returns a report that also tells this one about evaluations."""

        def both(event: Event) -> None:
            self.has_evaluated |= isinstance(event, EvaluationReport)
            report(self._within(event))

        return both

    def _within(self, event: Event) -> Event:
        """Returns the event with no more time left than this leaves: training stops then, whatever was planned."""
        if self.at is None or not isinstance(event, StepReport | EvaluationReport):
            return event
        rest = max(0.0, self.at - time.monotonic())
        return event if event.seconds_left <= rest else replace(event, seconds_left=rest)

    def or_asked(self, asked: Callable[[], bool]) -> Callable[[], bool]:
        """Returns what asks the loop to stop: somebody, or the time."""
        return lambda: asked() or self.is_over
