"""Before the first step: does a batch fit, how long does a step take, do the samples differ at all?"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import mean
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from perceptio.data.batches import Batch, Stream, collate, model_inputs
from perceptio.data.children import Allowance
from perceptio.data.dataset import EvaluationSamples, Samples, View
from perceptio.data.lasting import quarantine_harmful
from perceptio.data.order import TrainingOrder
from perceptio.errors import DataError, PerceptioError
from perceptio.evaluation.predictions import predict_batches
from perceptio.inputs.streams import StreamsInputConfig
from perceptio.runs.data import PreparedData, Survey
from perceptio.runs.workbench import Workbench, evaluation_batch_size, views_at_once
from perceptio.training.memory import finer_parts, free_memory, one_sample_too_large, peak_memory_bytes

COMPARED_SAMPLES = 32
LONGEST_WARM_UP_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class EvaluationCheck:
    """What one batch of evaluation took: seconds and samples, none where its files cannot be read."""

    seconds: float
    num_samples: int

    def seconds_for(self, num_samples: int) -> float:
        """Returns what measuring so many samples takes, roughly, once they are decoded."""
        return self.seconds * num_samples / self.num_samples if self.num_samples else 0.0


@dataclass(frozen=True, kw_only=True)
class Check:
    """What one batch of training and one of evaluation took. Seconds; loading is that of a single process.

    Attributes:
        micro_batch_size: samples that a process ran at once, where a GPU had no memory for as many as it was to run.
    """

    batch_size: int
    step_seconds: float
    load_seconds: float
    evaluation: EvaluationCheck
    peak_memory_bytes: int
    micro_batch_size: int | None = None

    def seconds_a_step(self, num_workers: int) -> float:
        """Returns what a step of training takes, roughly: loader processes work while the model does."""
        if num_workers == 0:
            return self.step_seconds + self.load_seconds
        return max(self.step_seconds, self.load_seconds / num_workers)


def make_safe(survey: Survey, samples: Samples[Any], keys: Sequence[Any], allowance: Allowance) -> None:
    """Sees to it that this process can make the samples of some keys: files of which only headers were read may harm.

    Each is read in a child process before; those that harm it are in quarantine for these samples.
    """
    if not survey.whole:
        quarantine_harmful(samples, keys, allowance)


def refuse_equal_samples(prepared: PreparedData, samples: EvaluationSamples, allowance: Allowance) -> None:
    """Looks at some training samples as the model would.

    Raises:
        DataError: all of them look the same, such as pictures that are all black: there is nothing to learn from.
    """
    step = max(1, len(samples) // COMPARED_SAMPLES)
    compared = range(0, len(samples), step)[:COMPARED_SAMPLES]
    make_safe(prepared.survey, samples, compared, allowance)
    seen = [samples[index] for index in compared]
    views = [sample.views[0] for sample in seen if sample.views]
    if len(views) < 2 or any(_differ(views[0], view) for view in views[1:]):
        return
    value = next(iter(views[0].values()))
    constant = f", and each is {value.flat[0]:g} everywhere" if np.all(value == value.flat[0]) else ""
    raise DataError(
        f"{len(views)} training samples of {prepared.survey.data}, taken evenly from all, look exactly the same to the "
        f"model{constant}: there is nothing to tell the classes apart by. Look at {samples.records[0].name}; if the "
        "file itself is fine, the input's options (perceptio train -H) leave nothing of it"
    )


def _differ(one: View, other: View) -> bool:
    return one.keys() != other.keys() or any(not np.array_equal(values, other[name]) for name, values in one.items())


def check_batches(bench: Workbench) -> Check:
    """Runs the largest batch of training forward and backward and one of validation, and changes nothing by it.

    Where a GPU's memory does not suffice, fewer samples are run at once. (What a CPU needs is planned before.)

    Raises:
        DataError: no file of the batch can be read.
        PerceptioError: memory does not suffice for a single sample.
    """
    share = bench.batch_size // bench.accelerator.num_processes
    parts: int | None = bench.num_micro_batches
    while parts is not None:
        try:
            check = _check(bench, parts)
        except torch.OutOfMemoryError:
            parts = finer_parts(share, parts)
            bench.model.zero_grad(set_to_none=True)
            free_memory(bench.accelerator.device)
        else:
            return check if parts == bench.num_micro_batches else replace(check, micro_batch_size=share // parts)
    raise PerceptioError(one_sample_too_large(0))


def _check(bench: Workbench, num_micro_batches: int) -> Check:
    device, config = bench.accelerator.device, bench.config
    model = bench.model.to(device)
    model.checkpoint_activations = config.training.checkpoint_activations
    first, load_seconds = _first_batch(bench, num_micro_batches)
    if len(first) == 0:
        raise DataError(f"no file of the first batch can be read; {first.failures[0].name}: {first.failures[0].reason}")
    batch = _largest(first, config.input_config()).to(device)
    targets = bench.targets("train")[batch.indices].to(device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        step_seconds = _time_step(bench, batch, targets)
        if step_seconds < LONGEST_WARM_UP_SECONDS:  # the first one also compiles kernels
            step_seconds = _time_step(bench, batch, targets)
        evaluation = check_evaluation(bench)
    return Check(
        batch_size=len(batch) * num_micro_batches * bench.accelerator.num_processes,
        step_seconds=step_seconds * num_micro_batches,
        load_seconds=load_seconds * num_micro_batches,
        evaluation=evaluation,
        peak_memory_bytes=peak_memory_bytes(device),
    )


def _first_batch(bench: Workbench, num_micro_batches: int) -> tuple[Batch, float]:
    """Returns the first batch, and the seconds of making one when its first sample has opened what all share."""
    samples = bench.training_samples()
    order = TrainingOrder(
        seed=bench.config.seed,
        num_samples=len(samples),
        batch_size=bench.batch_size,
        num_micro_batches=num_micro_batches,
        first_step=0,
        num_steps=1,
        rank=bench.accelerator.process_index,
        num_processes=bench.accelerator.num_processes,
    )
    keys = next(iter(order))
    make_safe(bench.prepared.survey, samples, keys, bench.reader.allowance(whole=False))
    found, seconds = [], []
    for key in keys:
        began = time.monotonic()
        found.append(samples[key])
        seconds.append(time.monotonic() - began)
    return collate(found), len(keys) * mean(seconds[1:] or seconds)


def _largest(batch: Batch, config: StreamsInputConfig) -> Batch:
    """Returns the batch padded to whole samples: where sizes differ, a later batch may be as large as that."""
    streams = {name: _padded(stream, config.streams[name].raw_shape[0]) for name, stream in batch.streams.items()}
    return Batch(streams=streams, indices=batch.indices, failures=batch.failures)


def _padded(stream: Stream, axes: Sequence[int]) -> Stream:
    have = stream.values.shape[1:-1]
    missing = [max(0, whole - size) for whole, size in zip(axes, have, strict=True)]
    if not any(missing):
        return stream
    # functional.pad counts from the last axis; channels stay.
    amounts = [0, 0, *(amount for size in reversed(missing) for amount in (0, size))]
    extents = stream.extents
    if extents is None:
        extents = torch.tensor([list(have)] * len(stream.values))
    return Stream(values=functional.pad(stream.values, amounts), extents=extents, present=stream.present)


def _time_step(bench: Workbench, batch: Batch, targets: torch.Tensor) -> float:
    began = time.monotonic()
    inputs, extents, present = model_inputs(batch, bench.config.streams.prepare)
    with bench.accelerator.autocast():
        loss = bench.task.loss(bench.model(inputs, extents, present).float(), targets)
    bench.accelerator.backward(loss)
    loss.item()  # waits for a GPU
    bench.model.zero_grad(set_to_none=True)
    return time.monotonic() - began


def check_evaluation(bench: Workbench) -> EvaluationCheck:
    """Runs a batch of validation through the model, and moves the model to where the run computes."""
    batches = bench.evaluation_batches("validation")
    processes = bench.accelerator.num_processes
    size = min(len(batches.samples), evaluation_batch_size(bench.config, processes))
    make_safe(bench.prepared.survey, batches.samples, range(size), bench.reader.allowance(whole=True))
    batch = collate([batches.samples[index] for index in range(size)])
    if len(batch) == 0:
        return EvaluationCheck(seconds=0.0, num_samples=0)
    began = time.monotonic()
    predict_batches(
        bench.model.to(bench.accelerator.device),
        [batch],
        task=bench.task,
        prepare=bench.config.streams.prepare,
        device=bench.accelerator.device,
        views_at_once=views_at_once(bench.config, processes),
    )
    return EvaluationCheck(seconds=time.monotonic() - began, num_samples=size)
