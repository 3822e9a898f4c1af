"""A save that is cut short at any call leaves the old checkpoint or the new one; and this test would notice if not."""

from pathlib import Path

import pytest

from perceptio.training import checkpoint, checkpoint_folders
from support.crash_disk import CrashDisk
from support.crashes import count_crashes


def test_a_save_that_is_cut_short_at_any_call_leaves_old_or_new():
    crashes, broken = count_crashes(range(3))
    assert broken == []
    assert crashes >= 1000


def no_sync(monkeypatch):
    monkeypatch.setattr(CrashDisk, "sync", lambda self, file: None)


def no_sync_of_the_new_folder(monkeypatch):
    sync = CrashDisk.sync_folder
    monkeypatch.setattr(
        CrashDisk, "sync_folder", lambda self, folder: None if ".tmp" in folder.name else sync(self, folder)
    )


def no_sync_after_the_rename(monkeypatch):
    sync, write = CrashDisk.sync_folder, checkpoint.write_checkpoint
    of_parent = lambda self, folder: None if folder.name == "checkpoints" else sync(self, folder)  # noqa: E731

    def without(*arguments, **named):
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(CrashDisk, "sync_folder", of_parent)
            return write(*arguments, **named)

    monkeypatch.setattr("support.crashes.write_checkpoint", without)


def no_sync_before_deleting(monkeypatch):
    sync, prune = CrashDisk.sync_folder, checkpoint_folders.prune
    nothing = lambda self, folder: None  # noqa: E731

    def without(*arguments, **named):
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(CrashDisk, "sync_folder", nothing)
            return prune(*arguments, **named)

    assert sync is not nothing
    monkeypatch.setattr("support.crashes.prune", without)


def no_rename(monkeypatch):
    """The checkpoint is written under its own name."""
    aside = checkpoint.aside
    monkeypatch.setattr(checkpoint, "aside", lambda path, why: path if why == "tmp" else aside(path, why))
    monkeypatch.setattr(checkpoint, "_put_in_place", lambda temporary, target, disk: None)


def manifest_first(monkeypatch):
    write = checkpoint.write_new
    late = []

    def write_late(path: Path, content: bytes, disk: CrashDisk) -> None:
        if path.name != "manifest.json":
            late.append((path, content))
            return
        write(path, content, disk)
        for other in late:
            write(*other, disk)
        late.clear()

    def start_anew(*arguments, **named):
        late.clear()
        return real(*arguments, **named)

    real = checkpoint.write_checkpoint
    monkeypatch.setattr("support.crashes.write_checkpoint", start_anew)
    monkeypatch.setattr(checkpoint, "write_new", write_late)


def short_writes_are_believed(monkeypatch):
    def write_once(path: Path, content: bytes, disk: CrashDisk) -> None:
        file = disk.create(path)
        disk.write(file, memoryview(content))
        disk.sync(file)
        disk.close(file)

    monkeypatch.setattr(checkpoint, "write_new", write_once)


def the_older_attempt_is_deleted(monkeypatch):
    def put(temporary: Path, target: Path, disk: CrashDisk) -> None:
        if disk.exists(target):
            disk.remove(target)
        disk.rename(temporary, target)

    monkeypatch.setattr(checkpoint, "_put_in_place", put)


def victims_are_deleted_in_place(monkeypatch):
    monkeypatch.setattr(checkpoint_folders, "move", lambda source, target, disk: disk.remove(source))


@pytest.mark.parametrize(
    "removal",
    [
        no_sync,
        no_sync_of_the_new_folder,
        no_sync_after_the_rename,
        no_sync_before_deleting,
        no_rename,
        manifest_first,
        short_writes_are_believed,
        the_older_attempt_is_deleted,
        victims_are_deleted_in_place,
    ],
)
def test_each_part_of_the_recipe_is_needed(monkeypatch, removal):
    removal(monkeypatch)
    _, broken = count_crashes(range(2), stop_at_first=True)
    assert broken
