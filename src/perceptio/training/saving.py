"""When a checkpoint cannot be written: a warning, and the end when it goes on."""

import torch

from perceptio.errors import PerceptioError
from perceptio.training.checkpoint import LoopState, optimizer_tensors, weight_tensors, write_checkpoint
from perceptio.training.job import Job, Report, SaveFailure

MOST_FAILED_SAVES = 3


class Saver:
    """Writes checkpoints; only the first of several processes has one that does."""

    def __init__(self, job: Job, optimizer: torch.optim.Optimizer, report: Report) -> None:
        self.job = job
        self.optimizer = optimizer
        self.report = report
        self.failed_in_a_row = 0

    def save(self, state: LoopState) -> None:
        """Writes a checkpoint. A disk that refuses costs a warning.

        Raises:
            PerceptioError: when it refuses again and again.
        """
        job = self.job
        try:
            write_checkpoint(
                job.checkpoints,
                weight_tensors(job.model),
                optimizer_tensors(job.model, self.optimizer),
                state,
                facts=job.facts,
            )
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
