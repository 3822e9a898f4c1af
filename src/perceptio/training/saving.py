"""What must survive a restart, written after each evaluation and at a stop; and what happens when a disk refuses.

A disk that refuses costs a warning, and training goes on: what found no room is written with the next checkpoint.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from perceptio.disk import DISK, Disk, refusal, way_out
from perceptio.errors import PerceptioError
from perceptio.training.average import WeightAverage
from perceptio.training.checkpoint import LoopState, on_cpu, optimizer_tensors, weight_tensors, write_checkpoint
from perceptio.training.checkpoint_folders import prune
from perceptio.training.job import Job, Report, SaveFailure
from perceptio.training.processes import Processes
from perceptio.training.sharding import is_sharded

MOST_FAILED_SAVES = 3


class Saver:
    """Writes rows, best weights and checkpoints. All processes call it, and the first one writes."""

    def __init__(
        self,
        job: Job,
        optimizer: torch.optim.Optimizer,
        average: WeightAverage | None,
        processes: Processes,
        report: Report,
        disk: Disk = DISK,
    ) -> None:
        self.job = job
        self.optimizer = optimizer
        self.average = average
        self.processes = processes
        self.report = report
        self.disk = disk
        self.failed_in_a_row = 0
        self._owed_best: tuple[Mapping[str, Tensor], LoopState] | None = None

    def evaluated(self, row: Mapping[str, Any], state: LoopState, *, best: nn.Module | None) -> None:
        """Writes a row of metrics.jsonl, and the weights of `best`, which are whole, where they are the best so far."""
        with self.processes.agreed():
            if not self.processes.is_first:
                return
            try:
                self.job.log.append(row)
            except OSError as error:
                self._warn("row in metrics.jsonl", state.step, self._reason(error, self.job.log.path.parent))
            if best is not None:
                self._keep_best(weight_tensors(best), state)

    def save(self, state: LoopState) -> None:
        """Writes skipped.csv and a checkpoint, then removes those that are older than need be.

        Raises:
            PerceptioError: when the disk refuses again and again.
        """
        job, first = self.job, self.processes.is_first
        parts: dict[str, dict[str, Tensor]] = {}
        if first or is_sharded(job.model):  # then all give their parts
            parts["model"] = weight_tensors(job.model, keep=first)
            parts["optimizer"] = optimizer_tensors(job.model, self.optimizer, keep=first)
            if self.average is not None:
                parts["average"] = on_cpu(self.average.tensors, keep=first)
        with self.processes.agreed():
            if first:
                self._list_lost(state)
                self._write(parts, state)

    def finish(self) -> None:
        """Writes what found no room so far.

        Raises:
            OSError: when there is still none.
        """
        with self.processes.agreed():
            if self.processes.is_first:
                self.job.log.write()
                if self._owed_best is not None:
                    self.job.keep_best(*self._owed_best)

    def _write(self, parts: Mapping[str, Mapping[str, Tensor]], state: LoopState) -> None:
        job, folder = self.job, self.job.checkpoints
        try:
            write_checkpoint(
                folder,
                parts["model"],
                parts["optimizer"],
                state,
                facts=job.facts,
                average=parts.get("average"),
                disk=self.disk,
            )
        except OSError as error:
            self._count_failure(state, self._reason(error, folder, *parts.values()), error)
            return
        self.failed_in_a_row = 0
        for problem in prune(folder, newest=state.step, best=state.best_step, disk=self.disk):
            self._warn("room made", state.step, problem)
        if self._owed_best is not None:
            self._keep_best(*self._owed_best)

    def _list_lost(self, state: LoopState) -> None:
        try:
            self.job.lost.write()
        except OSError as error:
            self._warn("skipped.csv", state.step, self._reason(error, self.job.lost.path.parent))

    def _keep_best(self, weights: Mapping[str, Tensor], state: LoopState) -> None:
        try:
            self.job.keep_best(weights, state)
            self._owed_best = None
        except OSError as error:
            # A copy, as these change with the next step.
            self._owed_best = ({name: value.clone() for name, value in weights.items()}, state)
            self._warn("model.safetensors", state.step, self._reason(error, self.job.log.path.parent, weights))

    def _count_failure(self, state: LoopState, reason: str, error: OSError) -> None:
        self.failed_in_a_row += 1
        if self.failed_in_a_row == MOST_FAILED_SAVES:
            raise PerceptioError(
                f"{MOST_FAILED_SAVES} checkpoints in a row could not be written, the last at step {state.step}: "
                f"{reason}. {way_out(error)}, then go on with --resume."
            ) from error
        self._warn("checkpoint", state.step, reason)

    def _warn(self, what: str, step: int, reason: str) -> None:
        self.report(SaveFailure(what=what, step=step, reason=reason))

    def _reason(self, error: OSError, folder: Path, *tensors: Mapping[str, Tensor]) -> str:
        needed = sum(value.nbytes for part in tensors for value in part.values())
        return refusal(error, folder, needed, self.disk)
