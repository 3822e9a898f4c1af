"""The training loop: short, over small objects, and told nothing about modalities, files on disk or screens."""

import copy
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import cast

import torch
from accelerate import Accelerator
from torch import nn

from perceptio.training.average import WeightAverage
from perceptio.training.checkpoint import Checkpoint, LoopState, load_optimizer
from perceptio.training.feed import Feed
from perceptio.training.job import EvaluationReport, FitResult, Job, Report, StepReport, TrainingWarning
from perceptio.training.memory import parts_of_at_most
from perceptio.training.optimizers import build_optimizer
from perceptio.training.processes import Processes
from perceptio.training.saving import Saver
from perceptio.training.sharding import copy_whole, shard
from perceptio.training.step import StepResult, TrainStep
from perceptio.training.watch import Watch


def fit(
    job: Job,
    accelerator: Accelerator,
    processes: Processes,
    *,
    resume: Checkpoint | None,
    report: Report,
    should_stop: Callable[[], bool],
) -> FitResult:
    """Trains from the start or from a checkpoint to the end, a stop or the end of patience.

    All processes call this; the first one reports and writes.

    Raises:
        PerceptioError: when the loss is not a finite number; nothing of that step is saved.
    """
    state = LoopState()
    if resume is not None:
        state = resume.state
        job.model.load_state_dict(dict(resume.model))
    job.lost.restore(state.lost)
    job.model.checkpoint_activations = job.config.checkpoint_activations
    plain: nn.Module | None = None
    if job.sharding == "full" and processes.count > 1:
        # Evaluation runs on whole weights: shares of a set differ in length, and gathering must not.
        plain = accelerator.prepare_model(copy.deepcopy(job.model), evaluation_mode=True)
        shard(job.model, accelerator.device, processes.count)
        model = accelerator.prepare_model(job.model, device_placement=False, evaluation_mode=True)
    else:
        model = accelerator.prepare_model(job.model)
    optimizer = build_optimizer(job.config.optimizer, job.model, job.learning_rate)
    stepper = accelerator.prepare_optimizer(optimizer)
    average = None if job.config.average_decay is None else WeightAverage(job.model, job.config.average_decay)
    if resume is not None:
        load_optimizer(job.model, optimizer, resume.optimizer)
        if average is not None:
            average.load(resume.average)
    runner = cast(nn.Module, torch.compile(model)) if job.config.compile else model
    num_micro_batches = _num_micro_batches(job, processes.count, state)
    feed = Feed(job, accelerator, report, first_step=state.step, num_micro_batches=num_micro_batches)
    train_step = TrainStep(
        job=job,
        accelerator=accelerator,
        processes=processes,
        runner=runner,
        optimizer=optimizer,
        stepper=stepper,
        feed=feed,
        report=report,
    )
    saver = Saver(job, optimizer, average, processes, report)
    return _Loop(job, processes, train_step, average, plain, saver, state, report).run(should_stop)


def _num_micro_batches(job: Job, num_processes: int, state: LoopState) -> int:
    """Returns the config's number, or more: as memory allows, and allowed before the run was stopped."""
    asked = job.config.num_micro_batches
    share = job.batch_size // num_processes
    sizes = [size for size in (job.micro_batch_size, state.micro_batch_size) if size is not None]
    return parts_of_at_most(share, min(sizes), at_least=asked) if sizes else asked


