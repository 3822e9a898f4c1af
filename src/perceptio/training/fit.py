"""The training loop: short, over small objects, and told nothing about modalities, files on disk or screens."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from typing import cast

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from perceptio.data.batches import Batch, make_loader, model_inputs
from perceptio.data.mixing import mix
from perceptio.data.order import TrainingOrder
from perceptio.data.records import Skipped
from perceptio.errors import DataError, PerceptioError
from perceptio.randomness import derive, generator
from perceptio.training.checkpoint import Checkpoint, LoopState, load_optimizer, write_checkpoint
from perceptio.training.job import EvaluationReport, FitResult, Job, Report, SaveFailure, StepReport
from perceptio.training.optimizers import build_optimizer
from perceptio.training.schedule import learning_rate_factor

MOST_FAILED_SAVES = 3


def fit(
    job: Job, accelerator: Accelerator, *, resume: Checkpoint | None, report: Report, should_stop: Callable[[], bool]
) -> FitResult:
    """Trains from the start or from a checkpoint to the end, a stop or the end of patience.

    Raises:
        PerceptioError: when the loss is not a finite number; nothing of that step is saved.
    """
    optimizer = build_optimizer(job.config.optimizer, job.model, job.learning_rate)
    state = LoopState()
    if resume is not None:
        state = resume.state
        job.model.load_state_dict(dict(resume.model))
    job.model.checkpoint_activations = job.config.checkpoint_activations
    model, stepper = accelerator.prepare(job.model, optimizer)
    if resume is not None:
        load_optimizer(job.model, optimizer, resume.optimizer)
    runner = cast(nn.Module, torch.compile(model)) if job.config.compile else model
    loop = _Loop(job, accelerator, runner, optimizer, stepper, state, report)
    return loop.run(should_stop)


class _Loop:
    """The state of one call of `fit`; everything that must survive a restart is in `state`."""

    def __init__(
        self,
        job: Job,
        accelerator: Accelerator,
        runner: nn.Module,
        optimizer: torch.optim.Optimizer,
        stepper: torch.optim.Optimizer,
        state: LoopState,
        report: Report,
    ) -> None:
        self.job = job
        self.accelerator = accelerator
        self.runner = runner
        self.optimizer = optimizer
        self.stepper = stepper  # Accelerate's view of the same optimizer
        self.state = state
        self.report = report
        self.failures: list[Skipped] = []
        self.failed_saves = 0
        self.gradient_norm = 0.0
        self.waited = 0.0
        self.window_began = time.monotonic()
        self.window_first_step = state.step

    def run(self, should_stop: Callable[[], bool]) -> FitResult:
        """Runs the remaining steps."""
        job = self.job
        batches = self._batches()
        began, seconds_before = time.monotonic(), self.state.seconds
        first_step = self.state.step
        ended = "finished"
        self.runner.train()
        for step in range(first_step, job.num_steps):
            # Asked before a step, so that a run that ended like this trains no further when it is resumed.
            if self._out_of_patience():
                ended = "patience"
                break
            loss = self._train_step(step, batches)
            seconds = seconds_before + time.monotonic() - began
            self.state = replace(
                self.state,
                step=step + 1,
                seconds=seconds,
                window_loss_sum=self.state.window_loss_sum + loss,
                window_steps=self.state.window_steps + 1,
            )
            pace = (seconds - seconds_before) / (step + 1 - first_step)
            seconds_left = pace * (job.num_steps - step - 1)
            self.report(
                StepReport(
                    step=step + 1,
                    num_steps=job.num_steps,
                    steps_per_epoch=job.steps_per_epoch,
                    loss=loss,
                    samples_per_second=job.batch_size / pace,
                    seconds=seconds,
                    seconds_left=seconds_left,
                )
            )
            is_last = step + 1 == job.num_steps
            evaluated = is_last or (step + 1) % job.steps_per_evaluation == 0
            if evaluated:
                self._evaluate(seconds_left)
            # One process may have got the signal alone; all must leave at the same step.
            stop = self._mean_over_processes(float(should_stop())) > 0
            if evaluated or stop:
                self._save()
            if stop and not is_last:
                ended = "interrupted"
                break
        if ended == "finished" and self.state.best_step is None:
            # Shortened on resume to fewer steps than there were to the first evaluation.
            self._evaluate(0.0)
            self._save()
        return FitResult(state=self.state, ended=ended, failures=tuple(self.failures))

    def _batches(self) -> Iterator[Batch]:
        job = self.job
        order = TrainingOrder(
            seed=job.seed,
            num_samples=len(job.samples),
            batch_size=job.batch_size,
            num_micro_batches=job.config.num_micro_batches,
            first_step=self.state.step,
            num_steps=job.num_steps,
            rank=self.accelerator.process_index,
            num_processes=self.accelerator.num_processes,
        )
        pin_memory = self.accelerator.device.type == "cuda"
        return iter(make_loader(job.samples, order, num_workers=job.num_workers, pin_memory=pin_memory))

    def _train_step(self, step: int, batches: Iterator[Batch]) -> float:
        job, accelerator = self.job, self.accelerator
        rate = job.learning_rate * learning_rate_factor(
            job.config.schedule, step, steps_per_epoch=job.steps_per_epoch, num_steps=job.num_steps
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        total, names = 0.0, []
        num_micro = job.config.num_micro_batches
        for micro in range(num_micro):
            asked = time.monotonic()
            batch = next(batches)
            self.waited += time.monotonic() - asked
            self.failures.extend(batch.failures)
            if len(batch) == 0 or len(batch) * num_micro * accelerator.num_processes != job.batch_size:
                raise DataError(_unreadable(batch))
            names += [job.samples.records[index].name for index in batch.indices.tolist()]
            # Dropout is a function of the step, so no generator state needs saving.
            torch.manual_seed(derive(job.seed, "step", step, micro, accelerator.process_index))
            # Gradients of all processes are summed once, with the last micro-batch.
            quiet = accelerator.no_sync(self.runner) if micro + 1 < num_micro else nullcontext()
            with quiet:
                loss = self._loss(batch, step, micro) / num_micro
                accelerator.backward(loss)
            total += loss.item()
        total = self._mean_over_processes(total)
        if not math.isfinite(total):
            raise PerceptioError(_not_finite(step, job, names))
        norm = accelerator.clip_grad_norm_(self.runner.parameters(), job.config.optimizer.clip_norm or math.inf)
        self.gradient_norm = float(norm) if norm is not None else 0.0
        # A finite loss can have a gradient that is not: stepping would spoil the weights, and the next checkpoint.
        if not math.isfinite(self.gradient_norm):
            raise PerceptioError(_not_finite(step, job, names))
        self.stepper.step()
        self.stepper.zero_grad()
        return total

    def _mean_over_processes(self, value: float) -> float:
        if self.accelerator.num_processes == 1:
            return value
        return float(self.accelerator.reduce(torch.tensor(value, device=self.accelerator.device), reduction="mean"))

    def _loss(self, batch: Batch, step: int, micro: int) -> Tensor:
        job, device = self.job, self.accelerator.device
        inputs, extents, present = model_inputs(batch.to(device), job.prepare)
        targets = job.targets[batch.indices].to(device)
        if job.config.mixing.active:
            random = generator(job.seed, "mix", step, micro, self.accelerator.process_index)
            ((name, values),) = inputs.items()
            inputs[name], targets = mix(values, targets, job.config.mixing, random)
        return job.task.loss(self.runner(inputs, extents, present), targets)

    def _evaluate(self, seconds_left: float) -> None:
        job, state = self.job, self.state
        elapsed = max(time.monotonic() - self.window_began, 1e-9)
        # The model itself, not the compiled one: its weights bear the names under which they are kept.
        found = job.evaluate(job.model)
        self.runner.train()
        key = (found[job.task.main_metric], -found["loss"])
        is_best = not any(math.isnan(part) for part in key) and (state.best_key is None or key > state.best_key)
        row = {
            "epoch": _epoch_of(state.step, job.steps_per_epoch),
            "step": state.step,
            "train_loss": state.window_loss_sum / state.window_steps if state.window_steps else None,
            **{f"validation_{name}": value for name, value in found.items()},
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "gradient_norm": self.gradient_norm,
            "samples_per_second": (state.step - self.window_first_step) * job.batch_size / elapsed,
            "data_wait_share": self.waited / elapsed,
            "seconds": state.seconds,
        }
        if is_best:
            state = replace(state, best_step=state.step, best_key=key)
        self.state = replace(state, window_loss_sum=0.0, window_steps=0)
        if self.accelerator.is_main_process:
            job.log.append(row)
            if is_best:
                job.keep_best(job.model, self.state)
        self.report(
            EvaluationReport(
                row=row,
                is_best=is_best,
                num_steps=job.num_steps,
                steps_per_epoch=job.steps_per_epoch,
                seconds_left=seconds_left,
            )
        )
        self.waited, self.window_began, self.window_first_step = 0.0, time.monotonic(), state.step

    def _save(self) -> None:
        """Writes a checkpoint. A disk that refuses costs a warning; when it goes on refusing, the run."""
        if not self.accelerator.is_main_process:
            return
        try:
            write_checkpoint(self.job.checkpoints, self.job.model, self.optimizer, self.state, facts=self.job.facts)
            self.failed_saves = 0
        except OSError as error:
            self.failed_saves += 1
            reason = f"{error.strerror or error}: {self.job.checkpoints}"
            if self.failed_saves == MOST_FAILED_SAVES:
                raise PerceptioError(
                    f"{MOST_FAILED_SAVES} checkpoints in a row could not be written, the last at step "
                    f"{self.state.step}: {reason}. Make room, then go on with --resume."
                ) from error
            self.report(SaveFailure(step=self.state.step, reason=reason))

    def _out_of_patience(self) -> bool:
        patience, best = self.job.config.patience_epochs, self.state.best_step
        if patience is None or best is None:
            return False
        return self.state.step - best >= patience * self.job.steps_per_epoch


def _epoch_of(step: int, steps_per_epoch: int) -> int | float:
    epoch = step / steps_per_epoch
    return int(epoch) if epoch.is_integer() else round(epoch, 3)


def _unreadable(batch: Batch) -> str:
    last = batch.failures[-1]
    return f"too many files in a row cannot be read: {len(batch.failures)}, the last one {last.name}: {last.reason}"


def _not_finite(step: int, job: Job, names: list[str]) -> str:
    shown = ", ".join(names[:2]) + (f", {len(names) - 2} more" if len(names) > 2 else "")
    return (
        f"loss or gradient is not a number at epoch {step / job.steps_per_epoch:.1f}, step {step + 1}; the batch "
        f"held {shown}. The last checkpoint is untouched. Usual cause: a learning rate that is too high: try "
        f"--learning-rate {job.learning_rate / 4:.1g}"
    )
