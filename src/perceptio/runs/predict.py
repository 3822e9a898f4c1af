"""Answers for files that nobody labelled: one for each, in order, whatever else goes wrong."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch

from perceptio.data.batches import collate
from perceptio.data.children import Children
from perceptio.data.dataset import Sample, View
from perceptio.data.folder_listing import list_folder
from perceptio.data.items import Item
from perceptio.data.limits import Limits
from perceptio.data.manifest import is_manifest, read_parts
from perceptio.data.names import bytewise, few, printable
from perceptio.data.records import MAIN
from perceptio.errors import DataError, FileError, UsageError
from perceptio.evaluation.predictions import predict_batches
from perceptio.modalities.registry import MODALITIES
from perceptio.modalities.streams import StreamReader, Streams
from perceptio.modalities.telling import columns_of, kind_of, suffixes_of
from perceptio.models.perceiver import Perceiver
from perceptio.runs.machine import Device, choose_device
from perceptio.runs.model_file import ModelFacts, find_model_file, read_model
from perceptio.runs.workbench import evaluation_batch_size, views_at_once
from perceptio.tasks.classification import TaskConfig, build_task

Tell = Callable[[str], None]
Asked: TypeAlias = Path | Mapping[str, Path]
"""A file, or the files of one sample by column; a folder or a table of files stands for many."""

BATCH_SIZE = 32  # at most; fewer where samples are large


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """The answer for one file: either probabilities by class, the likeliest first, or an error.

    Attributes:
        unsure: validation files with so low a first probability were right less than 3 times in 4.
        missing: streams of the model that the file lacks, so that the answer is made without them.
    """

    file: str
    label: str | None
    probabilities: dict[str, float] | None
    error: str | None
    unsure: bool = False
    missing: tuple[str, ...] = ()


def predict_files(
    run: Path, files: Iterable[Asked], *, device: Device = "auto", tell: Tell | None = None
) -> Iterator[Prediction]:
    """Yields one prediction for each file; a folder stands for the files in it, in the order of their names.

    A folder in which no file could be a sample, or that cannot be listed, gets one of its own, with an error. For a
    model whose samples are made of several files, a file stands for all that share its folder and stem. A table (CSV,
    JSONL, Parquet) stands for its rows, labelled or not; a mapping names the file of each column.

    Args:
        tell: called with what reading a file changes and people may not expect, such as its rate, and with linked
            folders, which are not followed.

    Raises:
        UsageError: at the call, when there is no model or no such device; later, for a column that the model has not.
        DataError: later, when a table cannot be read.
    """
    model, facts = read_model(find_model_file(run))
    chosen = choose_device(device)
    return _predictions(model.to(chosen).eval(), facts, expand_folders(files, facts, tell), chosen, tell)


def _predictions(
    model: Perceiver, facts: ModelFacts, files: Iterator[Asked], device: torch.device, tell: Tell | None
) -> Iterator[Prediction]:
    streams = facts.config.streams
    reader = StreamReader(streams, facts.config.source.limits)
    at_once = min(BATCH_SIZE, evaluation_batch_size(facts.config))
    names: deque[str] = deque()

    def parts() -> Iterator[Mapping[str, Item]]:
        for name, items in samples_of(files, streams, facts.config.source.limits):
            names.append(str(name))
            yield items

    # In child processes: a file that kills or hangs its decoder costs its own line and nothing else.
    with Children(Views(reader), reader.allowance(whole=True)) as children:
        answers = children.map(parts())
        while chunk := list(islice(answers, at_once)):
            read = [answer if isinstance(answer, FileError) else answer["views"] for answer in chunk]
            probabilities = _probabilities(model, facts, read, device)
            for index, (answer, views) in enumerate(zip(chunk, read, strict=True)):
                if tell is not None and not isinstance(answer, FileError):
                    for conversion in answer["conversions"]:
                        tell(conversion)
                yield _answer(names.popleft(), views, probabilities.get(index), facts)


def _probabilities(
    model: Perceiver, facts: ModelFacts, views: Sequence[list[View] | FileError], device: torch.device
) -> dict[int, np.ndarray]:
    """Returns the class probabilities of the samples that could be read, by their place."""
    batch = collate([Sample(index, tuple(view)) for index, view in enumerate(views) if not isinstance(view, FileError)])
    if len(batch) == 0:
        return {}
    found = predict_batches(
        model,
        [batch],
        task=build_task(TaskConfig(kind=facts.task), multi_label=facts.task == "multi_label"),
        prepare=facts.config.streams.prepare,
        device=device,
        views_at_once=min(BATCH_SIZE, views_at_once(facts.config)),
    )
    return dict(zip(found.indices.tolist(), found.probabilities, strict=True))


def samples_of(files: Iterable[Asked], streams: Streams, limits: Limits) -> Iterator[tuple[Path, Mapping[str, Path]]]:
    """Yields each sample's name, which is its first file, and its parts: those of a row or a mapping, or of one file.

    Raises:
        DataError, UsageError: as `predict_files`, later.
    """
    columns = columns_of(streams)
    seen: set[Path] = set()
    listed = cache(_by_stem)
    for asked in _rows(files, columns, limits):
        if isinstance(asked, Mapping):
            yield next(iter(asked.values())), _of_columns(asked, columns)
        elif set(columns) == {MAIN}:
            yield asked, {MAIN: asked}
        elif asked not in seen:
            parts = {} if asked.is_dir() else _parts_of(asked, columns, listed(asked.parent))
            seen.update(parts.values())
            # A file of no known kind goes to the first decoder, which says what is wrong with it.
            yield asked, parts or {next(iter(columns)): asked}


def _rows(files: Iterable[Asked], columns: Mapping[str, str], limits: Limits) -> Iterator[Asked]:
    """Yields what was asked for, of tables the rows; a row with one plain file is that file."""
    for asked in files:
        if isinstance(asked, Mapping) or not is_manifest(asked.name):
            yield asked
            continue
        for parts in read_parts(asked, limits, tuple(MODALITIES)):
            (first, *others) = parts.values()
            yield parts if others or set(parts) <= set(columns) else first


def _of_columns(parts: Mapping[str, Path], columns: Mapping[str, str]) -> Mapping[str, Path]:
    for name in parts:
        if name not in columns:
            has = "takes one file a sample" if set(columns) == {MAIN} else f"has {', '.join(columns)}"
            raise UsageError(f"the model has no column {name!r}; it {has}")
    return parts


def _parts_of(path: Path, columns: Mapping[str, str], beside: Mapping[str, Sequence[Path]]) -> dict[str, Path]:
    """Returns the file of each column: the given one if it is of its kind, else the first beside it of its stem."""
    kinds = tuple(columns.values())
    candidates = (path, *beside.get(path.stem, ()))
    found = {}
    for column, kind in columns.items():
        part = next((file for file in candidates if kind_of(file.name, kinds) == kind), None)
        if part is not None:
            found[column] = part
    return found


def _by_stem(folder: Path) -> Mapping[str, Sequence[Path]]:
    """Returns the files of a folder by stem, sorted; none if it cannot be listed."""
    found: dict[str, list[Path]] = {}
    try:
        for path in sorted(folder.iterdir()):
            found.setdefault(path.stem, []).append(path)
    except OSError:
        return {}
    return found


def expand_folders(paths: Iterable[Asked], facts: ModelFacts, tell: Tell | None = None) -> Iterator[Asked]:
    """Yields files as they are, and for each folder the files below it that training would take for samples.

    A folder without such files, or one that cannot be listed, is yielded itself: it gets a line like any file that
    cannot be read.

    Args:
        tell: called with the linked folders, which are not followed.
    """
    asked = suffixes_of(facts.config.streams.kinds)
    for path in paths:
        if isinstance(path, Mapping) or not path.is_dir():
            yield path
            continue
        try:
            listing = list_folder(path, facts.config.source.limits, asked)
        except DataError:  # said where its line is made
            yield path
            continue
        if listing.linked_folders and tell is not None:
            linked = few(sorted(listing.linked_folders, key=bytewise))
            tell(f"linked folders in {printable(str(path))}/ are not followed: {linked}")
        yield from [path / name for name in sorted(listing.files, key=bytewise)] or [path]


@dataclass(frozen=True)
class Views:
    """Makes all views of a sample, in a child process, and says what of its files was converted."""

    reader: StreamReader

    def __call__(self, items: Mapping[str, Item]) -> dict[str, Any]:
        """Returns views and conversions; raises FileError."""
        for item in items.values():
            if isinstance(item, Path) and item.is_dir():
                raise FileError(self._why_not(item))
        return {"views": self.reader.evaluation_views(items), "conversions": self.reader.conversions(items)}

    def _why_not(self, folder: Path) -> str:
        try:
            list_folder(folder, self.reader.limits, suffixes_of(self.reader.streams.kinds))
        except DataError as error:
            return str(error)
        return "a folder without files that could be samples"


def _answer(
    file: str, views: list[View] | FileError, probabilities: np.ndarray | None, facts: ModelFacts
) -> Prediction:
    if isinstance(views, FileError):
        return Prediction(file=file, label=None, probabilities=None, error=str(views))
    assert probabilities is not None
    order = np.argsort(-probabilities, kind="stable")
    ranked = {facts.classes[index]: float(probabilities[index]) for index in order}
    first = facts.classes[order[0]]
    unsure = facts.unsure_at is not None and ranked[first] <= facts.unsure_at
    missing = tuple(name for name in facts.config.streams.by_name if name not in views[0])
    return Prediction(file=file, label=first, probabilities=ranked, error=None, unsure=unsure, missing=missing)
