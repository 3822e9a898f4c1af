"""When a checkpoint cannot be written: a warning, and the end when it goes on."""

from collections.abc import Mapping

import torch
from torch import Tensor

from perceptio.errors import PerceptioError
from perceptio.training.checkpoint import LoopState, optimizer_tensors, weight_tensors, write_checkpoint
from perceptio.training.job import Job, Report, SaveFailure
from perceptio.training.processes import Processes
from perceptio.training.sharding import is_sharded

MOST_FAILED_SAVES = 3


class Saver:
    """Writes checkpoints. All processes call it: sharded weights are gathered, and the first process writes."""

    def __init__(self, job: Job, optimizer: torch.optim.Optimizer, processes: Processes, report: Report) -> None:
        self.job = job
        self.optimizer = optimizer
        self.processes = processes
        self.report = report
        self.failed_in_a_row = 0

    def save(self, state: LoopState) -> None:
        """Writes a checkpoint. A disk that refuses costs a warning.

        Raises:
            PerceptioError: when it refuses again and again.
        """
        job, first = self.job, self.processes.is_first
        weights, moments = {}, {}
        if first or is_sharded(job.model):
            weights = weight_tensors(job.model, keep=first)
            moments = optimizer_tensors(job.model, self.optimizer, keep=first)
        with self.processes.agreed():
            if first:
                self._write(weights, moments, state)

    def _write(self, weights: Mapping[str, Tensor], moments: Mapping[str, Tensor], state: LoopState) -> None:
        job = self.job
        try:
            write_checkpoint(job.checkpoints, weights, moments, state, facts=job.facts)
            self.failed_in_a_row = 0
        except OSError as error:
            self.failed_in_a_row += 1
            reason = f"{error.strerror or error}: {job.checkpoints}"
            if self.failed_in_a_row == MOST_FAILED_SAVES:
                raise PerceptioError(
                    f"{MOST_FAILED_SAVES} checkpoints in a row could not be written, the last at step "
                    f"{state.step}: {reason}. Make room, then go on with --resume."
                ) from error
            self.report(SaveFailure(step=state.step, reason=reason))
