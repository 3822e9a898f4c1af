"""What one shard holds: its media files, and what stands beside them about each sample (WebDataset's conventions)."""

import io
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from perceptio.data.limits import Limits
from perceptio.data.names import bytewise, check_record_name, is_ignored, is_not_a_sample, suffix_of
from perceptio.data.shards.tar import CutError, Entry, walk_tar
from perceptio.errors import FileError

Label: TypeAlias = str | list[str] | None
"""What a sample says of its label: a class's name or number, several of them, or nothing."""

PICKLES = frozenset({".pkl", ".pickle", ".pyd", ".pt", ".pth", ".ckpt"})
"""Suffixes of members that are never read: to read one is to run what it says."""
LABEL_KEYS = ("label", "labels", "cls", "class")
ABOUT = ("cls", "json", "txt")
"""Extensions of members that say something about their sample."""
_LINKS = "links and devices"
KEPT_FACTS = ("name", "group", "parts", "split")


@dataclass(kw_only=True)
class ShardTable:
    """The content of one shard, as it is kept in an index: columns, so that a hundred thousand rows are read at once.

    Attributes:
        name: the shard's file name.
        size: of the shard, in bytes.
        state: what else tells that it is still the same: time of change, or the server's tag; empty: nothing does.
        digest: SHA-256 of its bytes, in hex; empty: nobody computed it.
        problem: why its end is not there; empty: it is whole.
        names, offsets, sizes: of each media file.
        samples: the sample that each media file belongs to, a row of `labels`.
        labels: of each sample.
        facts: what else some samples say about themselves, by row: `name`, `group`, `parts`, `split`.
        refused: name and reason of members that cannot be used.
        left_out: how many members are nothing to learn from, by suffix or kind.
    """

    name: str
    size: int
    state: str = ""
    digest: str = ""
    problem: str = ""
    names: list[str] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    samples: list[int] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    refused: list[list[str]] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)


@dataclass
class _Sample:
    """The members that share a key."""

    files: list[Entry] = field(default_factory=list)
    about: dict[str, Any] = field(default_factory=dict)
    extensions: set[str] = field(default_factory=set)


def split_key(name: str) -> tuple[str, str]:
    """Returns a member's key and its extension: WebDataset cuts at the first dot of the file's name."""
    folder, slash, base = name.rpartition("/")
    stem, _, extension = base.partition(".")
    return f"{folder}{slash}{stem}", extension.lower()


def scan_shard(stream: io.BufferedIOBase, name: str, size: int, limits: Limits) -> ShardTable:
    """Reads the headers of a shard, and those members that say something about samples.

    What stands before the place where a shard is cut off is used; a last sample that has fewer members than the one
    before it is not.

    Raises:
        FileError: it is no plain tar file, or asks for more than the limits allow.
        OSError: the disk or the network failed.
    """
    table = ShardTable(name=name, size=size)
    left_out: Counter[str] = Counter()
    samples: dict[str, _Sample] = {}
    seen: set[str] = set()
    try:
        for entry in walk_tar(stream, size, limits):
            if entry.is_file:
                _take(entry, stream, samples, seen, table, left_out, limits)
            elif not entry.name.endswith("/"):
                left_out[_LINKS] += 1
    except CutError as error:
        table.problem = str(error)
        _drop_half_a_sample(samples)
    for sample in samples.values():
        _add(sample, table, left_out)
    table.left_out = dict(left_out)
    return table


def why_refused(name: str, size: int, limits: Limits) -> str | None:
    """Returns why a member of this name and size is not used; None: it is."""
    encoded = bytewise(name)
    if len(encoded) > limits.max_member_name_bytes:
        return (
            f"its name has {len(encoded):,} bytes; the limit is {limits.max_member_name_bytes:,} "
            "(--source.limits.max-member-name-bytes)"
        )
    if name.startswith("/") or "\\" in name or ".." in name.split("/"):
        return "its name leads out of the shard; pack it anew with plain names"
    try:
        check_record_name(name)
    except FileError as error:
        return str(error)
    if size > limits.max_member_bytes:
        return f"has {size:,} bytes; the limit is {limits.max_member_bytes:,} (--source.limits.max-member-bytes)"
    return None


def _take(
    entry: Entry,
    stream: io.BufferedIOBase,
    samples: dict[str, _Sample],
    seen: set[str],
    table: ShardTable,
    left_out: Counter[str],
    limits: Limits,
) -> None:
    if any(is_ignored(part) for part in entry.name.split("/") if part not in ("", "..")):
        left_out["hidden"] += 1
        return
    reason = why_refused(entry.name, entry.size, limits)
    if reason is None and entry.name in seen:
        reason = "its name stands twice in the shard"
    if reason is not None:
        table.refused.append([entry.name[: limits.max_member_name_bytes], reason])
        return
    seen.add(entry.name)
    key, extension = split_key(entry.name)
    if suffix_of(entry.name) in PICKLES:
        left_out["pickle"] += 1
    elif extension in ABOUT:
        sample = samples.setdefault(key, _Sample())
        sample.extensions.add(extension)
        sample.about[extension] = _said(entry, extension, stream, limits)
    elif not extension or is_not_a_sample(entry.name):
        left_out[suffix_of(entry.name) or "no suffix"] += 1
    else:
        sample = samples.setdefault(key, _Sample())
        sample.extensions.add(extension)
        sample.files.append(entry)


def _said(entry: Entry, extension: str, stream: io.BufferedIOBase, limits: Limits) -> Any:
    """Returns what a member beside the media files says; nothing where it is too long or no text."""
    most = limits.max_manifest_line_bytes if extension == "json" else limits.max_manifest_field_bytes
    if entry.size > most:
        return None
    stream.seek(entry.offset)
    content = stream.read(entry.size)
    try:
        text = content.decode("utf-8-sig").strip()
        return json.loads(text) if extension == "json" else text
    except (ValueError, RecursionError):
        return None


def _drop_half_a_sample(samples: dict[str, _Sample]) -> None:
    keys = list(samples)
    if keys and (len(keys) == 1 or not samples[keys[-1]].extensions >= samples[keys[-2]].extensions):
        del samples[keys[-1]]


def _add(sample: _Sample, table: ShardTable, left_out: Counter[str]) -> None:
    """Adds a sample's files. Of several, those with a dot within their extension (1.mask.png) are no sample."""
    plain = [entry for entry in sample.files if "." not in split_key(entry.name)[1]]
    chosen = plain or sample.files
    if not chosen:
        return
    if len(chosen) < len(sample.files):
        left_out["further files of samples, such as 1.mask.png"] += len(sample.files) - len(chosen)
    row = len(table.labels)
    for entry in chosen:
        table.names.append(entry.name)
        table.offsets.append(entry.offset)
        table.sizes.append(entry.size)
        table.samples.append(row)
    table.labels.append(label_of(sample.about))
    about = sample.about.get("json")
    facts = {key: about[key] for key in KEPT_FACTS if key in about} if isinstance(about, dict) else {}
    if facts:
        table.facts[str(row)] = facts


def label_of(about: dict[str, Any]) -> Label:
    """Returns the label that a sample's members give: .cls before .json before .txt."""
    if about.get("cls"):
        return str(about["cls"])
    said = about.get("json")
    if isinstance(said, dict):
        said = next((said[key] for key in LABEL_KEYS if key in said), None)
    if isinstance(said, list) and all(_is_name(label) for label in said):
        return [str(label) for label in said]
    if _is_name(said):
        return str(said)
    text = about.get("txt")
    return text if text and "\n" not in text else None


def _is_name(value: Any) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool)
