import json
import os
import pickle
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from perceptio.disk import Disk, replace_file, write_new
from perceptio.errors import DataError
from perceptio.training.checkpoint import (
    LoopState,
    is_whole,
    load_optimizer,
    optimizer_tensors,
    read_checkpoint,
    read_newest_checkpoint,
    weight_tensors,
    write_checkpoint,
)
from perceptio.training.checkpoint_folders import clear_leftovers, prune, steps_in
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


def write(folder: Path, step: int, *, keep: int | None = None, **options) -> Path:
    """Writes a checkpoint; with `keep` it prunes, as the loop does."""
    model, optimizer = make()
    path = write_checkpoint(folder, *contents(model, optimizer), replace(STATE, step=step), facts=FACTS, **options)
    if keep is not None:
        assert prune(folder, newest=step, best=STATE.best_step, keep=keep) == []
    return path


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


@pytest.mark.parametrize("name", FILES[1:])
def test_a_flipped_byte_of_any_other_file_is_noticed_or_changes_nothing(tmp_path: Path, name: str):
    """Of the manifest a byte may be no more than a space: then what is read is what was written."""
    file = write(tmp_path, 7) / name
    content = file.read_bytes()
    before = read_newest_checkpoint(tmp_path)
    num_unnoticed = 0
    for position in range(0, len(content), 1 if name.endswith(".json") else 7):
        file.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
        try:
            found = read_newest_checkpoint(tmp_path)
        except DataError:
            continue
        num_unnoticed += 1
        assert (found.state, found.facts) == (before.state, before.facts)
        assert all(torch.equal(found.model[key], before.model[key]) for key in before.model | found.model)
        assert all(torch.equal(found.optimizer[key], before.optimizer[key]) for key in before.optimizer)
    assert num_unnoticed == 0 or name == "manifest.json"


@pytest.mark.parametrize("seed", range(20))
def test_retention_keeps_what_matters_over_random_histories(tmp_path: Path, seed: int):
    """Saves, better results, damage, leftovers and returns to an older step, in any order."""
    random = np.random.default_rng(seed)
    model, optimizer = make()
    step, best, damaged = 0, None, set()
    for _ in range(40):
        step += int(random.integers(1, 4))
        if random.random() < 0.3:
            best = step
        state = replace(STATE, step=step, best_step=best)
        written = write_checkpoint(tmp_path, *contents(model, optimizer), state, facts=FACTS)
        damaged.discard(step)
        written_steps = sorted(int(path.name.removeprefix("step-")) for path in tmp_path.glob("step-*"))
        newest_three = [other for other in written_steps if other <= step][-3:]
        assert prune(tmp_path, newest=step, best=best, keep=3) == []
        there = steps_there(tmp_path)
        assert {*newest_three, best} - {None} <= set(there), "the newest three and the best stay"
        assert max(there) == step, "what was passed over is gone"
        bests = {read_checkpoint(tmp_path, other).state.best_step for other in there if other not in damaged}
        assert len(there) <= 3 + len(bests | {best})
        assert read_newest_checkpoint(tmp_path).path == written
        if random.random() < 0.2:
            shutil.copytree(written, written.with_name(f".tmp-{written.name}-{seed}"))
        if random.random() < 0.2 and len(set(there) - damaged) > 1:
            (written / "state.json").write_bytes(b"")
            damaged.add(step)
            went_on = read_newest_checkpoint(tmp_path).state
            step, best = went_on.step, went_on.best_step
            assert best is None or best in there, "the best that this one knows is there as well"


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
        with pytest.raises(
            DataError,
            match=r"no whole checkpoint in .*: no step-.. folder there\. There is nothing to go on from: start a new "
            r"run$",
        ):
            read_newest_checkpoint(folder)


def test_a_newer_format_is_refused_though_an_older_checkpoint_could_be_read(tmp_path: Path):
    write(tmp_path, 5)
    manifest = write(tmp_path, 7) / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_bytes()), "format": 3}))
    with pytest.raises(DataError) as refused:
        read_newest_checkpoint(tmp_path)
    told = "has format 3, this version reads up to 2: a newer Perceptio wrote it. Go on with that version"
    assert str(refused.value) == f"{manifest.parent} {told}"


