import json
import os
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from perceptio.errors import DataError
from perceptio.training import checkpoint
from perceptio.training.checkpoint import (
    LoopState,
    load_optimizer,
    optimizer_tensors,
    read_newest_checkpoint,
    replace_durably,
    weight_tensors,
    write_checkpoint,
    write_durably,
)
from perceptio.training.lamb import Lamb

FILES = ("model.safetensors", "optimizer.safetensors", "state.json", "manifest.json")
STATE = LoopState(
    step=7, best_step=5, best_key=(0.1 + 0.2, -1 / 3), window_loss_sum=2 / 3, window_steps=2, seconds=1.25
)
FACTS = {"threads": 1, "versions": {"torch": "2"}}


def make(optimizer_kind: type = Lamb, *, steps: int = 2) -> tuple[nn.Module, torch.optim.Optimizer]:
    """A model with two groups, one frozen parameter and moments that are not zero."""
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(3, 5), nn.LayerNorm(5), nn.Linear(5, 2))
    model[0].bias.requires_grad_(False)
    groups = [{"params": [*model[0].parameters()]}, {"params": [*model[1].parameters(), *model[2].parameters()]}]
    optimizer = optimizer_kind(groups, lr=0.01)
    for _ in range(steps):
        model(torch.randn(7, 3)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    return model, optimizer


def contents(model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    return weight_tensors(model), optimizer_tensors(model, optimizer)


def write(folder: Path, step: int, **options) -> Path:
    model, optimizer = make()
    return write_checkpoint(folder, *contents(model, optimizer), replace(STATE, step=step), facts=FACTS, **options)


@pytest.mark.parametrize("kind", [Lamb, torch.optim.AdamW])
def test_what_is_read_is_what_was_written(tmp_path: Path, kind):
    model, optimizer = make(kind)
    path = write_checkpoint(tmp_path, *contents(model, optimizer), STATE, facts=FACTS)
    found = read_newest_checkpoint(tmp_path)
    assert (found.path, found.state, found.facts) == (path, STATE, FACTS)
    assert path.name == "step-000000007"
    assert found.model.keys() == model.state_dict().keys()
    for name, tensor in model.state_dict().items():
        assert torch.equal(found.model[name], tensor), name
    expected = optimizer_tensors(model, optimizer)
    assert found.optimizer.keys() == expected.keys()
    assert len(expected) == 3 * 5, "three moments for each of five parameters with a gradient"
    for name, tensor in expected.items():
        assert torch.equal(found.optimizer[name], tensor), name


@pytest.mark.parametrize("kind", [Lamb, torch.optim.AdamW])
def test_a_second_round_trip_has_the_same_bytes(tmp_path: Path, kind):
    model, optimizer = make(kind)
    first = write_checkpoint(tmp_path / "a", *contents(model, optimizer), STATE, facts=FACTS)
    read = read_newest_checkpoint(tmp_path / "a")
    fresh, fresh_optimizer = make(kind, steps=0)
    fresh.load_state_dict(dict(read.model))
    load_optimizer(fresh, fresh_optimizer, read.optimizer)
    second = write_checkpoint(tmp_path / "b", *contents(fresh, fresh_optimizer), read.state, facts=read.facts)
    for name in FILES:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


@pytest.mark.parametrize("kind", [Lamb, torch.optim.AdamW])
def test_a_loaded_optimizer_takes_the_same_next_step(kind):
    model, optimizer = make(kind)
    fresh, fresh_optimizer = make(kind, steps=0)
    fresh.load_state_dict(model.state_dict())
    moments = {name: tensor.clone() for name, tensor in optimizer_tensors(model, optimizer).items()}
    load_optimizer(fresh, fresh_optimizer, moments)
    inputs = torch.linspace(-1, 1, 21).reshape(7, 3)
    for network, stepper in ((model, optimizer), (fresh, fresh_optimizer)):
        network(inputs).square().sum().backward()
        stepper.step()
    for name, tensor in model.state_dict().items():
        assert torch.equal(fresh.state_dict()[name], tensor), name


def test_a_state_without_any_evaluation_comes_back(tmp_path: Path):
    model, optimizer = make()
    write_checkpoint(tmp_path, *contents(model, optimizer), LoopState(step=1), facts={})
    assert read_newest_checkpoint(tmp_path).state == LoopState(step=1)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["missing", "truncated", "emptied", "flipped", "zeroed"])
def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path, name: str, damage: str):
    write(tmp_path, 5)
    file = write(tmp_path, 7) / name
    content = file.read_bytes()
    middle = len(content) // 2
    flipped = content[:middle] + bytes([content[middle] ^ 0x10]) + content[middle + 1 :]
    damaged = {"truncated": content[:-1], "emptied": b"", "flipped": flipped, "zeroed": bytes(len(content))}
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(damaged[damage])
    assert read_newest_checkpoint(tmp_path).state.step == 5


