import io
import os
from pathlib import Path

import numpy as np
import pytest

from perceptio.data.cloud_cache import CloudCache
from perceptio.data.duplicates import find_duplicates
from perceptio.data.items import Member, open_file, size_of, version_of
from perceptio.data.limits import Limits, check_file
from perceptio.data.records import FileSource, Record, error_of_part
from perceptio.data.shards.places import LocalShard
from perceptio.errors import FileError
from support.shards import in_shard

CONTENT = bytes(range(256)) * 40


@pytest.fixture
def member(tmp_path: Path) -> Member:
    path = tmp_path / "a.bin"
    path.write_bytes(CONTENT)
    (tmp_path / "shards").mkdir()
    return in_shard(path, tmp_path / "shards")


def test_a_member_shows_its_own_bytes_and_nothing_around_them(member: Member) -> None:
    with open_file(member) as stream:
        assert stream.read() == CONTENT
        assert stream.read(1) == b""
        assert stream.seek(-3, io.SEEK_END) == len(CONTENT) - 3
        assert stream.read(100) == CONTENT[-3:]
        stream.seek(len(CONTENT) + 50)
        assert stream.read(1) == b""
        stream.seek(5)
        assert (stream.read(2), stream.tell()) == (CONTENT[5:7], 7)
        with pytest.raises(OSError, match=r"cannot go 1 bytes before the beginning$"):
            stream.seek(-1)
        with pytest.raises(io.UnsupportedOperation):
            stream.fileno()  # whoever had it would read from the shard's first byte
    assert (size_of(member), check_file(member, None, Limits()), member.name) == (len(CONTENT), len(CONTENT), "a.bin")


def test_the_limit_of_members_is_named(member: Member) -> None:
    assert check_file(member, None, Limits(max_member_bytes=len(CONTENT))) == len(CONTENT)
    message = r"^has 10,240 bytes; the limit of a shard's members is 10,239 \(--source.limits.max-member-bytes\)$"
    with pytest.raises(FileError, match=message):
        check_file(member, None, Limits(max_member_bytes=len(CONTENT) - 1))


def test_the_header_before_a_member_must_be_its_own(member: Member) -> None:
    shard = member.shard
    for other in (
        Member("b.bin", shard, member.offset, member.size),
        Member(member.name, shard, member.offset, member.size - 1),
        Member(member.name, shard, member.offset + 512, member.size),
        Member(member.name, shard, member.offset - 1, member.size),
        Member(member.name, shard, 10**9, member.size),
    ):
        message = r"^its shard is another one than was indexed: something else stands in its place$"
        with pytest.raises(FileError, match=message):
            open_file(other)


def test_a_shard_that_lost_its_end_or_is_gone_is_the_members_fault(member: Member) -> None:
    shard = member.shard
    assert isinstance(shard, LocalShard)
    os.truncate(shard.path, member.offset + 100)
    with open_file(member) as stream, pytest.raises(FileError, match=r"^its shard ends in the middle of it$"):
        stream.read()
    shard.path.unlink()
    with pytest.raises(FileError, match=r"^its shard \w+\.tar: no such file$"):
        open_file(member)


def test_a_version_is_another_one_when_the_file_may_be(member: Member, tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    assert version_of(path) != version_of(member)
    before = version_of(path)
    os.utime(path, ns=(1, 1))
    assert version_of(path) != before
    before, times = version_of(path), (path.stat().st_atime_ns, path.stat().st_mtime_ns)
    path.write_bytes(path.read_bytes()[::-1])
    os.utime(path, ns=times)
    assert version_of(path) != before, "though size and time of modification are what they were"
    shard = member.shard
    assert isinstance(shard, LocalShard)
    os.utime(shard.path, ns=(1, 1))
    assert version_of(Member(member.name, LocalShard.of(shard.path), member.offset, member.size)) != version_of(member)
    cache = CloudCache(tmp_path / "cache")
    keys = {cache.key(member, "a"), cache.key(member, "b"), cache.key(path, "a"), cache.key(tmp_path / "none", "a")}
    assert len(keys) == 4


def test_an_error_names_the_part_of_members_as_of_files(member: Member) -> None:
    assert str(error_of_part(FileError("bad"), "image", member)) == "image (a.bin): bad"
    assert str(error_of_part(FileError("bad"), "image", np.zeros(3))) == "bad"


def test_copies_are_found_among_members_and_files(member: Member, tmp_path: Path) -> None:
    class Mixed(FileSource):
        def load(self, record: Record):
            return {"": member} if record.name == "m" else super().load(record)

    records = tuple(Record(name=name, labels=("x",)) for name in ("a.bin", "m"))
    source = Mixed(records=records, classes=("x", "y"), multi_label=False, notes=(), root=tmp_path)
    assert find_duplicates(source, records) == (("a.bin", "m"),)
