"""Seeded mutants of valid files, and what reading one does."""

import tempfile
import traceback
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from perceptio.data.children import Allowance, Children
from perceptio.data.limits import Limits
from perceptio.errors import DataError, FileError, UsageError
from perceptio.modalities.registry import find_modality
from perceptio.modalities.streams import StreamReader, single_stream
from support.fuzz_seeds import FORMATS, seed_of

ALLOWANCE = Allowance(seconds=10, memory_bytes=2 * 2**30)
MOST_PEAK_BYTES = 2**30
_MOST_CHANGES = 4
_MOST_CUT_BYTES = 64
_MEMORY = Path("/dev/shm")  # files that are never written to a disk


def mutant(seed: bytes, name: str, number: int) -> bytes:
    """Returns the mutant of a number: one to four changes of a valid file, the same each time."""
    random = np.random.default_rng([zlib.crc32(name.encode()), number])
    inside = FORMATS[name].inside if number % 2 else None
    content = bytearray(seed if inside is None else inside.take(seed))
    for _ in range(int(random.integers(1, _MOST_CHANGES + 1))):
        if content:
            change = _CHANGES[int(random.integers(len(_CHANGES)))]
            if inside is not None and inside.change is not None:
                change = inside.change
            change(content, seed, FORMATS[name].words, random)
    return bytes(content) if inside is None else inside.put(seed, bytes(content))


def _flip(content: bytearray, seed: bytes, words: tuple[bytes, ...], random: np.random.Generator) -> None:
    for _ in range(int(random.integers(1, 9))):
        content[int(random.integers(len(content)))] ^= 1 << int(random.integers(8))


def _cut(content: bytearray, seed: bytes, words: tuple[bytes, ...], random: np.random.Generator) -> None:
    start = int(random.integers(len(content)))
    # One in four loses its end, the others a few bytes somewhere.
    end = len(content) if random.random() < 0.25 else start + int(random.integers(1, _MOST_CUT_BYTES))
    del content[start:end]


def _splice(content: bytearray, seed: bytes, words: tuple[bytes, ...], random: np.random.Generator) -> None:
    start = int(random.integers(len(seed)))
    piece = seed[start : start + int(random.integers(1, 4 * _MOST_CUT_BYTES))]
    place = int(random.integers(len(content)))
    content[place : place + (len(piece) if random.random() < 0.5 else 0)] = piece


