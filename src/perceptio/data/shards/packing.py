"""Packs any source into tar shards: the same samples give the same bytes, and read back they are the same samples."""

import fcntl
import hashlib
import io
import json
import re
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from perceptio.data.failures import patiently
from perceptio.data.items import Item, open_file
from perceptio.data.limits import Limits, check_file
from perceptio.data.names import Split, is_not_a_sample, printable, suffix_of
from perceptio.data.pillow import pillow_image
from perceptio.data.records import MAIN, Record, Skipped, Source
from perceptio.data.shards.index import index_bytes
from perceptio.data.shards.patterns import CLASSES_NAME, INDEX_NAME
from perceptio.data.shards.scan import ABOUT, KEPT_FACTS, Label, ShardTable, split_key, why_refused
from perceptio.data.shards.source import splits_of
from perceptio.data.shards.tar import BLOCK_BYTES
from perceptio.disk import discard, refusal, replace_file, way_out
from perceptio.errors import DataError, FileError, PerceptioError, UsageError
from perceptio.randomness import generator

SHARD_BYTES = 256 * 2**20
_COPIED_BYTES = 2**20
_END = bytes(2 * BLOCK_BYTES)


@dataclass(frozen=True, kw_only=True)
class Packed:
    """What was written.

    Attributes:
        shards: the shards' file names.
        left_out: samples that could not be packed, with reasons.
    """

    shards: tuple[str, ...]
    num_samples: int
    num_bytes: int
    left_out: tuple[Skipped, ...]


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """How one sample is called in its shard.

    Attributes:
        files: extension by part.
        facts: what its .json member says; empty: it needs none.
    """

    record: Record
    key: str
    files: Mapping[str, str]
    facts: Mapping[str, Any]


