import errno
import itertools
import math
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from perceptio.data.batches import Batch
from perceptio.data.mixing import MixingConfig
from perceptio.data.order import TrainingOrder
from perceptio.data.records import Skipped
from perceptio.errors import DataError, PerceptioError, UsageError
from perceptio.training import fit as fit_module
from perceptio.training import lost_files
from perceptio.training.checkpoint import read_newest_checkpoint, write_checkpoint
from perceptio.training.config import TrainingConfig
from perceptio.training.feed import Feed
from perceptio.training.job import FitResult, Job, SaveFailure, check_batch_size, effective_batch_size
from perceptio.training.optimizers import OptimizerConfig
from perceptio.training.processes import Processes
from perceptio.training.schedule import ScheduleConfig, learning_rate_factor
from perceptio.training.step import TrainStep
from support.jobs import PLAIN, Recorder, make_job, run_job, state_without_clocks, weights
from support.processes import python
from support.samples import UnreachableSource, make_source

ALL_RANDOM = replace(
    PLAIN, mixing=MixingConfig(mixup_share=0.5, cutmix_share=0.3), num_micro_batches=2,
    optimizer=OptimizerConfig(kind="lamb"),
)  # fmt: skip


def trained(folder: Path, **options) -> tuple[Job, Recorder]:
    job, recorder = make_job(folder, **options), Recorder()
    run_job(job, report=recorder)
    return job, recorder


def assert_weights_equal(first: Job, second: Job) -> None:
    a, b = weights(first), weights(second)
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


def newest(job: Job) -> int:
    return read_newest_checkpoint(job.checkpoints).state.step


def test_a_tiny_model_learns_colour_and_shape(tmp_path: Path):
    job, recorder = trained(tmp_path, epochs=12.0)
    assert recorder.losses[0] == pytest.approx(math.log(3), rel=1e-6), "the head starts at zero"
    assert recorder.evaluations[-1].row["validation_accuracy"] > 0.9
    assert job.num_steps == len(recorder.steps) == 36
    assert [row["step"] for row in job.log.rows()] == list(range(3, 37, 3))


def test_the_same_job_twice_has_the_same_bytes(tmp_path: Path):
    first, _ = trained(tmp_path / "a", config=ALL_RANDOM, dropout=0.2)
    second, _ = trained(tmp_path / "b", config=ALL_RANDOM, dropout=0.2)
    assert_weights_equal(first, second)
    for name in ("model.safetensors", "optimizer.safetensors"):
        a, b = (read_newest_checkpoint(job.checkpoints).path / name for job in (first, second))
        assert a.read_bytes() == b.read_bytes(), name


@pytest.mark.parametrize("stop_after", [1, 2, 3, 4, 5])
def test_resuming_at_any_step_ends_with_the_same_bytes(tmp_path: Path, stop_after: int):
    whole, recorder = trained(tmp_path / "whole", config=ALL_RANDOM, dropout=0.2)
    stopped = make_job(tmp_path / "stopped", config=ALL_RANDOM, dropout=0.2)
    early = Recorder()
    result = run_job(stopped, stop_after=stop_after, report=early)
    assert (result.ended, result.state.step) == ("interrupted", stop_after)
    torch.manual_seed(99)
    resumed, late = make_job(tmp_path / "stopped", config=ALL_RANDOM, dropout=0.2), Recorder()
    result = run_job(resumed, resume=read_newest_checkpoint(stopped.checkpoints), report=late)
    assert result.ended == "finished"
    assert early.losses + late.losses == recorder.losses
    assert_weights_equal(whole, resumed)
    ends = [state_without_clocks(read_newest_checkpoint(job.checkpoints).state) for job in (whole, resumed)]
    assert ends[0] == ends[1]


@pytest.mark.parametrize("workers", [0, 2])
def test_files_that_went_bad_are_replaced_alike_after_a_resume(tmp_path: Path, workers: int):
    bad = {"config": ALL_RANDOM, "broken": (1, 5, 6)}
    whole, recorder = trained(tmp_path / "whole", **bad)
    stopped, early = make_job(tmp_path / "stopped", **bad), Recorder()
    run_job(stopped, stop_after=2, report=early)
    resumed, late = replace(make_job(tmp_path / "stopped", **bad), num_workers=workers), Recorder()
    result = run_job(resumed, resume=read_newest_checkpoint(stopped.checkpoints), report=late)
    assert early.losses + late.losses == recorder.losses
    assert_weights_equal(whole, resumed)
    assert {entry.name for entry in result.state.lost} == {"1", "5", "6"}