@pytest.mark.parametrize("format", ["2", None, 0, [2]])
def test_a_format_that_never_was_is_damage(tmp_path: Path, format):
    manifest = write(tmp_path, 7) / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_bytes()), "format": format}))
    with pytest.raises(DataError, match=r"step-000000007: unknown format "):
        read_newest_checkpoint(tmp_path)


def test_a_checkpoint_under_another_steps_name_is_not_taken(tmp_path: Path):
    write(tmp_path, 7).rename(tmp_path / "step-000000009")
    with pytest.raises(DataError, match=r"step-000000009: it holds step 7"):
        read_newest_checkpoint(tmp_path)


def test_a_step_that_is_asked_for_is_taken_or_refused(tmp_path: Path):
    write(tmp_path, 5)
    write(tmp_path, 7)
    assert read_checkpoint(tmp_path, 5).state.step == 5
    with pytest.raises(DataError, match=r"no whole checkpoint of step 6 in .*: there is none\. Steps there: 7, 5$"):
        read_checkpoint(tmp_path, 6)


@pytest.mark.parametrize("stray", ["step-100.backup", "step-000000099.backup", "step-99", ".tmp-mine", "notes.txt"])
def test_strays_are_neither_read_nor_removed(tmp_path: Path, stray: str):
    shutil.copytree(write(tmp_path / "other", 99), tmp_path / stray)
    (tmp_path / "step-000000098").write_text("a file, no folder")
    for step in (5, 6, 99):
        write(tmp_path, step, keep=2)
    shutil.rmtree(tmp_path / "step-000000099")
    clear_leftovers(tmp_path, is_whole)
    assert read_newest_checkpoint(tmp_path).state.step == 6
    assert (tmp_path / stray / "model.safetensors").exists()


@pytest.mark.parametrize("name", ["step-000000007", "file"])
def test_what_bears_a_checkpoints_name_makes_room(tmp_path: Path, name: str):
    (tmp_path / "step-000000007").write_text("a file") if name == "file" else (tmp_path / name).mkdir()
    write(tmp_path, 7, keep=2)
    assert read_newest_checkpoint(tmp_path).state.step == 7
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000007"]


@pytest.mark.parametrize("kind", ["tmp", "trash", "pruned"])
def test_what_a_crash_left_behind_is_never_read_and_removed_at_the_next_start(tmp_path: Path, kind: str):
    leftover = tmp_path / f".{kind}-step-000000009-1-abcd"
    shutil.copytree(write(tmp_path / "other", 9), leftover)
    if kind == "trash":
        (leftover / "state.json").unlink()
    with pytest.raises(DataError, match=r"no step-.. folder there"):
        read_newest_checkpoint(tmp_path)
    assert clear_leftovers(tmp_path, is_whole) == []
    assert not leftover.exists()
    assert not (tmp_path / "step-000000009").exists()


def test_a_whole_checkpoint_that_made_room_for_one_that_never_came_goes_back(tmp_path: Path):
    write(tmp_path, 9).rename(tmp_path / ".trash-step-000000009-1-abcd")
    assert clear_leftovers(tmp_path, is_whole) == []
    assert read_newest_checkpoint(tmp_path).state.step == 9
    write(tmp_path / "other", 9).rename(tmp_path / ".trash-step-000000009-1-abcd")
    assert clear_leftovers(tmp_path, is_whole) == []
    assert [path.name for path in tmp_path.glob("*step*")] == ["step-000000009"]


def test_newer_folders_that_are_not_whole_are_passed_over_and_named(tmp_path: Path):
    write(tmp_path, 5)
    (write(tmp_path, 6) / "optimizer.safetensors").write_bytes(b"")
    found = read_newest_checkpoint(tmp_path)
    assert found.state.step == 5
    (problem,) = found.passed_over
    assert problem.startswith("step-000000006: optimizer.safetensors is damaged: 0 bytes, ")


def steps_there(folder: Path) -> list[int]:
    return sorted(int(path.name.removeprefix("step-")) for path in folder.iterdir())


def test_the_newest_are_kept_by_step_not_by_time(tmp_path: Path):
    for step in (30, 9, 100):
        write(tmp_path, step)
    assert prune(tmp_path, newest=100, best=None, keep=2) == []
    assert steps_there(tmp_path) == [30, 100]


