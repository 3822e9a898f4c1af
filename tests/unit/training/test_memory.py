"""What happens when memory does not suffice, with a model that says so: no GPU is needed to test it."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from perceptio.data.mixing import MixingConfig
from perceptio.errors import PerceptioError
from perceptio.training import step as step_module
from perceptio.training.checkpoint import read_newest_checkpoint
from perceptio.training.job import Job
from perceptio.training.memory import finer_parts, parts_of_at_most
from support.jobs import PLAIN, Recorder, make_job, run_job

MIXED = replace(PLAIN, mixing=MixingConfig(mixup_share=0.3, cutmix_share=0.3))


UPDATE_TOO_LARGE = (
    r"the optimizer's update at step 1 does not fit into memory: it needs the weights four times, whatever the batch. "
    r"Take a smaller model \(--model.latent-channels\) or a larger device$"
)


class Seen:
    """Stands in for a model's forward; refuses more rows than fit, and keeps what it was given."""

    def __init__(self, job: Job, most: int, *, refuse_from: int = 0) -> None:
        self.forward = job.model.forward
        self.most = most
        self.refuse_from = refuse_from
        self.sizes: list[int] = []
        self.inputs: list[torch.Tensor] = []
        job.model.forward = self

    def __call__(self, inputs, extents=None, present=None) -> torch.Tensor:
        rows = len(inputs["image"])
        if torch.is_grad_enabled():
            self.sizes.append(rows)
            if rows > self.most and len(self.sizes) > self.refuse_from:
                raise torch.OutOfMemoryError("CUDA out of memory (a fake)")
            self.inputs += list(inputs["image"])
        return self.forward(inputs, extents, present)


def trained(folder: Path, most: int, **options) -> tuple[Seen, Recorder, Job]:
    job, recorder = make_job(folder, **options), Recorder()
    seen = Seen(job, most)
    run_job(job, report=recorder)
    return seen, recorder, job


@pytest.mark.parametrize("config", [PLAIN, MIXED], ids=["plain", "mixed"])
@pytest.mark.parametrize("most", [4, 3, 1])
def test_smaller_micro_batches_give_the_same_losses_from_the_same_samples(tmp_path: Path, config, most: int):
    calm, undisturbed, _ = trained(tmp_path / "calm", 8, config=config)
    cut, recorder, job = trained(tmp_path / "cut", most, config=config)
    size = {4: 4, 3: 2, 1: 1}[most]
    assert recorder.losses == pytest.approx(undisturbed.losses, rel=1e-5)
    assert torch.equal(torch.stack(cut.inputs), torch.stack(calm.inputs)), "no sample is lost, doubled or moved"
    assert cut.sizes[-1] == size
    assert [warning.step for warning in recorder.warnings] == [1] * {4: 1, 3: 2, 1: 3}[most]
    assert (
        f"memory did not suffice at step 1: from here on {size} instead of {2 * size} samples at once "
        f"(--training.num-micro-batches {8 // size}). A step still has 8 samples, and the result is the same"
    ) == recorder.warnings[-1].text
    assert [row["num_micro_batches"] for row in job.log.rows()] == [8 // size] * 2


def test_what_a_step_had_summed_up_before_memory_ran_out_is_not_counted(tmp_path: Path):
    """The third step fails in its second micro-batch's backward pass, when half of the gradients are there."""
    config = replace(PLAIN, num_micro_batches=2)
    undisturbed = Recorder()
    run_job(make_job(tmp_path / "calm", config=config), report=undisturbed)
    job, recorder, calls = make_job(tmp_path / "cut", config=config), Recorder(), 0

    def refuse(gradient: torch.Tensor) -> None:
        nonlocal calls
        calls += 1
        if calls == 6:
            raise torch.OutOfMemoryError("CUDA out of memory (a fake)")

    job.model.latents.register_hook(refuse)
    result = run_job(job, report=recorder)
    assert [warning.step for warning in recorder.warnings] == [3]
    assert recorder.losses == pytest.approx(undisturbed.losses, rel=1e-5)
    assert result.state.micro_batch_size == 2


def test_a_resumed_run_begins_with_what_memory_sufficed_for(tmp_path: Path):
    whole, undisturbed, _ = trained(tmp_path / "whole", 2)
    stopped = make_job(tmp_path / "stopped")
    Seen(stopped, 2)
    early, late = Recorder(), Recorder()
    run_job(stopped, stop_after=3, report=early)
    resumed = make_job(tmp_path / "stopped")
    seen = Seen(resumed, 2)
    run_job(resumed, resume=read_newest_checkpoint(stopped.checkpoints), report=late)
    assert set(seen.sizes) == {2}
    assert late.warnings == []
    assert early.losses + late.losses == undisturbed.losses
    assert len(early.warnings) == 2
    assert whole.sizes[-1] == 2


def test_a_sample_that_does_not_fit_ends_the_run_with_the_way_out(tmp_path: Path):
    job = make_job(tmp_path)
    Seen(job, 0)
    with pytest.raises(
        PerceptioError,
        match=r"memory does not suffice for a single sample, at step 1. Recompute activations instead of keeping them "
        r"\(--training.checkpoint-activations\), or take a smaller model \(--model.num-latents, "
        r"--model.latent-channels\) or smaller inputs$",
    ):
        run_job(job)
    assert not job.checkpoints.exists()


def test_an_update_that_does_not_fit_is_not_tried_again(tmp_path: Path, monkeypatch):
    job = make_job(tmp_path)

    def refuse(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory (a fake)")

    monkeypatch.setattr(torch.optim.AdamW, "step", refuse)
    with pytest.raises(PerceptioError, match=UPDATE_TOO_LARGE):
        run_job(job)


def test_sharded_weights_allow_no_second_try(tmp_path: Path, monkeypatch):
    job = make_job(tmp_path, config=replace(PLAIN, num_micro_batches=2))
    Seen(job, 1)
    monkeypatch.setattr(step_module, "is_sharded", lambda model: True)
    with pytest.raises(
        PerceptioError,
        match=r"memory does not suffice at step 1, and with --sharding full it takes a new start to run fewer "
        r"samples at once: --training.num-micro-batches 4$",
    ):
        run_job(job)


def test_another_error_is_no_lack_of_memory(tmp_path: Path):
    job = make_job(tmp_path)
    job.model.forward = lambda *_: torch.zeros(2, 3) @ torch.zeros(2, 3)
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        run_job(job)


def test_parts_divide_the_samples():
    assert [finer_parts(24, parts) for parts in (1, 2, 4, 8, 12, 24)] == [2, 4, 8, 24, 24, None]
    assert [finer_parts(7, parts) for parts in (1, 7)] == [7, None]
    assert parts_of_at_most(24, 5, at_least=1) == 6
    assert parts_of_at_most(24, 24, at_least=1) == 1
    assert parts_of_at_most(24, 24, at_least=3) == 3
