"""One optimizer step: micro-batches forward and backward, clipping, the update."""

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
from perceptio.randomness import derive, generator
from perceptio.training.feed import Feed
from perceptio.training.job import Job
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
    """

    job: Job
    accelerator: Accelerator
    processes: Processes
    runner: nn.Module
    optimizer: torch.optim.Optimizer
    stepper: torch.optim.Optimizer
    feed: Feed

    def run(self, step: int) -> StepResult:
        """Takes a step (counted from 0).

        Raises:
            PerceptioError: when loss or gradient is not finite; the weights are then those of before.
        """
        job, accelerator = self.job, self.accelerator
        rate = job.learning_rate * learning_rate_factor(
            job.config.schedule, step, steps_per_epoch=job.steps_per_epoch, num_steps=job.num_steps
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        own_loss, names = self._accumulate(step)
        loss = self.processes.mean(own_loss)
        if not math.isfinite(loss):
            self._stop(step, names if not math.isfinite(own_loss) else [])
        norm = accelerator.clip_grad_norm_(self.runner.parameters(), job.config.optimizer.clip_norm or math.inf)
        gradient_norm = float(whole(norm)) if norm is not None else 0.0
        # A finite loss can have a gradient that is not: stepping would spoil the weights, and the next checkpoint.
        if not math.isfinite(gradient_norm):
            self._stop(step, names)
        self.stepper.step()
        self.stepper.zero_grad()
        return StepResult(loss=loss, gradient_norm=gradient_norm)

    def _accumulate(self, step: int) -> tuple[float, list[str]]:
        """Sums up the gradients of this process's micro-batches; returns their mean loss and the samples' names."""
        job, accelerator = self.job, self.accelerator
        total, names = 0.0, []
        num_micro = job.config.num_micro_batches
        for micro in range(num_micro):
            with self.processes.agreed():
                batch = self.feed.next_batch()
            names += [job.samples.records[index].name for index in batch.indices.tolist()]
            # Dropout is a function of the step, so no generator state needs saving.
            torch.manual_seed(derive(job.seed, "step", step, micro, accelerator.process_index))
            with self._reducing(micro + 1 == num_micro):
                loss = self._loss(batch, step, micro) / num_micro
                accelerator.backward(loss)
            total += loss.item()
        return total, names

    def _reducing(self, last: bool) -> AbstractContextManager[None]:
        """Gradients of all processes are summed once, with the last micro-batch."""
        if is_sharded(self.job.model):
            reduce_gradients(self.job.model, last)
            return nullcontext()
        quiet: AbstractContextManager[None] = nullcontext() if last else self.accelerator.no_sync(self.runner)
        return quiet

    def _stop(self, step: int, names: list[str]) -> NoReturn:
        """Ends all processes with the files of those in which a number was none."""
        spoilt = [name for own in self.processes.gather(names) for name in own]
        with self.processes.agreed():
            raise PerceptioError(_not_finite(step, self.job, spoilt))

    def _loss(self, batch: Batch, step: int, micro: int) -> Tensor:
        job, device = self.job, self.accelerator.device
        inputs, extents, present = model_inputs(batch.to(device), job.prepare)
        targets = job.targets[batch.indices].to(device)
        if job.config.mixing.active:
            random = generator(job.seed, "mix", step, micro, self.accelerator.process_index)
            ((name, values),) = inputs.items()
            inputs[name], targets = mix(values, targets, job.config.mixing, random)
        return job.task.loss(self.runner(inputs, extents, present), targets)


def _not_finite(step: int, job: Job, names: list[str]) -> str:
    shown = ", ".join(names[:2]) + (f", {len(names) - 2} more" if len(names) > 2 else "")
    return (
        f"loss or gradient is not a number at epoch {step / job.steps_per_epoch:.1f}, step {step + 1}; the batch "
        f"held {shown}. The last checkpoint is untouched. Usual cause: a learning rate that is too high: try "
        f"--learning-rate {job.learning_rate / 4:.1g}"
    )