def test_the_newest_three_and_the_best_are_kept(tmp_path: Path):
    for step in range(1, 10):
        write(tmp_path, step, keep=3)
    assert steps_there(tmp_path) == [5, 7, 8, 9]


def test_the_best_of_each_kept_checkpoint_is_kept(tmp_path: Path):
    """Should the newest be damaged, the run goes on from one that knows another best."""
    model, optimizer = make()
    for step, best in ((2, 2), (3, 2), (4, 2), (5, 5)):
        state = replace(STATE, step=step, best_step=best)
        write_checkpoint(tmp_path, *contents(model, optimizer), state, facts=FACTS)
        assert prune(tmp_path, newest=step, best=best, keep=2) == []
    assert steps_there(tmp_path) == [2, 4, 5]


def test_a_newer_one_that_was_passed_over_goes_when_there_is_a_new_one(tmp_path: Path):
    for step in (5, 6, 7, 8):
        write(tmp_path, step)
    for step in (7, 8):
        (tmp_path / f"step-{step:09d}" / "state.json").unlink()
    assert read_newest_checkpoint(tmp_path).state.step == 6
    write(tmp_path, 7, keep=2)
    assert steps_there(tmp_path) == [5, 6, 7]
    assert read_newest_checkpoint(tmp_path).state.step == 7


def test_the_same_step_can_be_written_again(tmp_path: Path):
    write(tmp_path, 7)
    write(tmp_path, 7)
    assert read_newest_checkpoint(tmp_path).state.step == 7


class Refusing(Disk):
    """A disk that fails one call of one kind, counted from 1."""

    def __init__(self, method: str, call: int, error: BaseException) -> None:
        self.calls = 0
        real = getattr(super(), method)

        def refuse(*arguments):
            self.calls += 1
            if self.calls == call:
                raise error
            return real(*arguments)

        setattr(self, method, refuse)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize(
    ("method", "call"),
    [("mkdir", 1), *(("create", n) for n in range(1, 5)), *(("write", n) for n in range(1, 5)),
     *(("sync", n) for n in range(1, 5)), *(("close", n) for n in range(1, 5)), ("sync_folder", 1), ("rename", 1)],
)  # fmt: skip
def test_a_failure_while_writing_leaves_the_old_ones_and_nothing_else(tmp_path: Path, method: str, call: int, error):
    write(tmp_path, 5)
    write(tmp_path, 6)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    refusing = Refusing(method, call, error)
    with pytest.raises(type(error)):
        write(tmp_path, 7, disk=refusing)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert read_newest_checkpoint(tmp_path).state.step == 6
    write(tmp_path, 7)
    assert read_newest_checkpoint(tmp_path).state.step == 7


def test_too_little_room_is_told_before_anything_is_written(tmp_path: Path):
    class Full(Disk):
        def free_bytes(self, folder: Path) -> int:
            return 3000

        def create(self, path: Path) -> int:
            raise AssertionError("nothing may be written")

    with pytest.raises(OSError, match=r"not enough room: \d,\d\d\d bytes needed, 3,000 free"):
        write(tmp_path, 7, disk=Full())
    assert list(tmp_path.iterdir()) == []


def test_a_rename_that_was_done_but_is_reported_as_failed_is_a_success(tmp_path: Path):
    """NFS: the answer is lost, the request is sent again, and by then there is nothing left to rename."""

    class Lying(Disk):
        def rename(self, source: Path, target: Path) -> None:
            super().rename(source, target)
            raise FileNotFoundError(2, "No such file or directory", str(source))

    write(tmp_path, 7, disk=Lying())
    write(tmp_path, 7, disk=Lying())
    assert read_newest_checkpoint(tmp_path).state.step == 7
    replace_file(tmp_path / "a", b"new", Lying())
    assert (tmp_path / "a").read_bytes() == b"new"


class Remembering(Disk):
    """A network's folder: its list of names is an old one, each name by itself is as it is now."""

    def __init__(self, folder: Path) -> None:
        self.old = super().names(folder)

    def names(self, folder: Path) -> list[str]:
        return self.old