def run_losing(
    monkeypatch: pytest.MonkeyPatch, job: Job, lost: Mapping[int, tuple[str, ...]], first_step: int = 0, **options
) -> FitResult:
    """Runs a job in which the batch of a step (counted from 0) tells of files that could not be read."""
    take, steps = Feed.next_batch, itertools.count(first_step)

    def next_batch(self: Feed) -> Batch:
        names = lost.get(next(steps), ())
        return replace(take(self), failures=tuple(Skipped(name, "gone") for name in names))

    with monkeypatch.context() as patched:
        patched.setattr(Feed, "next_batch", next_batch)
        return run_job(job, **options)


def test_a_resumed_run_counts_what_was_lost_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Also files that are back by then: rows, state and list are those of the run that never stopped."""
    whole, stopped, resumed = make_job(tmp_path / "a"), make_job(tmp_path / "b"), make_job(tmp_path / "b")
    run_losing(monkeypatch, whole, {1: ("4", "7"), 4: ("9", "4")})
    run_losing(monkeypatch, stopped, {1: ("4", "7")}, stop_after=2)
    checkpoint = read_newest_checkpoint(stopped.checkpoints)
    run_losing(monkeypatch, resumed, {4: ("9", "4")}, first_step=2, resume=checkpoint)
    rows = [[(row["num_lost"], row["num_lost_validation"]) for row in job.log.rows()] for job in (whole, resumed)]
    assert rows[0] == rows[1] == [(2, 0), (3, 0)]
    ends = [state_without_clocks(read_newest_checkpoint(job.checkpoints).state) for job in (whole, resumed)]
    assert ends[0] == ends[1]
    lists = [job.lost.path.read_text().splitlines() for job in (whole, resumed)]
    assert lists[0] == lists[1] == ["file,reason", "4,gone", "7,gone", "9,gone"]


def test_more_lost_files_than_may_be_stop_the_run_at_that_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    job, recorder = make_job(tmp_path, allowed=0.1), Recorder()
    with pytest.raises(DataError, match=r"^3 of 24 samples cannot be used, 3 of them since training began: 12\.5%"):
        run_losing(monkeypatch, job, {1: ("4",), 3: ("7",), 4: ("4", "9")}, report=recorder)
    assert len(recorder.steps) == 4
    assert [(lost.name, lost.reason) for lost in recorder.lost] == [("4", "gone")]
    assert newest(job) == 3, "to go on from"


def test_validation_samples_that_are_lost_count_and_are_told(tmp_path: Path):
    job, recorder = make_job(tmp_path), Recorder()
    job.lost.splits = {**job.lost.splits, "v0": "validation", "v1": "validation"}
    failures = iter([[], [Skipped("v1", "gone")], [Skipped("v1", "gone")]])

    def evaluate(model: nn.Module) -> Mapping[str, float]:
        job.lost.add(next(failures), Processes(), recorder)
        return {"accuracy": 0.5, "loss": 1.0}

    run_job(replace(job, evaluate=evaluate, epochs=3.0), report=recorder)
    rows = job.log.rows()
    assert [(row["num_lost"], row["num_lost_validation"]) for row in rows] == [(0, 0), (1, 1), (1, 1)]
    assert [warning.text for warning in recorder.warnings] == [
        "validation goes on without samples that can no longer be read (1 so far), and the best epoch is chosen among "
        "results that are not of the same samples. Once the files are back, perceptio train --resume with --step goes "
        "on from a checkpoint of before"
    ]
    assert recorder.warnings[0].step == 6


def test_a_disk_that_refuses_the_list_costs_a_warning_and_it_comes_with_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    job, recorder = make_job(tmp_path), Recorder()
    write, refused = lost_files.write_skipped, []

    def refuse(path: Path, skipped: Iterable[Skipped]) -> None:
        if not refused:
            refused.append(path)
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, skipped)

    monkeypatch.setattr(lost_files, "write_skipped", refuse)
    result = run_losing(monkeypatch, job, {1: ("4",)}, report=recorder)
    assert (result.ended, job.lost.path.read_text()) == ("finished", "file,reason\n4,gone\n")
    (failure,) = recorder.save_failures
    assert (failure.what, failure.step) == ("skipped.csv", 3)
    assert failure.reason.startswith(f"No space left on device: {tmp_path}")


def test_a_run_goes_on_in_other_micro_batches(tmp_path: Path):
    """As after a GPU had no room: the same samples, losses to rounding."""
    one = replace(PLAIN, mixing=ALL_RANDOM.mixing)
    _, recorder = trained(tmp_path / "whole", config=one)
    stopped, early = make_job(tmp_path / "stopped", config=one), Recorder()
    run_job(stopped, stop_after=3, report=early)
    resumed = make_job(tmp_path / "stopped", config=replace(one, num_micro_batches=4))
    late = Recorder()
    run_job(resumed, resume=read_newest_checkpoint(stopped.checkpoints), report=late)
    assert early.losses == recorder.losses[:3]
    assert late.losses == pytest.approx(recorder.losses[3:], rel=1e-5)
    assert late.losses != recorder.losses[3:], "not split at all"


def test_a_checkpoint_folder_that_vanishes_in_mid_run_is_made_again(tmp_path: Path):
    job, recorder = make_job(tmp_path), Recorder()

    def evaluate(model):
        shutil.rmtree(job.checkpoints, ignore_errors=True)
        return {"accuracy": 0.5, "loss": 1.0}

    result = run_job(replace(job, evaluate=evaluate), report=recorder)
    assert (result.ended, newest(job), recorder.save_failures) == ("finished", 6, [])


@pytest.mark.parametrize("part", ["load_optimizer", "manual_seed"])
def test_without_one_part_resuming_is_noticed(tmp_path: Path, monkeypatch, part: str):
    whole, _ = trained(tmp_path / "whole", config=ALL_RANDOM, dropout=0.2)
    stopped = make_job(tmp_path / "stopped", config=ALL_RANDOM, dropout=0.2)
    run_job(stopped, stop_after=2)
    resumed = make_job(tmp_path / "stopped", config=ALL_RANDOM, dropout=0.2)
    checkpoint = read_newest_checkpoint(stopped.checkpoints)
    if part == "manual_seed":
        monkeypatch.setattr(torch, "manual_seed", lambda seed: None)
    else:
        monkeypatch.setattr(fit_module, "load_optimizer", lambda model, optimizer, tensors: None)
    run_job(resumed, resume=checkpoint)
    monkeypatch.undo()
    with pytest.raises(AssertionError):
        assert_weights_equal(whole, resumed)


def test_dropout_is_a_function_of_the_step(tmp_path: Path, monkeypatch):
    """What is drawn between two steps, by an evaluation for example, moves no mask."""
    calm, _ = trained(tmp_path / "calm", dropout=0.3)
    step = TrainStep.run

    def noisy_step(self, *arguments):
        torch.rand(17)
        return step(self, *arguments)

    monkeypatch.setattr(TrainStep, "run", noisy_step)
    noisy, _ = trained(tmp_path / "noisy", dropout=0.3)
    assert_weights_equal(calm, noisy)


def test_dropout_masks_differ_between_steps_and_micro_batches(tmp_path: Path, monkeypatch):
    seeds = []
    monkeypatch.setattr(torch, "manual_seed", seeds.append)
    trained(tmp_path, config=ALL_RANDOM)
    monkeypatch.undo()
    seeds = [seed for seed in seeds if seed not in (0, 5)]  # the loader's and this job's own
    assert len(seeds) == len(set(seeds)) == 2 * 6


def test_two_micro_batches_are_one_batch(tmp_path: Path):
    """Same maths in another order: compared in the first step, before differences grow."""
    _, one = trained(tmp_path / "one", epochs=1 / 3)
    _, two = trained(tmp_path / "two", epochs=1 / 3, config=replace(PLAIN, num_micro_batches=2))
    torch.testing.assert_close(two.losses, one.losses)
    torch.testing.assert_close(gradients(tmp_path / "c", 2), gradients(tmp_path / "d", 1))
    assert (len(one.steps), len(two.steps)) == (1, 1)


def test_mixed_samples_are_the_same_in_any_micro_batches(tmp_path: Path):
    config = replace(PLAIN, mixing=MixingConfig(mixup_share=0.4, cutmix_share=0.4))
    _, one = trained(tmp_path / "one", config=config)
    _, four = trained(tmp_path / "four", config=replace(config, num_micro_batches=4))
    _, unmixed = trained(tmp_path / "unmixed")
    assert four.losses == pytest.approx(one.losses, rel=1e-5)
    assert unmixed.losses[1:] != pytest.approx(one.losses[1:], rel=1e-2)


def gradients(folder: Path, num_micro_batches: int) -> dict[str, torch.Tensor]:
    """What the optimizer is given in the first step, before clipping."""
    config = replace(
        PLAIN, num_micro_batches=num_micro_batches, optimizer=replace(PLAIN.optimizer, clip_norm=None)
    )  # fmt: skip
    job = make_job(folder, config=config, epochs=1 / 3)
    # The head starts at zero and passes no gradient on; any other value does.
    torch.nn.init.normal_(job.model.head.logits.weight)
    found = {}

    def keep(name: str):
        return lambda gradient: found.__setitem__(name, found.get(name, 0) + gradient.clone())

    for name, parameter in job.model.named_parameters():
        parameter.register_hook(keep(name))
    run_job(job)
    return found


def test_checkpointed_activations_change_no_bit(tmp_path: Path):
    plain, _ = trained(tmp_path / "a", config=ALL_RANDOM, dropout=0.2)
    config = replace(ALL_RANDOM, checkpoint_activations=True)
    saving, _ = trained(tmp_path / "b", config=config, dropout=0.2)
    assert saving.model.checkpoint_activations
    assert_weights_equal(plain, saving)


def test_bf16_changes_losses_by_less_than_two_hundredths(tmp_path: Path):
    _, exact = trained(tmp_path / "fp32", config=ALL_RANDOM)
    job, rounded = trained(tmp_path / "bf16", config=replace(ALL_RANDOM, precision="bf16"))
    assert rounded.losses == pytest.approx(exact.losses, rel=0.02)
    assert rounded.losses[1:] != pytest.approx(exact.losses[1:], rel=1e-6), "it was not in bf16"
    assert {value.dtype for value in weights(job).values()} == {torch.float32}


COMPILED = """
import sys
from dataclasses import replace
from pathlib import Path
from safetensors.torch import load_file
import torch
from support.jobs import PLAIN, Recorder, make_job, run_job