def test_every_single_flipped_byte_of_the_weights_is_noticed(tmp_path: Path):
    file = write(tmp_path, 7) / "model.safetensors"
    content = file.read_bytes()
    for position in range(0, len(content), 7):
        file.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
        with pytest.raises(DataError, match=r"model.safetensors is damaged: \d+ bytes, \d+ were written"):
            read_newest_checkpoint(tmp_path)


def test_without_a_whole_checkpoint_the_message_says_what_is_wrong_with_each(tmp_path: Path):
    (write(tmp_path, 5) / "state.json").unlink()
    (write(tmp_path, 7) / "model.safetensors").write_bytes(b"x")
    with pytest.raises(
        DataError, match=r"no whole checkpoint in .*: step-000000007: model.safetensors is damaged: 1 bytes, .* were "
        r"written; step-000000005: .*state.json"
    ):  # fmt: skip
        read_newest_checkpoint(tmp_path)


def test_an_empty_or_missing_folder_is_an_error_never_a_fresh_start(tmp_path: Path):
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(DataError, match=r"no whole checkpoint in .*: no step-.. folder there"):
            read_newest_checkpoint(folder)


def test_a_newer_format_is_refused(tmp_path: Path):
    manifest = write(tmp_path, 7) / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_bytes()), "format": 2}))
    with pytest.raises(DataError, match=r"step-000000007: format 2, this version reads 1"):
        read_newest_checkpoint(tmp_path)


@pytest.mark.parametrize("stray", ["step-100.backup", "step-000000099.backup", "step-99"])
def test_stray_folders_are_neither_read_nor_removed(tmp_path: Path, stray: str):
    shutil.copytree(write(tmp_path / "other", 99), tmp_path / stray)
    (tmp_path / "step-000000098").write_text("a file, no folder")
    for step in (5, 6, 7):
        write(tmp_path, step)
    assert read_newest_checkpoint(tmp_path).state.step == 7
    assert (tmp_path / stray / "model.safetensors").exists()


@pytest.mark.parametrize("leftover", [".tmp-step-000000099-1", ".trash-step-000000099-1"])
def test_what_a_crash_left_behind_is_never_read_and_then_removed(tmp_path: Path, leftover: str):
    shutil.copytree(write(tmp_path / "other", 99), tmp_path / leftover)
    with pytest.raises(DataError, match=r"no step-.. folder there"):
        read_newest_checkpoint(tmp_path)
    write(tmp_path, 5)
    assert read_newest_checkpoint(tmp_path).state.step == 5
    assert not (tmp_path / leftover).exists()


def test_newer_folders_that_are_not_whole_are_passed_over_and_named(tmp_path: Path):
    write(tmp_path, 5)
    (write(tmp_path, 6) / "optimizer.safetensors").write_bytes(b"")
    found = read_newest_checkpoint(tmp_path)
    assert found.state.step == 5
    (problem,) = found.passed_over
    assert problem.startswith("step-000000006: optimizer.safetensors is damaged: 0 bytes, ")


