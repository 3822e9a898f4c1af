"""Ways past what guards a format: a checksum or a grammar would refuse nearly every mutant before any decoder sees it.

Every other mutant of such a format is made inside: the part that is behind the guard is changed, and then packed as a
careful attacker would pack it.
"""

import io
import json
import re
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

import numpy as np

_PNG_START = 8
_PNG_FRAME = 12  # length, kind and checksum of a chunk
_LENGTH_BYTES = 8
_GLB_HEAD = 20
_OGG_HEAD, _OGG_CHECKSUM = 27, 22

_TEXT = rb'"(?:[^"\\]|\\.)*"'
_KEY_OR_VALUE = re.compile(rb"(?P<key>%s\s*:)|(?P<value>%s|-?\d[\d.eE+-]*|true|false|null|\[\]|\{\})" % (_TEXT, _TEXT))
Change: TypeAlias = Callable[[bytearray, bytes, tuple[bytes, ...], np.random.Generator], None]
_NUMBER = re.compile(rb"-?\d[\d.eE+-]*")
_OTHER_NUMBERS = (b"0", b"-1", b"-2", b"7", b"-0.5", b"1e-320", b"1e38", b"1e308", b"1e999", b"4294967296", b"9" * 30)
_OTHER_VALUES = (
    *(b"0", b"-1", b"1", b"2", b"1e308", b"-0.5", b"999999999999999999", b"1e999", b"true", b"null"),
    *(b'""', b'"x"', b"[]", b"{}", b"[0]", b'{"a":0}', b'"../../x"', b'"\\ud800"'),
)


@dataclass(frozen=True)
class Inside:
    """How to get behind a guard.

    Attributes:
        take: returns what is behind it, of a valid file.
        put: makes a file of a valid one and of what shall be behind its guard.
        change: how it is changed; None: as any other file is.
    """

    take: Callable[[bytes], bytes]
    put: Callable[[bytes, bytes], bytes]
    change: Change | None = None


def nudge(content: bytearray, seed: bytes, words: tuple[bytes, ...], random: np.random.Generator) -> None:
    """Changes the lowest bit of a byte: a digit stays a digit, and what follows stays where it was."""
    content[int(random.integers(len(content)))] ^= 1


def nudge_behind_the_tables(
    content: bytearray, seed: bytes, words: tuple[bytes, ...], random: np.random.Generator
) -> None:
    """Does as `nudge` in the second half: in the first lie the tables without which no sound can be told at all."""
    content[-1 - int(random.integers(len(content) // 2))] ^= 1


def change_value(content: bytearray, seed: bytes, words: tuple[bytes, ...], random: np.random.Generator) -> None:
    """Puts another value, made up or from elsewhere in the file, in the place of one JSON value."""
    found = [match for match in _KEY_OR_VALUE.finditer(content) if match["value"]]
    if not found:
        return
    old = found[int(random.integers(len(found)))]
    other = found[int(random.integers(len(found)))].group()
    new = other if random.random() < 0.3 else _OTHER_VALUES[int(random.integers(len(_OTHER_VALUES)))]
    content[old.start() : old.end()] = new


def change_number(content: bytearray, seed: bytes, words: tuple[bytes, ...], random: np.random.Generator) -> None:
    """Puts another number, made up or from elsewhere in the file, in the place of one in a text."""
    found = list(_NUMBER.finditer(content))
    old = found[int(random.integers(len(found)))]
    other = found[int(random.integers(len(found)))].group()
    new = other if random.random() < 0.3 else _OTHER_NUMBERS[int(random.integers(len(_OTHER_NUMBERS)))]
    content[old.start() : old.end()] = new


def _png_sealed(seed: bytes, content: bytes) -> bytes:
    """Gives each chunk that can be made out its checksum."""
    sealed = bytearray(content)
    place = _PNG_START
    while place + _PNG_FRAME <= len(sealed):
        end = place + _PNG_FRAME + int.from_bytes(sealed[place : place + 4], "big")
        if end > len(sealed):
            break
        sealed[end - 4 : end] = zlib.crc32(sealed[place + 4 : end - 4]).to_bytes(4, "big")
        place = end
    return bytes(sealed)


@cache
def _ogg_table() -> tuple[int, ...]:
    table = []
    for number in range(256):
        value = number << 24
        for _ in range(8):
            value = (value << 1) ^ (0x04C11DB7 if value & 0x80000000 else 0)
        table.append(value & 0xFFFFFFFF)
    return tuple(table)


def _ogg_sealed(seed: bytes, content: bytes) -> bytes:
    """Gives each page its checksum; a page reaches to the next one."""
    starts = [match.start() for match in re.finditer(b"OggS", content)]
    sealed = bytearray(content)
    for start, end in zip(starts, [*starts[1:], len(content)], strict=True):
        if end - start < _OGG_HEAD:
            continue
        sealed[start + _OGG_CHECKSUM : start + _OGG_CHECKSUM + 4] = bytes(4)
        value = 0
        for byte in sealed[start:end]:
            value = ((value << 8) & 0xFFFFFFFF) ^ _ogg_table()[(value >> 24) ^ byte]
        sealed[start + _OGG_CHECKSUM : start + _OGG_CHECKSUM + 4] = value.to_bytes(4, "little")
    return bytes(sealed)


def _member(seed: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(seed)) as archive:
        return archive.read(archive.namelist()[0])


def _zipped(seed: bytes, content: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("arr_0.npy", (2020, 1, 1, 0, 0, 0)), content)
    return stream.getvalue()


def _header(seed: bytes) -> bytes:
    return seed[_LENGTH_BYTES : _LENGTH_BYTES + int.from_bytes(seed[:_LENGTH_BYTES], "little")]


def _entry(seed: bytes) -> bytes:
    (text,) = json.loads(_header(seed))["__metadata__"].values()
    return text.encode()


def _with_entry(seed: bytes, entry: bytes) -> bytes:
    """Packs what a model file says of itself before its weights, as text in a header of the right length."""
    header = json.loads(_header(seed))
    (name,) = header["__metadata__"]
    header["__metadata__"] = {name: entry.decode("utf-8", "replace")}
    content = json.dumps(header).encode()
    return len(content).to_bytes(_LENGTH_BYTES, "little") + content + seed[_LENGTH_BYTES + len(_header(seed)) :]


def _description(seed: bytes) -> bytes:
    return seed[_GLB_HEAD : _GLB_HEAD + int.from_bytes(seed[12:16], "little")]


def _with_description(seed: bytes, content: bytes) -> bytes:
    """Packs the description of a scene before its numbers, with the lengths that belong to it."""
    content += b" " * (-len(content) % 4)
    rest = seed[_GLB_HEAD + len(_description(seed)) :]
    size = _GLB_HEAD + len(content) + len(rest)
    return seed[:8] + size.to_bytes(4, "little") + len(content).to_bytes(4, "little") + seed[16:20] + content + rest


def _whole(seed: bytes) -> bytes:
    return seed


def _as_it_is(seed: bytes, content: bytes) -> bytes:
    return content


PNG = Inside(_whole, _png_sealed)
NPZ = Inside(_member, _zipped, nudge)
OGG = Inside(_whole, _ogg_sealed, nudge_behind_the_tables)
NEAR = Inside(_whole, _as_it_is, nudge)
JSON = Inside(_whole, _as_it_is, change_value)
NUMBERS = Inside(_whole, _as_it_is, change_number)
MODEL = Inside(_entry, _with_entry, change_value)
GLB = Inside(_description, _with_description, change_value)
