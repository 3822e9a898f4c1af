"""The walk of tar headers, with Python's tarfile as the oracle."""

import io
import random
import tarfile
from pathlib import Path

import pytest

from perceptio.data.limits import Limits
from perceptio.data.shards.tar import CutError, Entry, walk_tar
from perceptio.errors import FileError

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}
LONG = "folder/" * 40 + "é" * 30 + ".jpg"


def made(entries: list[tuple[tarfile.TarInfo, bytes]], **options) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", **options) as archive:
        for entry, content in entries:
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def file(name: str, content: bytes = b"content") -> tuple[tarfile.TarInfo, bytes]:
    return tarfile.TarInfo(name), content


def special(name: str, kind: bytes, target: str = "") -> tuple[tarfile.TarInfo, bytes]:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    return entry, b""


def walked(content: bytes, limits: Limits | None = None) -> list[Entry]:
    return list(walk_tar(io.BytesIO(content), len(content), limits or Limits()))


def with_checksum(header: bytearray) -> bytes:
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header):06o}\0 ".encode()
    return bytes(header)


@pytest.mark.parametrize("format", FORMATS)
def test_names_places_and_sizes_are_those_of_tarfile(format: str) -> None:
    names = ["a.jpg", "./b/c.jpg", "b/" * 60 + "d.jpg", "empty.txt", "é.png"] + ([LONG] if format != "ustar" else [])
    entries = [file(name, b"" if "empty" in name else name.encode() * number) for number, name in enumerate(names, 1)]
    content = made(
        [special("folder", tarfile.DIRTYPE), *entries, special("link", tarfile.SYMTYPE, "/etc/passwd")],
        format=FORMATS[format],
    )
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        expected = [
            (entry.name.removeprefix("./"), entry.offset_data, entry.size, entry.isreg())
            for entry in archive.getmembers()
        ]
    found = [(entry.name.rstrip("/"), entry.offset, entry.size, entry.is_file) for entry in walked(content)]
    assert found == expected
    assert sum(entry.is_file for entry in walked(content)) == len(names)


def test_a_size_in_binary_and_one_in_an_extended_header_are_read() -> None:
    header = bytearray(made([file("a.bin", b"x" * 700)], format=tarfile.USTAR_FORMAT))
    header[124:136] = b"\x80" + (700).to_bytes(11, "big")
    header[:512] = with_checksum(header[:512])
    assert walked(bytes(header)) == [Entry("a.bin", 512, 700, True)]
    entry, content = file("b.bin", b"y" * 600)
    entry.pax_headers = {"size": "600", "comment": "with a\nline"}
    assert walked(made([(entry, content)], format=tarfile.PAX_FORMAT))[0].size == 600


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"\x1f\x8b\x08" + bytes(600),
            r"^compressed \(gzip\), so that no member can be reached; unpack it to a plain .tar$",
        ),
        (b"BZh9" + bytes(600), r"^compressed \(bzip2\)"),
        (b"\xfd7zXZ\0" + bytes(600), r"^compressed \(xz\)"),
        (b"\x28\xb5\x2f\xfd" + bytes(600), r"^compressed \(zstandard\)"),
        (b"PK\x03\x04" + bytes(600), r"^compressed \(zip\)"),
        (b"<!DOCTYPE html>" + bytes(600), r"^damaged: no header of a member stands at byte 0$"),
        (b"", r"^cut off: it ends after 0 bytes, without the mark of its end$"),
    ],
)
def test_what_is_no_plain_tar_says_what_it_is(content: bytes, message: str) -> None:
    with pytest.raises(FileError, match=message):
        walked(content)


def test_a_negative_size_is_none() -> None:
    """A size that points backwards has made others loop for ever."""
    header = bytearray(made([file("a.bin")], format=tarfile.USTAR_FORMAT))
    for field in (b"\xff" * 11 + b"\x00", b"-0000000512\0", b"99999999999\0"):
        header[124:136] = field
        header[:512] = with_checksum(header[:512])
        with pytest.raises(CutError, match=r"^damaged: a member at byte 0 has no size$"):
            walked(bytes(header))


def test_a_size_beyond_the_file_is_a_cut_however_large() -> None:
    header = bytearray(made([file("a.bin")], format=tarfile.USTAR_FORMAT))
    header[124:136] = b"\x80" + (2**87).to_bytes(11, "big")
    header[:512] = with_checksum(header[:512])
    with pytest.raises(CutError, match=r"^cut off: it ends after 10,240 bytes, in the middle of a member$"):
        walked(bytes(header))