def _length(content: bytearray, seed: bytes, words: tuple[bytes, ...], random: np.random.Generator) -> None:
    size = int(random.choice([1, 2, 4, 8]))
    if len(content) < size:
        return
    place = int(random.integers(len(content) - size + 1))
    order = "little" if random.random() < 0.5 else "big"
    value = int.from_bytes(content[place : place + size], order)
    top = 256**size - 1
    changed = (0, value - 1, value + 1, top, top // 2, top // 2 + 1, 2 * value)[int(random.integers(7))]
    content[place : place + size] = (changed & top).to_bytes(size, order)


def _word(content: bytearray, seed: bytes, words: tuple[bytes, ...], random: np.random.Generator) -> None:
    if words:
        word = words[int(random.integers(len(words)))]
        place = int(random.integers(len(content)))
        content[place : place + (len(word) if random.random() < 0.5 else 0)] = word


_CHANGES = (_flip, _cut, _splice, _length, _word)


@dataclass(frozen=True)
class Reading:
    """Reads mutants, named by format and number, as the product does; runs in a child process."""

    seeds: Mapping[str, bytes]

    def __call__(self, job: tuple[str, int]) -> dict[str, Any]:
        name, number = job
        return read_as_the_product_does(name, mutant(self.seeds[name], name, number))


def read_as_the_product_does(name: str, content: bytes) -> dict[str, Any]:
    """Returns whether a file got past its header, what it was refused for, and what went wrong that may not."""
    past = [False]
    with tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as folder:
        path = Path(folder) / f"mutant{FORMATS[name].suffix}"
        path.write_bytes(content)
        try:
            _READ[FORMATS[name].kind](path, past)
        except (FileError, DataError, UsageError) as error:
            lines = str(error).splitlines()
            return {"past": past[0], "reason": str(error), "fault": "" if len(lines) == 1 else "several lines"}
        except MemoryError:
            raise
        except Exception:
            return {"past": past[0], "reason": "", "fault": traceback.format_exc()}
    return {"past": True, "reason": "", "fault": ""}


@cache
def _reader(kind: str) -> Any:
    modality = find_modality(kind)()
    if kind == "array":
        modality = type(modality)(axes=(5,), channels=12)
    if kind == "video":
        modality = type(modality)(num_frames=4, size=(16, 16))
    return StreamReader(single_stream(modality), Limits())


def _read_sample(kind: str, path: Path, past: list[bool]) -> None:
    reader = _reader(kind)
    reader.look({"": path}, False)
    past[0] = True
    failure: FileError | None = None
    # What one way of reading refuses another may take, and the other way round.
    for read in (
        lambda: reader.look({"": path}, True),
        lambda: reader.evaluation_views({"": path}),
        lambda: reader.training_view({"": path}, np.random.default_rng(0)),
    ):
        try:
            read()
        except FileError as error:
            failure = error
    if failure is not None:
        raise failure


def _read_table(path: Path, past: list[bool]) -> None:
    from perceptio.data import manifest, manifest_rows

    read_rows = manifest_rows.TEXT_ROW_READERS.get(path.suffix)
    if read_rows is None:
        _read_parquet(path, past)
        return
    try:
        past[0] = next(iter(read_rows(path, Limits())), None) is not None
    except DataError:
        past[0] = False
    manifest.read_manifest(path, Limits())


def _read_parquet(path: Path, past: list[bool]) -> None:
    """Does in this process, which is a child, what `read_parquet_rows` does in a child of its own."""
    from perceptio.data import manifest, parquet_rows

    class Here:
        def __init__(self, work: Any, allowance: Allowance, **options: Any) -> None:
            self.map = lambda parts: map(work, parts)

        def __enter__(self) -> "Here":
            return self

        def __exit__(self, *error: object) -> None:
            pass

    try:
        parquet_rows.ParquetReader(str(path), ())(-1)
        past[0] = True
    except DataError:
        past[0] = False
    with patch.object(parquet_rows, "Children", Here):
        manifest.read_manifest(path, Limits())


def _read_json(path: Path, past: list[bool]) -> None:
    from perceptio.json_values import parse_json
    from perceptio.runs.folder import read_config

    try:
        parse_json(path.read_bytes())
        past[0] = True
    except ValueError:
        past[0] = False
    read_config(path)


def _read_model(path: Path, past: list[bool]) -> None:
    from perceptio.data.tensor_file import read_tensor_header
    from perceptio.runs.model_file import read_model

    try:
        read_tensor_header(path)
        past[0] = True
    except ValueError:
        past[0] = False
    read_model(path)


_READ = {
    **{
        kind: (lambda path, past, kind=kind: _read_sample(kind, path, past))
        for kind in ("image", "audio", "video", "points", "array")
    },
    "table": _read_table,
    "json": _read_json,
    "model": _read_model,
}


@dataclass
class Tally:
    """What became of many mutants of one format."""

    num_mutants: int = 0
    num_past: int = 0
    num_read: int = 0
    num_harmful: int = 0
    harm: Counter[str] = field(default_factory=Counter)
    harmful: list[int] = field(default_factory=list)
    faults: dict[int, str] = field(default_factory=dict)
    reasons: Counter[str] = field(default_factory=Counter)
    peak_bytes: int = 0

    def add(self, number: int, answer: Any) -> None:
        """Counts an answer of `Reading`, or the error that stands for a child's death."""
        self.num_mutants += 1
        if isinstance(answer, FileError):
            self.num_harmful += 1
            self.harm[str(answer)] += 1
            self.harmful.append(number)
            return
        self.num_past += answer["past"]
        self.num_read += not answer["reason"] and not answer["fault"]
        self.reasons[answer["reason"][:60]] += bool(answer["reason"])
        if answer["fault"]:
            self.faults[number] = answer["fault"]


def run(names: Sequence[str], numbers: Sequence[int], *, num_children: int | None = None) -> Mapping[str, Tally]:
    """Reads mutants of some formats in child processes and says what became of them, by format.

    The peak of memory is that of all formats together.
    """
    tallies = {name: Tally() for name in names}
    jobs = [(name, number) for name in names for number in numbers]
    reading = Reading({name: seed_of(name) for name in names})
    with Children(reading, ALLOWANCE, num_children=num_children, jobs_a_message=16) as children:
        for (name, number), answer in zip(jobs, children.map(jobs), strict=True):
            tallies[name].add(number, answer)
    for tally in tallies.values():
        tally.peak_bytes = children.peak_bytes
    return tallies