class _Loop:
    """The state of one call of `fit`; everything that must survive a restart is in `state`."""

    def __init__(
        self,
        job: Job,
        processes: Processes,
        train_step: TrainStep,
        average: WeightAverage | None,
        plain: nn.Module | None,
        saver: Saver,
        state: LoopState,
        report: Report,
    ) -> None:
        self.job = job
        self.processes = processes
        self.train_step = train_step
        self.average = average
        self.plain = plain
        self.saver = saver
        self.state = state
        self.report = report
        device = train_step.accelerator.device
        self.watch = Watch(train_step.feed, device, batch_size=job.batch_size, step=state.step)

    def run(self, should_stop: Callable[[], bool]) -> FitResult:
        """Runs the remaining steps."""
        job = self.job
        began, seconds_before = time.monotonic(), self.state.seconds
        first_step = self.state.step
        ended = "finished"
        self.train_step.runner.train()
        for step in range(first_step, job.num_steps):
            # Asked before a step, so that a run that ended like this trains no further when it is resumed.
            if self._out_of_patience():
                ended = "patience"
                break
            result = self.train_step.run(step)
            seconds = seconds_before + time.monotonic() - began
            self._count(result, seconds)
            if self.average is not None:
                self.average.update(self.state.step)
            pace = (seconds - seconds_before) / (step + 1 - first_step)
            seconds_left = pace * (job.num_steps - step - 1)
            self.report(
                StepReport(
                    step=step + 1,
                    num_steps=job.num_steps,
                    steps_per_epoch=job.steps_per_epoch,
                    loss=result.loss,
                    samples_per_second=job.batch_size / pace,
                    seconds=seconds,
                    seconds_left=seconds_left,
                )
            )
            is_last = step + 1 == job.num_steps
            evaluated = is_last or (step + 1) % job.steps_per_evaluation == 0
            if evaluated:
                self._evaluate(result, seconds_left)
            # One process may have got the signal alone; all must leave at the same step.
            stop = self.processes.any(should_stop())
            if evaluated or stop:
                self._save()
            if stop and not is_last:
                ended = "interrupted"
                break
        if ended == "finished" and self.state.best_step is None:
            # Shortened on resume to fewer steps than there were to the first evaluation.
            self._evaluate(None, 0.0)
            self._save()
        self.saver.finish()
        return FitResult(state=self.state, ended=ended)

    def _count(self, result: StepResult, seconds: float) -> None:
        self.state = replace(
            self.state,
            step=self.state.step + 1,
            seconds=seconds,
            window_loss_sum=self.state.window_loss_sum + result.loss,
            window_steps=self.state.window_steps + 1,
            micro_batch_size=self.train_step.lowered_micro_batch_size,
        )

    def _save(self) -> None:
        self.state = replace(self.state, lost=self.job.lost.found)
        self.saver.save(self.state)

    def _evaluate(self, last: StepResult | None, seconds_left: float) -> None:
        job, state = self.job, self.state
        measured = self.watch.row(state.step)
        num_unread = job.lost.count("validation")
        with self._evaluated_model() as model:
            found = job.evaluate(model)
            self.train_step.runner.train()
            key = (found[job.task.main_metric], -found["loss"])
            is_best = all(map(math.isfinite, key)) and (state.best_key is None or key > state.best_key)
            row = {
                "epoch": _epoch_of(state.step, job.steps_per_epoch),
                "step": state.step,
                "train_loss": state.window_loss_sum / state.window_steps if state.window_steps else None,
                **{f"validation_{name}": value for name, value in found.items()},
                "learning_rate": self.train_step.optimizer.param_groups[0]["lr"],
                "gradient_norm": None if last is None else last.gradient_norm,
                **measured,
                "num_lost": len(job.lost.found),
                "num_lost_validation": job.lost.count("validation"),
                "seconds": state.seconds,
            }
            if is_best:
                state = replace(state, best_step=state.step, best_key=key)
            self.state = replace(state, window_loss_sum=0.0, window_steps=0)
            self.saver.evaluated(row, self.state, best=model if is_best else None)
        self.report(
            EvaluationReport(
                row=row,
                is_best=is_best,
                num_steps=job.num_steps,
                steps_per_epoch=job.steps_per_epoch,
                seconds_left=seconds_left,
            )
        )
        if job.lost.count("validation") > num_unread:
            self.report(TrainingWarning(step=state.step, text=_fewer_validated(job.lost.count("validation"))))
        warning = self.watch.warning(measured)
        if warning is not None:
            self.report(TrainingWarning(step=state.step, text=warning))
        self.watch.restart(state.step)

    @contextmanager
    def _evaluated_model(self) -> Iterator[nn.Module]:
        """Yields the model itself, not the compiled one: its weights bear the names under which they are kept.

        Its weights are the average where there is one.
        """
        with nullcontext() if self.average is None else self.average.in_place():
            if self.plain is None:
                yield self.job.model
            else:
                copy_whole(self.job.model, self.plain)
                yield self.plain

    def _out_of_patience(self) -> bool:
        patience, best = self.job.config.patience_epochs, self.state.best_step
        if patience is None or best is None:
            return False
        return self.state.step - best >= patience * self.job.steps_per_epoch


def _fewer_validated(number: int) -> str:
    return (
        f"validation goes on without samples that can no longer be read ({number} so far), and the best epoch is "
        "chosen among results that are not of the same samples. Once the files are back, perceptio train --resume with "
        "--step goes on from a checkpoint of before"
    )


def _epoch_of(step: int, steps_per_epoch: int) -> int | float:
    epoch = step / steps_per_epoch
    return int(epoch) if epoch.is_integer() else round(epoch, 3)
