"""The cache of clouds: what an entry depends on, and that nothing that happens to it can do harm."""

import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest

from perceptio.data.cloud_cache import CloudCache


@pytest.fixture
def cache(tmp_path: Path) -> CloudCache:
    return CloudCache(tmp_path / "cache" / "clouds")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "data" / "a.off"
    path.parent.mkdir()
    path.write_bytes(b"one")
    return path


POINTS = np.random.default_rng(1).normal(size=(37, 6)).astype(np.float32)


def key(cache: CloudCache, file: Path, settings: str = "s") -> str:
    name = cache.key(file, settings)
    assert name is not None
    return name


def test_what_is_written_is_read_back_and_nothing_lies_beside_the_data(cache: CloudCache, file: Path) -> None:
    name = key(cache, file)
    assert cache.read(name, 37, 6) is None
    cache.write(name, POINTS)
    np.testing.assert_array_equal(cache.read(name, 37, 6), POINTS)
    assert [path.name for path in cache.folder.iterdir()] == [f"{name}.npy"]
    assert [path.name for path in file.parent.iterdir()] == ["a.off"]
    assert cache.folder.stat().st_mode & 0o777 == 0o700


def test_an_entry_depends_on_place_size_time_and_settings(cache: CloudCache, file: Path, tmp_path: Path) -> None:
    names = {key(cache, file), key(cache, file, "t")}
    os.utime(file, ns=(1, 1_000_000_007))
    names.add(key(cache, file))
    file.write_bytes(b"longer")
    os.utime(file, ns=(1, 1_000_000_007))
    names.add(key(cache, file))
    copy = tmp_path / "b.off"
    copy.write_bytes(b"longer")
    os.utime(copy, ns=(1, 1_000_000_007))
    names.add(key(cache, copy))
    assert len(names) == 5
    link = tmp_path / "link.off"
    link.symlink_to(file)
    assert key(cache, link) == key(cache, file)
    assert cache.key(tmp_path / "missing.off", "s") is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"rubbish",
        b"\x93NUMPY\x01\x00",
        "cut",
        np.zeros((37, 5), np.float32),
        np.zeros((38, 6), np.float32),
        np.zeros((0, 6), np.float32),
        np.zeros((37, 6), np.float64),
        np.zeros(37, np.float32),
        np.full((37, 6), np.nan, np.float32),
        np.array([[None] * 6]),
    ],
    ids=lambda value: f"{value.shape}{value.dtype}" if isinstance(value, np.ndarray) else str(value),
)
def test_entries_that_are_not_sound_are_ignored_and_replaced(cache: CloudCache, file: Path, content) -> None:
    name = key(cache, file)
    cache.write(name, POINTS)
    entry = cache.folder / f"{name}.npy"
    if isinstance(content, np.ndarray):
        np.save(entry, content, allow_pickle=True)
    else:
        entry.write_bytes(entry.read_bytes()[:-1] if content == "cut" else content)
    assert cache.read(name, 37, 6) is None
    cache.write(name, POINTS)
    np.testing.assert_array_equal(cache.read(name, 37, 6), POINTS)


def test_a_folder_that_cannot_be_written_does_no_harm(
    cache: CloudCache, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = key(cache, file)
    cache.folder.parent.mkdir()
    cache.folder.write_bytes(b"a file where the folder should be")
    cache.write(name, POINTS)
    assert cache.read(name, 37, 6) is None
    cache.folder.unlink()

    def full(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    cache.write(name, POINTS)
    assert list(cache.folder.iterdir()) == []


def write_often(folder: Path, name: str, value: int) -> None:
    for _ in range(50):
        CloudCache(folder).write(name, np.full((997, 3), value, np.float32))


def test_processes_that_race_never_show_half_an_entry(cache: CloudCache, file: Path) -> None:
    name = key(cache, file)
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=write_often, args=(cache.folder, name, value)) for value in (1, 2)]
    for writer in writers:
        writer.start()
    seen = set()
    while any(writer.is_alive() for writer in writers):
        points = cache.read(name, 997, 3)
        if points is not None:
            assert len(np.unique(points)) == 1
            seen.add(float(points[0, 0]))
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert seen <= {1.0, 2.0}
    assert len(list(cache.folder.iterdir())) == 1


def test_where_the_users_cache_lies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert CloudCache.of_user() == CloudCache(tmp_path / "perceptio" / "clouds")
    for value in ("", "relative/folder"):
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        assert CloudCache.of_user() == CloudCache(tmp_path / "home" / ".cache" / "perceptio" / "clouds")

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    assert CloudCache.of_user() is None