def test_the_newest_two_are_kept_by_step_not_by_time(tmp_path: Path):
    for step in (30, 9, 100):
        write(tmp_path, step)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000000030", "step-000000100"]


def test_keep_counts(tmp_path: Path):
    for step in range(1, 7):
        write(tmp_path, step, keep=3)
    assert sorted(int(path.name[5:]) for path in tmp_path.iterdir()) == [4, 5, 6]


def test_the_same_step_can_be_written_again(tmp_path: Path):
    write(tmp_path, 7)
    write(tmp_path, 7)
    assert read_newest_checkpoint(tmp_path).state.step == 7


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("call", [1, 2, 3, 4])
def test_a_failure_while_writing_leaves_the_old_one_and_nothing_else(tmp_path: Path, monkeypatch, call: int, error):
    write(tmp_path, 5)
    write(tmp_path, 6)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    calls = 0

    def fail(path: Path, content: bytes) -> None:
        nonlocal calls
        calls += 1
        write_durably(path, content[: len(content) // 2] if calls == call else content)
        if calls == call:
            raise error

    monkeypatch.setattr(checkpoint, "write_durably", fail)
    with pytest.raises(type(error)):
        write(tmp_path, 7)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    monkeypatch.undo()
    assert read_newest_checkpoint(tmp_path).state.step == 6
    write(tmp_path, 7)
    assert read_newest_checkpoint(tmp_path).state.step == 7


@pytest.mark.parametrize("call", range(1, 8))
def test_whenever_a_sync_fails_old_or_new_is_whole(tmp_path: Path, monkeypatch, call: int):
    """Four files, the folder, and its parent are synced; the last sync comes after the rename."""
    write(tmp_path, 6)
    calls, sync = 0, os.fsync

    def fail(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls == call:
            raise OSError(5, "Input/output error")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fail)
    if call <= 6:
        with pytest.raises(OSError, match="Input/output error"):
            write(tmp_path, 7)
    else:
        write(tmp_path, 7)
    monkeypatch.undo()
    assert read_newest_checkpoint(tmp_path).state.step == (6 if call <= 5 else 7)
    assert not list(tmp_path.glob(".tmp-*"))


def test_a_failed_prune_does_not_fail_the_save(tmp_path: Path, monkeypatch):
    remove = shutil.rmtree

    def refuse(path: Path, ignore_errors: bool = False) -> None:
        if Path(path).name == "step-000000005":
            assert ignore_errors, "a failed delete must not raise"
            return
        remove(path, ignore_errors=ignore_errors)

    monkeypatch.setattr(shutil, "rmtree", refuse)
    for step in (5, 6, 7):
        write(tmp_path, step)
    assert read_newest_checkpoint(tmp_path).state.step == 7


def test_nothing_is_pickled(tmp_path: Path, monkeypatch):
    def bomb(*arguments, **options):
        raise AssertionError("pickle was called")

    for name in ("load", "loads", "dump", "dumps", "Unpickler", "Pickler"):
        monkeypatch.setattr(pickle, name, bomb)
    for name in ("load", "save"):
        monkeypatch.setattr(torch, name, bomb)
    write(tmp_path, 7)
    assert read_newest_checkpoint(tmp_path).state.step == 7


def test_write_durably_never_overwrites(tmp_path: Path):
    write_durably(tmp_path / "a", b"old")
    with pytest.raises(FileExistsError):
        write_durably(tmp_path / "a", b"new")


def test_replace_durably_leaves_old_or_new(tmp_path: Path, monkeypatch):
    path = tmp_path / "a"
    replace_durably(path, b"old")
    replace_durably(path, b"new")
    assert path.read_bytes() == b"new"
    monkeypatch.setattr(os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError(5, "Input/output error")))
    with pytest.raises(OSError, match="Input/output error"):
        replace_durably(path, b"newest")
    assert path.read_bytes() == b"new"