seen = []
losses = {}
for compiled in (False, True):
    config = replace(PLAIN, compile=compiled)
    job = make_job(Path(sys.argv[1]) / str(compiled), config=config, epochs=1.0, num_blocks=1)
    recorder = Recorder()
    job = replace(job, keep_best=lambda weights, state: seen.append(sorted(weights)))
    run_job(job, report=recorder)
    losses[compiled] = recorder.losses
torch.testing.assert_close(losses[True], losses[False])
assert seen[0] == seen[-1] and len(seen) >= 2, "the kept weights have other names when compiled"
"""


@pytest.mark.slow
def test_a_compiled_step_is_the_same_step(tmp_path: Path):
    """In a process of its own: the hook that checks shapes while tests run is no part of what is compiled."""
    done = python("-c", COMPILED, str(tmp_path), cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_the_rate_of_each_step_is_the_schedules(tmp_path: Path, monkeypatch):
    config = replace(PLAIN, schedule=ScheduleConfig(kind="steps", decay_epochs=(1.0,), decay_factor=0.5))
    job = make_job(tmp_path, config=config, learning_rate=0.004)
    rates, step = [], torch.optim.AdamW.step

    def record(self, *arguments, **options):
        rates.append([group["lr"] for group in self.param_groups])
        return step(self, *arguments, **options)

    monkeypatch.setattr(torch.optim.AdamW, "step", record)
    run_job(job)
    expected = [
        0.004 * learning_rate_factor(config.schedule, number, steps_per_epoch=3, num_steps=6) for number in range(6)
    ]
    assert rates == [[rate, rate] for rate in expected]
    assert expected == [0.004] * 3 + [0.002] * 3


@pytest.mark.parametrize("clip_norm", [1e-3, None])
def test_gradients_are_clipped_to_the_global_norm(tmp_path: Path, monkeypatch, clip_norm: float | None):
    norms, step = [], torch.optim.AdamW.step

    def record(self, *arguments, **options):
        values = [parameter.grad for group in self.param_groups for parameter in group["params"]]
        norms.append(torch.cat([value.flatten() for value in values]).norm().item())
        return step(self, *arguments, **options)

    monkeypatch.setattr(torch.optim.AdamW, "step", record)
    run_job(make_job(tmp_path, config=replace(PLAIN, optimizer=replace(PLAIN.optimizer, clip_norm=clip_norm))))
    if clip_norm is None:
        assert min(norms) > 1e-2
    else:
        assert norms == pytest.approx([clip_norm] * 6, rel=1e-3)


@pytest.mark.parametrize("num_micro_batches", [1, 2])
def test_a_loss_that_is_no_number_stops_and_names_the_batch(tmp_path: Path, num_micro_batches: int):
    job = make_job(tmp_path, config=replace(PLAIN, num_micro_batches=num_micro_batches))
    poisoned_step, seen = 4, 0

    def prepare(name: str, values: torch.Tensor) -> torch.Tensor:
        nonlocal seen
        seen += 1
        found = job.prepare(name, values)
        return found * math.nan if seen == poisoned_step * num_micro_batches else found

    recorder = Recorder()
    order = TrainingOrder(
        seed=0, num_samples=24, batch_size=8, num_micro_batches=1, first_step=0, num_steps=6
    )  # fmt: skip
    names = [str(index) for _, index in order.global_batch(poisoned_step - 1)]
    with pytest.raises(
        PerceptioError,
        match=rf"loss or gradient is not a number at epoch 1.0, step 4; the batch held {names[0]}, {names[1]}, 6 more. "
        r"The last checkpoint, of step 3, is untouched. Usual cause: a learning rate that is too high: "
        r"try --learning-rate 0.0008",
    ):
        run_job(replace(job, prepare=prepare), report=recorder)
    assert len(recorder.steps) == 3
    state = read_newest_checkpoint(job.checkpoints)
    assert state.state.step == 3
    assert all(tensor.isfinite().all() for tensor in (*state.model.values(), *state.optimizer.values()))


def test_a_gradient_that_is_no_number_stops_before_the_step(tmp_path: Path, monkeypatch):
    job = make_job(tmp_path)
    before = weights(job)
    monkeypatch.setattr(Accelerator, "clip_grad_norm_", lambda *_: torch.tensor(math.inf))
    message = (
        r"loss or gradient is not a number at epoch 0\.0, step 1; .*\. No checkpoint was written yet\. Usual cause:"
    )
    with pytest.raises(PerceptioError, match=message):
        run_job(job)
    after = weights(job)
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_network_that_fails_in_mid_run_stops_it_with_a_way_to_go_on(tmp_path: Path, workers: int):
    job = replace(make_job(tmp_path), num_workers=workers)
    job.samples.source = UnreachableSource(job.samples.source)
    message = (
        r"^the disk or network failed in the middle of the run \(.*a\.tar, tried 6 times\)\. That is not the files' "
        r"fault, so nothing was skipped; once it works, go on from the last checkpoint with perceptio train --resume$"
    )
    with pytest.raises(DataError, match=message):
        run_job(job)


def test_too_many_unreadable_files_in_a_row_stop_the_run_with_a_name(tmp_path: Path):
    job = make_job(tmp_path)
    job.samples.source = make_source(24, broken=tuple(range(24)))
    with pytest.raises(DataError, match=r"too many files in a row cannot be read: \d+, the last one \d+: broken on"):
        run_job(job)


def test_a_run_without_any_step_left_is_evaluated_once(tmp_path: Path):
    job = make_job(tmp_path, config=replace(PLAIN, evaluate_every_epochs=2.0))
    run_job(job, stop_after=2)
    stopped = read_newest_checkpoint(job.checkpoints)
    assert (stopped.state.step, stopped.state.best_step) == (2, None)
    result = run_job(replace(job, epochs=1 / 3), resume=stopped)
    assert (result.ended, result.state.best_step) == ("finished", 2)


def test_the_best_checkpoint_outlives_newer_ones(tmp_path: Path):
    job = make_job(tmp_path, epochs=5.0)
    results = iter([0.9, 0.1, 0.2, 0.3, 0.4])
    run_job(replace(job, evaluate=lambda model: {"accuracy": next(results), "loss": 1.0}))
    kept = sorted(path.name for path in job.checkpoints.iterdir())
    assert kept == ["step-000000003", *(f"step-{step:09d}" for step in (9, 12, 15))]


def test_what_is_no_number_is_never_best(tmp_path: Path):
    job, kept = make_job(tmp_path, epochs=4.0), []
    results = iter([(0.5, 1.0), (math.nan, 1.0), (0.9, math.nan), (0.9, math.inf)])

    def evaluate(model):
        accuracy, loss = next(results)
        return {"accuracy": accuracy, "loss": loss}

    result = run_job(replace(job, evaluate=evaluate, keep_best=lambda weights, state: kept.append(state.step)))
    assert kept == [3]
    assert result.state.best_step == 3


def test_best_is_the_main_metric_then_the_lower_loss(tmp_path: Path):
    job, kept = make_job(tmp_path, epochs=5.0), []
    results = iter([(0.5, 1.0), (0.5, 0.9), (0.5, 0.9), (0.4, 0.1), (0.6, 2.0)])

    def evaluate(model):
        accuracy, loss = next(results)
        return {"accuracy": accuracy, "loss": loss}

    recorder = Recorder()
    changed = replace(job, evaluate=evaluate, keep_best=lambda weights, state: kept.append(state.step))
    result = run_job(changed, report=recorder)
    assert kept == [3, 6, 15]
    assert [report.is_best for report in recorder.evaluations] == [True, True, False, False, True]
    assert (result.state.best_step, result.state.best_key) == (15, (0.6, -2.0))


def test_patience_ends_a_run_that_no_longer_improves(tmp_path: Path):
    config = replace(PLAIN, patience_epochs=2.0)
    job = replace(make_job(tmp_path, config=config, epochs=9.0), evaluate=lambda model: {"accuracy": 0.5, "loss": 1.0})
    result = run_job(job)
    assert (result.ended, result.state.step, result.state.best_step) == ("patience", 9, 3)
    assert newest(job) == 9


def test_resuming_a_run_that_ran_out_of_patience_trains_no_further(tmp_path: Path):
    config = replace(PLAIN, patience_epochs=2.0)
    job = replace(make_job(tmp_path, config=config, epochs=9.0), evaluate=lambda model: {"accuracy": 0.5, "loss": 1.0})
    run_job(job)
    before = read_newest_checkpoint(job.checkpoints)
    recorder = Recorder()
    result = run_job(job, resume=before, report=recorder)
    assert (result.ended, recorder.steps, result.state) == ("patience", [], before.state)


def test_resuming_a_finished_run_trains_no_further(tmp_path: Path):
    job, _ = trained(tmp_path)
    recorder = Recorder()
    result = run_job(job, resume=read_newest_checkpoint(job.checkpoints), report=recorder)
    assert (result.ended, recorder.steps, result.state.step) == ("finished", [], 6)


def test_a_row_holds_what_the_window_since_the_last_evaluation_measured(tmp_path: Path):
    job, recorder = trained(tmp_path, config=replace(PLAIN, evaluate_every_epochs=2 / 3))
    rows = job.log.rows()
    assert [row["step"] for row in rows] == [2, 4, 6]
    assert [row["epoch"] for row in rows] == pytest.approx([2 / 3, 4 / 3, 2.0], abs=5e-4)  # three digits are kept
    for number, row in enumerate(rows):
        window = recorder.losses[2 * number : 2 * number + 2]
        assert row["train_loss"] == pytest.approx(sum(window) / 2, rel=1e-12)
    expected = {
        "epoch", "step", "train_loss", "validation_loss", "validation_accuracy", "validation_balanced_accuracy",
        "learning_rate", "gradient_norm", "samples_per_second", "data_wait_share", "seconds",
        "num_micro_batches", "memory_bytes", "peak_memory_bytes", "num_lost", "num_lost_validation",
    }  # fmt: skip
    assert rows[0].keys() == expected
    assert newest(job) == 6


def test_unreadable_files_are_told_once_and_each_is_listed_once(tmp_path: Path):
    job, recorder = make_job(tmp_path, broken=(1, 5)), Recorder()
    result = run_job(job, report=recorder)
    assert sorted(result.state.lost, key=lambda entry: entry.name) == [
        Skipped("1", "broken on purpose"),
        Skipped("5", "broken on purpose"),
    ]
    assert [(lost.reason, lost.listed_in) for lost in recorder.lost] == [("broken on purpose", str(job.lost.path))]
    assert recorder.lost[0].name in ("1", "5")
    assert job.log.rows()[-1]["num_lost"] == 2
    assert sorted(job.lost.path.read_text().split()) == [
        "1,broken", "5,broken", "file,reason", "on", "on", "purpose", "purpose"
    ]  # fmt: skip


def test_a_batch_is_never_larger_than_the_set():
    assert effective_batch_size(32, 100) == 32
    assert effective_batch_size(32, 7) == 7
    message = (
        r"^no training sample is left: the split leaves the training part empty; lower --split\.validation and "
        r"--split\.test$"
    )
    with pytest.raises(DataError, match=message):
        effective_batch_size(32, 0)


def test_a_batch_that_is_lowered_can_still_be_split_evenly():
    assert effective_batch_size(32, 31, parts=6) == 30
    assert effective_batch_size(32, 32, parts=8) == 32
    with pytest.raises(DataError, match=r"every process and micro-batch needs a sample: 6 of them, 5 for training"):
        effective_batch_size(32, 5, parts=6)


def test_a_batch_that_cannot_be_split_evenly_is_refused_with_the_nearest_that_can():
    check_batch_size(32, num_processes=4, num_micro_batches=2)
    message = r"^--batch-size must be a multiple of processes x micro-batches: got 32 and 3 x 2\. Nearest: 30 or 36\.$"
    with pytest.raises(UsageError, match=message):
        check_batch_size(32, num_processes=3, num_micro_batches=2)
    with pytest.raises(UsageError, match=r"got 2 and 3 x 1. Nearest: 3\."):
        check_batch_size(2, num_processes=3, num_micro_batches=1)


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_micro_batches": 0}, r"num_micro_batches must be at least 1, got 0"),
        ({"evaluate_every_epochs": 0.0}, r"evaluate_every_epochs must be finite and greater than 0, got 0.0"),
        ({"evaluate_every_epochs": math.nan}, r"evaluate_every_epochs must be finite and greater than 0, got nan"),
        ({"patience_epochs": 0.0}, r"patience_epochs must be finite and greater than 0, or None, got 0.0"),
        ({"patience_epochs": math.nan}, r"patience_epochs must be finite and greater than 0, or None, got nan"),
        ({"precision": "fp16"}, r"^precision must be one of auto, fp32, bf16, got 'fp16'$"),
    ],
)
def test_values_out_of_range_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        TrainingConfig(**fields)


class FullDisk:
    """Stands in for `write_checkpoint` on a disk that refuses some of its writes."""

    def __init__(self, refused: set[int]) -> None:
        self.refused = refused
        self.calls = 0

    def __call__(self, folder: Path, *arguments: object, **named: object) -> Path:
        self.calls += 1
        if self.calls in self.refused:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
        return write_checkpoint(folder, *arguments, **named)


def test_a_disk_that_refuses_once_costs_a_warning(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("perceptio.training.saving.write_checkpoint", FullDisk({1, 3}))
    job, events = make_job(tmp_path, epochs=4.0), []
    result = run_job(job, report=events.append)
    failures = [event for event in events if isinstance(event, SaveFailure)]
    assert [failure.step for failure in failures] == [3, 9]
    assert all("No space left on device" in failure.reason for failure in failures)
    assert result.ended == "finished"
    assert read_newest_checkpoint(job.checkpoints).state.step == 12


def test_a_disk_that_goes_on_refusing_ends_the_run_with_the_way_out(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("perceptio.training.saving.write_checkpoint", FullDisk({2, 3, 4}))
    job = make_job(tmp_path, epochs=5.0)
    message = (
        r"^3 checkpoints in a row could not be written, the last at step 12: No space left on device: "
        rf"{re.escape(str(job.checkpoints))} \([\d,]+ bytes to write, [\d,]+ free\)\. "
        r"Make room, then go on with --resume\.$"
    )
    with pytest.raises(PerceptioError, match=message):
        run_job(job)
    assert read_newest_checkpoint(job.checkpoints).state.step == 3