def test_whole_members_before_any_cut_are_found() -> None:
    content = made([file(f"{number}.bin", bytes([number]) * 700) for number in range(4)])
    whole = walked(content)
    for end in range(0, whole[-1].offset + 700, 97):
        found = []
        with pytest.raises(CutError, match=rf"^cut off: it ends after {end:,} bytes, (in the middle of a|without the)"):
            found.extend(walk_tar(io.BytesIO(content[:end]), end, Limits()))
        found = []
        try:
            for entry in walk_tar(io.BytesIO(content[:end]), end, Limits()):
                found.append(entry)
        except CutError:
            pass
        assert found == [entry for entry in whole if entry.offset + entry.size <= end]


def test_the_limits_hold() -> None:
    content = made([file("a"), file("b")])
    assert len(walked(content, Limits(max_shard_members=2))) == 2
    with pytest.raises(
        FileError, match=r"^has more than 1 members \(--source.limits.max-shard-members\); pack smaller shards$"
    ):
        walked(content, Limits(max_shard_members=1))
    content = made([file(LONG), file(f"2{LONG}")], format=tarfile.GNU_FORMAT)
    assert len(walked(content, Limits(max_shard_members=2))) == 2  # what gives them their long names is no member
    entry, body = file("a")
    entry.pax_headers = {"comment": "x" * 5000}
    content = made([(entry, body)], format=tarfile.PAX_FORMAT)
    message = r"^has an extended header of 5,\d+ bytes; the limit is 5,000 \(--source.limits.max-shard-header-bytes\)$"
    with pytest.raises(FileError, match=message):
        walked(content, Limits(max_shard_header_bytes=5000))


def test_extended_headers_without_end_are_refused() -> None:
    extended = bytearray(made([file("a", b"x")], format=tarfile.USTAR_FORMAT)[:1024])
    extended[156:157] = b"L"
    extended[:512] = with_checksum(extended[:512])
    member = made([file("a")])
    assert [entry.name for entry in walked(bytes(extended) * 8 + member)] == ["x"]
    message = r"^has more than 8 extended headers before one member; pack it anew$"
    with pytest.raises(FileError, match=message):
        walked(bytes(extended) * 9 + member)


def test_sparse_members_are_refused() -> None:
    header = bytearray(made([file("a.bin")], format=tarfile.USTAR_FORMAT))
    header[156:157] = b"S"
    header[:512] = with_checksum(header[:512])
    with pytest.raises(FileError, match=r"^has a sparse member, which is not read; pack it anew$"):
        walked(bytes(header))
    entry, content = file("a")
    entry.pax_headers = {"GNU.sparse.major": "1"}
    with pytest.raises(FileError, match=r"^has a sparse member"):
        walked(made([(entry, content)], format=tarfile.PAX_FORMAT))


@pytest.mark.parametrize(
    ("record", "message"),
    [
        *(
            (text, "an extended header is no list of lengths and values")
            for text in (b"999 path=x\n", b"0 path=x\n", b"path=x\n", b"4 =\n\n")
        ),
        (b"17 size=-1234567\n", "an extended header gives a size that is no number"),
    ],
)
def test_a_damaged_extended_header_is_a_cut(record: bytes, message: str) -> None:
    content = bytearray(made([file("a", record.ljust(20, b"\0")), file("b")], format=tarfile.USTAR_FORMAT))
    content[156:157] = b"x"
    content[:512] = with_checksum(content[:512])
    with pytest.raises(CutError, match=rf"^damaged: .*{message}$"):
        walked(bytes(content))


def test_flipped_bytes_raise_nothing_but_file_errors_and_always_end(tmp_path: Path) -> None:
    content = made([file("a.jpg", b"x" * 300), file(LONG, b"y" * 900), file("c.txt")], format=tarfile.PAX_FORMAT)
    draw = random.Random(0)
    refused = 0
    for _ in range(2000):
        changed = bytearray(content)
        for _ in range(draw.choice((1, 1, 4))):
            place = draw.choice((draw.randrange(len(content)), draw.randrange(512)))
            changed[place] = draw.choice((0, 0x80, 0xFF, draw.randrange(256)))
        if draw.random() < 0.5:
            start = 512 * draw.randrange(len(content) // 512)
            changed[start : start + 512] = with_checksum(changed[start : start + 512])
        try:
            for entry in walked(bytes(changed)):
                assert 512 <= entry.offset <= entry.offset + entry.size <= len(changed)
        except FileError as error:
            refused += "\n" not in str(error)
    assert 200 < refused < 1900