def pack(
    source: Source,
    out: Path,
    *,
    name: str,
    splits: Mapping[str, Split] | None = None,
    shard_bytes: int = SHARD_BYTES,
    limits: Limits | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Packed:
    """Writes a source's samples to shards of about `shard_bytes`, with an index and the class names.

    Samples stand in a shuffled order, so that a few shards at a time hold all classes; a split has its own shards.

    Args:
        out: a folder that is new or empty.
        name: what shards are called, as in NAME-train-000000.tar.
        splits: split by name of each record; None: as the source gives them.

    Raises:
        UsageError: `out` is not empty, or `shard_bytes` too small.
        DataError: a class has blanks around its name, or the disk or the network that samples come from fails again and
            again.
        PerceptioError: the disk refuses what is written to it.
    """
    if shard_bytes < 2**16:
        raise UsageError(f"--shard-bytes must be at least 65,536: got {shard_bytes:,}")
    for label in source.classes:
        if label != label.strip():
            raise DataError(
                f"the class {label!r} has blanks around its name, which {CLASSES_NAME} cannot hold; rename it"
            )
    _make_empty(out)
    work = _Packing(source=source, out=out, limits=limits or Limits(), shard_bytes=shard_bytes)
    given = {record.name: splits[record.name] if splits else record.split for record in source.records}
    is_mixed = None in given.values() and len(set(given.values())) > 1
    groups = {None: list(source.records)} if is_mixed else _by_split(source.records, given)
    plans = _plans(source, given if is_mixed else {})
    done = 0
    try:
        for split, records in groups.items():
            order = generator(0, "pack", split or "").permutation(len(records))
            work.begin(f"{_safe(name)}{f'-{split}' if split else ''}")
            for index in order.tolist():
                work.add(plans[records[index].name])
                done += 1
                if progress is not None:
                    progress(done, len(source.records))
            work.finish_shard()
        return work.finish()
    finally:
        work.discard_unfinished()


def _make_empty(out: Path) -> None:
    """Makes a folder for shards, or removes from it what a killed pack left.

    Raises:
        UsageError: something else lies there, or another process packs into it.
    """
    if out.exists() and (not out.is_dir() or not all(_is_unfinished(path) for path in out.iterdir())):
        raise UsageError(f"{out} exists and is not an empty folder; choose another")
    out.mkdir(parents=True, exist_ok=True)
    for path in out.iterdir():
        with path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(f"another process packs into {out}; wait for it, or choose another folder") from None
            path.unlink()


def _unfinished(path: Path) -> Path:
    """Returns what a shard is called while it is written; readers pass it over."""
    return path.with_name(f".{path.name}.tmp")


def _is_unfinished(path: Path) -> bool:
    return path.name.startswith(".") and path.name.endswith(".tar.tmp") and path.is_file()


def _by_split(records: Sequence[Record], given: Mapping[str, Split | None]) -> dict[Split | None, list[Record]]:
    groups: dict[Split | None, list[Record]] = {}
    for split in ("train", "validation", "test", None):
        chosen = [record for record in records if given[record.name] == split]
        if chosen:
            groups[split] = chosen
    return groups


def _safe(name: str) -> str:
    """Returns a name for shards that no reader could take for the name of a split."""
    plain = re.sub(r"[^\w-]+", "-", name).strip("-")
    return plain if plain and not splits_of([plain])[0] else "samples"


def _plans(source: Source, splits: Mapping[str, Split | None]) -> dict[str, _Plan]:
    """Returns how each sample is called, by name. Names that WebDataset would cut elsewhere are kept in its .json."""
    keys = Counter(split_key(_parts_of(record)[0][1])[0] for record in source.records)
    used = set(keys)
    plans = {}
    for record in source.records:
        parts = _parts_of(record)
        own, extension = split_key(parts[0][1])
        key = own
        facts: dict[str, Any] = {}
        files = {MAIN: extension}
        is_plain = not record.parts and source.holds_files and keys[own] == 1 and key.rpartition("/")[2] != ""
        if not is_plain or "." in extension or extension in (*ABOUT, ""):
            stem = parts[0][1].removesuffix(suffix_of(parts[0][1])) if source.holds_files else record.name
            folder, slash, base = stem.rpartition("/")
            key = f"{folder}{slash}{base.replace('.', '_') or '_'}"
            while key in used and not (key == own and keys[own] == 1):
                key += "_"
            used.add(key)
            files = {part: suffix_of(name)[1:] for part, name in parts}
            if len(set(files.values())) < len(files):
                files = {part: f"{part}.{extension}" for part, extension in files.items()}
            facts["name"] = record.name
        if record.parts:
            facts["parts"] = files
        if source.multi_label:
            facts["labels"] = list(record.labels)
        if record.group is not None:
            facts["group"] = record.group
        if splits.get(record.name) is not None:
            facts["split"] = splits[record.name]
        plans[record.name] = _Plan(record=record, key=key, files=files, facts=facts)
    return plans


def _parts_of(record: Record) -> tuple[tuple[str, str], ...]:
    return record.parts or ((MAIN, record.name),)


@dataclass
class _Packing:
    """The shards as they are written."""

    source: Source
    out: Path
    limits: Limits
    shard_bytes: int
    tables: list[ShardTable] = field(default_factory=list)
    left_out: list[Skipped] = field(default_factory=list)
    num_samples: int = 0
    file: io.BufferedIOBase | None = None
    """The present shard, if there is one."""

    def __post_init__(self) -> None:
        self.numbers = {name: number for number, name in enumerate(self.source.classes)}

    def begin(self, name: str) -> None:
        self.name, self.number = name, 0

    def add(self, plan: _Plan) -> None:
        """Packs a sample, into a new shard where the present one is full."""
        record = plan.record
        try:
            contents = patiently(lambda: list(self._contents(plan)), printable(record.name))
        except FileError as error:
            self.left_out.append(Skipped(printable(record.name), str(error)))
            return
        label: Label = list(record.labels)
        if not self.source.multi_label:
            label = str(self.numbers[record.labels[0]])
            contents.append((f"{plan.key}.cls", label.encode(), False))
        if plan.facts:
            text = json.dumps(plan.facts, sort_keys=True, ensure_ascii=False)
            contents.append((f"{plan.key}.json", text.encode(), False))
        members = [(_header(name, len(content)), name, content, is_media) for name, content, is_media in contents]
        size = sum(len(header) + _padded(len(content)) for header, _, content, _ in members)
        if self.file is not None and self.position + size + len(_END) > self.shard_bytes:
            self.finish_shard()
        if self.file is None:
            self._begin_shard()
        table = self.tables[-1]
        sample = len(table.labels)
        if kept := {key: plan.facts[key] for key in KEPT_FACTS if key in plan.facts}:
            table.facts[str(sample)] = kept
        with self._writing(table.name, self.position + size):
            for header, name, content, is_media in members:
                self._write(header)
                if is_media:
                    table.names.append(name)
                    table.offsets.append(self.position)
                    table.sizes.append(len(content))
                    table.samples.append(sample)
                self._write(content.ljust(_padded(len(content)), b"\0"))
        table.labels.append(label)
        self.num_samples += 1

    def finish_shard(self) -> None:
        """Ends the present shard, if there is one; it gets its name only now."""
        if self.file is None:
            return
        table = self.tables[-1]
        with self._writing(table.name, self.position + len(_END)):
            self._write(_END)
            self.file.close()
            _unfinished(self.out / table.name).replace(self.out / table.name)
        self.file = None
        table.size, table.digest = self.position, self.digest.hexdigest()

    def finish(self) -> Packed:
        """Writes class names and, last of all, the index."""
        classes = "".join(f"{name}\n" for name in self.source.classes).encode()
        for name, content in ((CLASSES_NAME, classes), (INDEX_NAME, index_bytes(self.tables))):
            with self._writing(name, len(content)):
                replace_file(self.out / name, content)
        return Packed(
            shards=tuple(table.name for table in self.tables),
            num_samples=self.num_samples,
            num_bytes=sum(table.size for table in self.tables),
            left_out=tuple(self.left_out),
        )

    def discard_unfinished(self) -> None:
        """Removes the present shard, if there is one."""
        if self.file is None:
            return
        with suppress(OSError):  # closing writes the rest, for which there may be no room
            self.file.close()
        self.file = None
        discard(_unfinished(self.out / self.tables[-1].name))

    @contextmanager
    def _writing(self, name: str, num_bytes: int) -> Iterator[None]:
        """Tells what the disk refused: a file, and how large it was to become at least."""
        try:
            yield
        except OSError as error:
            self.discard_unfinished()  # before the room is measured
            reason = f"{name} could not be written: {refusal(error, self.out, num_bytes)}"
            raise PerceptioError(f"{reason}. {way_out(error)}, then pack anew into an empty folder") from error

    def _begin_shard(self) -> None:
        name = f"{self.name}-{self.number:06d}.tar"
        self.number += 1
        self.position, self.digest = 0, hashlib.sha256()
        with self._writing(name, 0):
            self.file = _unfinished(self.out / name).open("xb")
            self.tables.append(ShardTable(name=name, size=0))
            # Lets go of it when this process ends, however it does: then it is a leftover.
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _contents(self, plan: _Plan) -> Iterator[tuple[str, bytes, bool]]:
        """Yields name and content of each media file; True marks them as such."""
        for part, item in self.source.load(plan.record).items():
            content, extension = self._content(item, plan.files[part])
            name = f"{plan.key}.{extension}"
            reason = why_refused(name, len(content), self.limits) if extension else "its name has no suffix"
            if extension in ABOUT or is_not_a_sample(name):
                # The index would still know better; a reader without it takes the member for a label, or for nothing.
                reason = f"in a shard {suffix_of(name)} files are no samples; save it in another format"
            if reason is not None:
                raise FileError(reason)
            yield name, content, True

    def _content(self, item: Item, extension: str) -> tuple[bytes, str]:
        if isinstance(item, np.ndarray):
            return _encoded(item)
        check_file(item, self.source.root, self.limits)
        with open_file(item) as stream:
            return stream.read(self.limits.max_member_bytes + 1), extension

    def _write(self, content: bytes) -> None:
        assert self.file is not None, "a shard is open"
        self.file.write(content)
        self.digest.update(content)
        self.position += len(content)


def _header(name: str, size: int) -> bytes:
    """Returns the header of a member, without owner and time, so that the same files give the same shard."""
    entry = tarfile.TarInfo(name)
    entry.size = size
    return entry.tobuf(tarfile.PAX_FORMAT)


def _padded(size: int) -> int:
    return -(-size // BLOCK_BYTES) * BLOCK_BYTES


def _encoded(array: np.ndarray) -> tuple[bytes, str]:
    """Returns an array as a file: bytes laid out as a grey or RGB picture as PNG, without loss, others as .npy."""
    stream = io.BytesIO()
    grey = array.ndim == 3 and array.shape[2] == 1
    if array.dtype == np.uint8 and (array.ndim == 2 or grey or (array.ndim == 3 and array.shape[2] == 3)):
        pillow_image().fromarray(array[..., 0] if grey else array).save(stream, "PNG")
        return stream.getvalue(), "png"
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue(), "npy"
