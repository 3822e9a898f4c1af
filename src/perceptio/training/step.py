"""One optimizer step: micro-batches forward and backward, clipping, the update. Memory decides how many."""

import math
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import NoReturn

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from perceptio.data.batches import Batch, model_inputs
from perceptio.data.mixing import mix
from perceptio.errors import PerceptioError
from perceptio.randomness import derive
from perceptio.training.checkpoint_folders import steps_in
from perceptio.training.exchange import average, own_gradients
from perceptio.training.feed import Feed
from perceptio.training.job import Job, Report, TrainingWarning
from perceptio.training.memory import finer_parts, free_memory, one_sample_too_large
from perceptio.training.processes import Processes
from perceptio.training.schedule import learning_rate_factor
from perceptio.training.sharding import is_sharded, reduce_gradients, whole


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """Mean loss over the global batch, and the gradient's norm before clipping."""

    loss: float
    gradient_norm: float


@dataclass(frozen=True, kw_only=True)
class TrainStep:
    """What a step works with.

    Attributes:
        runner: the model as it is run: wrapped for several processes, or compiled.
        optimizer, stepper: the optimizer, and Accelerate's view of it.
        report: is told when a batch had to be cut into more parts.
    """

    job: Job
    accelerator: Accelerator
    processes: Processes
    runner: nn.Module
    optimizer: torch.optim.Optimizer
    stepper: torch.optim.Optimizer
    feed: Feed
    report: Report

    def run(self, step: int) -> StepResult:
        """Takes a step (counted from 0).

        Raises:
            PerceptioError: when loss or gradient is not finite, or not even one sample fits into memory; the weights
                are then those of before.
        """
        job, accelerator = self.job, self.accelerator
        rate = job.learning_rate * learning_rate_factor(
            job.config.schedule, step, steps_per_epoch=job.steps_per_epoch, num_steps=job.num_steps
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        own_loss, names = self._gradients(step)
        loss = self.processes.mean(own_loss)
        if not math.isfinite(loss):
            self._stop(step, names if not math.isfinite(own_loss) else [])
        norm = accelerator.clip_grad_norm_(self.runner.parameters(), job.config.optimizer.clip_norm or math.inf)
        gradient_norm = float(whole(norm)) if norm is not None else 0.0
        # A finite loss can have a gradient that is not: stepping would spoil the weights, and the next checkpoint.
        if not math.isfinite(gradient_norm):
            self._stop(step, names)
        try:
            self.stepper.step()
        except torch.OutOfMemoryError as error:
            # Some weights are moved and some are not: smaller micro-batches cannot mend that.
            raise PerceptioError(
                f"the optimizer's update at step {step + 1} does not fit into memory: it needs the weights four times, "
                "whatever the batch. Take a smaller model (--model.latent-channels) or a larger device"
            ) from error
        self.stepper.zero_grad()
        return StepResult(loss=loss, gradient_norm=gradient_norm)

    @property
    def lowered_micro_batch_size(self) -> int | None:
        """Samples at once, where they had to become fewer than the config says."""
        order = self.feed.order
        if order.num_micro_batches == self.job.config.num_micro_batches:
            return None
        return order.batch_size // (order.num_processes * order.num_micro_batches)

    def _gradients(self, step: int) -> tuple[float, list[str]]:
        """Leaves the mean gradient over all processes in the parameters; returns this process's loss and samples.

        When one process runs out of memory, all take the step again with smaller micro-batches.
        """
        while True:
            found = self._accumulate(step)
            if not self.processes.any(found is None):
                assert found is not None, "this process would have said so"
                self._average_gradients()
                return found
            self._cut_finer(step)

    def _accumulate(self, step: int) -> tuple[float, list[str]] | None:
        """Sums up the gradients of this process's micro-batches; returns their mean loss and the samples' names.

        None when memory did not suffice. Batches are then fetched to the end all the same: other processes, which go
        on, wait for word that this one has got each.
        """
        job, enough = self.job, True
        total, names = 0.0, list[str]()
        num_micro = self.feed.order.num_micro_batches
        for micro in range(num_micro):
            with self.processes.agreed():
                batch = self.feed.next_batch()
            if job.lost.add(batch.failures, self.processes, self.report):
                with self.processes.agreed():
                    self.feed.check_whole(batch)
            names += [job.samples.records[index].name for index in batch.indices.tolist()]
            loss = self._backward(batch, step, micro) if enough else None
            enough = loss is not None
            total += loss or 0.0
        return (total / num_micro, names) if enough else None

    def _backward(self, batch: Batch, step: int, micro: int) -> float | None:
        """Adds a micro-batch's gradient; returns its loss, or None when memory did not suffice."""
        job, num_micro = self.job, self.feed.order.num_micro_batches
        # Dropout is a function of the step, so no generator state needs saving.
        torch.manual_seed(derive(job.seed, "step", step, micro, self.processes.rank))
        try:
            with self._unshared(last=micro + 1 == num_micro):
                loss = self._loss(batch, step, micro)
                self.accelerator.backward(loss / num_micro)
            return loss.item()
        except torch.OutOfMemoryError as error:
            if is_sharded(job.model):
                # The others wait inside the layers for this one's weights; no one can begin again.
                raise PerceptioError(
                    f"memory does not suffice at step {step + 1}, and with --sharding full it takes a new "
                    f"start to run fewer samples at once: --training.num-micro-batches {2 * num_micro}"
                ) from error
            return None

    def _unshared(self, *, last: bool) -> AbstractContextManager[None]:
        """Gradients stay in this process, to be summed over all when every process has its own.

        On the way, as DDP does it, a process that runs out of memory would leave the others waiting for ever. Sharded
        ones have no place to stay whole: they are summed with the last micro-batch.
        """
        if is_sharded(self.job.model):
            reduce_gradients(self.job.model, last)
            return nullcontext()
        quiet: AbstractContextManager[None] = self.accelerator.no_sync(self.runner)
        return quiet

    def _average_gradients(self) -> None:
        if self.processes.count == 1 or is_sharded(self.job.model):
            return
        average(own_gradients(self.job.model), self.processes.count)

    def _cut_finer(self, step: int) -> None:
        """Prepares to take a step again from its first sample, in at least twice as many micro-batches.

        Raises:
            PerceptioError: when a micro-batch is a single sample already.
        """
        share = self.job.batch_size // self.processes.count
        num_micro = self.feed.order.num_micro_batches
        finer = finer_parts(share, num_micro)
        if finer is None:
            raise PerceptioError(one_sample_too_large(step))
        self.stepper.zero_grad()
        free_memory(self.accelerator.device)
        self.feed.restart(step, finer)
        self.report(
            TrainingWarning(
                step=step + 1,
                text=f"memory did not suffice at step {step + 1}: from here on {share // finer} instead of "
                f"{share // num_micro} samples at once (--training.num-micro-batches {finer}). A step still has "
                f"{self.job.batch_size} samples, and the result is the same",
            )
        )

    def _stop(self, step: int, names: list[str]) -> NoReturn:
        """Ends all processes with the files of those in which a number was none."""
        spoilt = [name for own in self.processes.gather(names) for name in own]
        with self.processes.agreed():
            raise PerceptioError(_not_finite(step, self.job, spoilt))

    def _loss(self, batch: Batch, step: int, micro: int) -> Tensor:
        job, device = self.job, self.accelerator.device
        inputs, extents, present = model_inputs(batch.to(device), job.prepare)
        targets = job.targets[batch.indices].to(device)
        mixing = self.feed.order.micro_batch(step, micro).mixing
        if mixing is not None:
            ((name, values),) = inputs.items()
            inputs[name], targets = mix(values, targets, mixing)
        return job.task.loss(self.runner(inputs, extents, present), targets)


def _not_finite(step: int, job: Job, names: list[str]) -> str:
    shown = ", ".join(names[:2]) + (f", {len(names) - 2} more" if len(names) > 2 else "")
    written = steps_in(job.checkpoints)
    saved = f"The last checkpoint, of step {written[0]}, is untouched" if written else "No checkpoint was written yet"
    return (
        f"loss or gradient is not a number at epoch {step / job.steps_per_epoch:.1f}, step {step + 1}; the batch "
        f"held {shown}. {saved}. Usual cause: a learning rate that is too high: try "
        f"--learning-rate {job.learning_rate / 4:.1g}"
    )
