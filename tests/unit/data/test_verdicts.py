"""The cache of verdicts: what is kept comes back, and whatever is wrong with the folder costs time and nothing else."""

import json
import os
import resource
import time
from pathlib import Path

import pytest

from perceptio.data import verdicts
from perceptio.data.verdicts import VerdictCache, digest

FACTS = {"version 1": {"size": [3, 4]}, "version \udcff": None, "version 3": [0.5, "x", True]}


@pytest.fixture
def cache(tmp_path: Path) -> VerdictCache:
    return VerdictCache(tmp_path / "deep" / "verdicts")


def test_what_is_kept_comes_back_and_only_for_its_key(cache: VerdictCache) -> None:
    assert cache.read("key") == {}
    cache.write("key", FACTS)
    cache.write("other", {})
    assert cache.read("key") == FACTS
    assert cache.read("other") == cache.read("third") == {}
    cache.write("key", {"version 4": 1})
    assert cache.read("key") == {"version 4": 1}
    assert len(list(cache.folder.iterdir())) == 2
    assert cache.folder.stat().st_mode & 0o077 == 0


def test_another_version_of_the_format_is_not_read(cache: VerdictCache, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.write("key", FACTS)
    monkeypatch.setattr(verdicts, "FORMAT_VERSION", verdicts.FORMAT_VERSION + 1)
    assert cache.read("key") == {}


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe",
        b'["a", 1',
        b'["a"]\n',
        b'["a", 1, 2]\n',
        b"7\n",
        b"null\n",
        b'["a", NaN]\n',
        b"[" * 99,
        b'["a", ' + b"9" * 99 + b"]\n",
        b"\0" * 50,
    ],
)
def test_a_broken_entry_is_ignored_as_a_whole_and_written_anew(cache: VerdictCache, content: bytes) -> None:
    cache.write("key", FACTS)
    (path,) = cache.folder.iterdir()
    path.write_bytes(path.read_bytes() + content)
    assert cache.read("key") == {}
    cache.write("key", FACTS)
    assert cache.read("key") == FACTS


def test_an_entry_beyond_the_limit_is_not_read(cache: VerdictCache, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.write("key", FACTS)
    (path,) = cache.folder.iterdir()
    monkeypatch.setattr(verdicts, "_MAX_BYTES", path.stat().st_size)
    assert cache.read("key") == FACTS
    monkeypatch.setattr(verdicts, "_MAX_BYTES", path.stat().st_size - 1)
    assert cache.read("key") == {}


def test_a_full_disk_leaves_the_old_entry_and_no_litter(cache: VerdictCache) -> None:
    cache.write("key", FACTS)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        cache.write("key", {"n" * 1_000: 1})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert cache.read("key") == FACTS
    assert len(list(cache.folder.iterdir())) == 1


@pytest.mark.parametrize("in_the_way", ["a file", "a link to nothing"])
def test_a_folder_that_cannot_be_made_is_let_be(cache: VerdictCache, in_the_way: str) -> None:
    if in_the_way == "a file":
        cache.folder.parent.write_text("x")
    else:
        cache.folder.parent.symlink_to("nothing")
        cache.folder.parent.parent.joinpath("nothing").write_text("x")
    cache.write("key", FACTS)
    assert cache.read("key") == {}


def test_old_entries_are_forgotten(cache: VerdictCache) -> None:
    cache.write("old", FACTS)
    (path,) = cache.folder.iterdir()
    os.utime(path, 2 * (time.time() - 91 * 24 * 3600,))
    cache.write("new", FACTS)
    assert (cache.read("old"), cache.read("new")) == ({}, FACTS)


def test_it_lies_in_the_users_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert VerdictCache.of_user() == VerdictCache(tmp_path / "x" / "perceptio" / "verdicts")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for given in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", given)
        assert VerdictCache.of_user() == VerdictCache(tmp_path / "home" / ".cache" / "perceptio" / "verdicts")


def test_without_a_home_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "")

    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    assert VerdictCache.of_user() is None


def test_an_entry_is_what_it_says(cache: VerdictCache) -> None:
    cache.write("key", FACTS)
    (path,) = cache.folder.iterdir()
    assert path.name == f"{digest(str(verdicts.FORMAT_VERSION), 'key')}.jsonl"
    assert dict(map(json.loads, path.read_text("utf-8").splitlines())) == FACTS


def test_texts_are_told_apart() -> None:
    names = {digest("ab", "c"), digest("a", "bc"), digest("abc"), digest("abc", ""), digest("\udcff"), digest("ÿ")}
    assert len(names) == 6