def test_an_old_listing_that_lacks_the_newest_costs_steps_and_no_checkpoint(tmp_path: Path):
    for step in (3, 4):
        write(tmp_path, step)
    disk = Remembering(tmp_path)
    for step in (6, 7):
        write(tmp_path, step, disk=disk)
    assert read_newest_checkpoint(tmp_path, disk).state.step == 4
    # Going on from 4 comes to 6 again: the one that is there and was not listed makes room.
    write(tmp_path, 6, disk=disk)
    assert prune(tmp_path, newest=7, best=None, keep=2, disk=disk) == []
    assert steps_in(tmp_path) == [7, 6, 4, 3]
    # With a list of today, what was moved out of the way goes as well.
    assert prune(tmp_path, newest=7, best=None, keep=2) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000000006", "step-000000007"]


def test_an_old_listing_that_shows_what_is_gone_is_no_failure(tmp_path: Path):
    for step in (2, 3, 4, 6, 7):
        write(tmp_path, step)
    disk = Remembering(tmp_path)
    for step in (2, 7):
        shutil.rmtree(tmp_path / f"step-00000000{step}")
    found = read_newest_checkpoint(tmp_path, disk)
    assert found.state.step == 6
    assert [problem for problem in found.passed_over if "step-000000007" in problem]
    assert prune(tmp_path, newest=6, best=None, keep=2, disk=disk) == []
    assert steps_in(tmp_path) == [6, 4]


def test_a_failed_prune_is_told_and_harms_nothing(tmp_path: Path):
    """NFS keeps a deleted file that is still open as .nfs.., and then refuses to delete its folder."""

    class Clinging(Disk):
        def remove(self, path: Path) -> None:
            (path / ".nfs0001").touch()
            raise OSError(39, "Directory not empty", str(path))

    for step in (3, 4, 6, 7):
        write(tmp_path, step)
    problems = prune(tmp_path, newest=7, best=5, keep=2, disk=Clinging())
    assert [problem.partition(": ")[2] for problem in problems] == ["Directory not empty"] * 2
    assert all(re.match(rf"cannot delete {tmp_path}/\.pruned-step-00000000[34]-", problem) for problem in problems)
    assert read_newest_checkpoint(tmp_path).state.step == 7
    assert prune(tmp_path, newest=7, best=5, keep=2) == []
    assert steps_there(tmp_path) == [6, 7]
    (told,) = prune(tmp_path / "gone", newest=7, best=5, disk=Refusing("exists", 1, OSError(116, "Stale file handle")))
    assert told == f"cannot remove old checkpoints in {tmp_path / 'gone'}: Stale file handle"


def test_nothing_is_pickled(tmp_path: Path, monkeypatch):
    def bomb(*arguments, **options):
        raise AssertionError("pickle was called")

    for name in ("load", "loads", "dump", "dumps", "Unpickler", "Pickler"):
        monkeypatch.setattr(pickle, name, bomb)
    for name in ("load", "save"):
        monkeypatch.setattr(torch, name, bomb)
    write(tmp_path, 7)
    assert read_newest_checkpoint(tmp_path).state.step == 7


def test_a_new_file_is_never_written_over_an_old_one_and_keeps_the_umask(tmp_path: Path):
    before = os.umask(0o027)
    try:
        write_new(tmp_path / "a", b"old")
        replace_file(tmp_path / "b", b"old")
    finally:
        os.umask(before)
    assert [oct((tmp_path / name).stat().st_mode & 0o777) for name in "ab"] == ["0o640"] * 2
    with pytest.raises(FileExistsError):
        write_new(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"old"


def test_short_writes_are_gone_on_with(tmp_path: Path):
    class Slow(Disk):
        def write(self, file: int, content: memoryview) -> int:
            return os.write(file, content[:3])

    write_new(tmp_path / "a", b"0123456789", Slow())
    assert (tmp_path / "a").read_bytes() == b"0123456789"


@pytest.mark.parametrize("method", ["create", "write", "sync", "close", "rename"])
def test_replacing_a_file_leaves_old_or_new(tmp_path: Path, method: str):
    path = tmp_path / "a"
    replace_file(path, b"old")
    replace_file(path, b"new")
    with pytest.raises(OSError, match="Input/output error"):
        replace_file(path, b"newest", Refusing(method, 1, OSError(5, "Input/output error")))
    assert path.read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
