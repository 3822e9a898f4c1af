"""`training.exact`: operations that repeat their result, and what is promised with them."""

import os
from dataclasses import replace
from pathlib import Path

import torch

from perceptio.runs.machine import make_accelerator, repeatable
from support.jobs import PLAIN, Recorder, make_job, run_job, weights


def test_training_needs_only_operations_that_repeat_their_result(tmp_path: Path):
    """PyTorch raises an error for any other. Dropout, separable attention and bf16 are part of it."""
    jobs = {}
    for exact in (True, False):
        config = replace(PLAIN, exact=exact, precision="bf16", num_micro_batches=2)
        jobs[exact] = make_job(tmp_path / str(exact), config=config, epochs=1.0, dropout=0.1)
        with repeatable(exact):
            assert torch.are_deterministic_algorithms_enabled() == exact
            run_job(jobs[exact], report=Recorder())
        assert not torch.are_deterministic_algorithms_enabled()
    first, second = (weights(job) for job in jobs.values())
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_what_was_set_before_stays_set():
    torch.use_deterministic_algorithms(True)
    try:
        for exact in (True, False):
            with repeatable(exact):
                assert torch.are_deterministic_algorithms_enabled()
            assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)


def test_cublas_is_told_before_it_starts(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    make_accelerator("cpu", "fp32")
    assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ
    make_accelerator("cpu", "fp32", exact=True)
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
