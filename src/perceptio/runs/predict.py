"""Answers for files that nobody labelled: one for each, in order, whatever else goes wrong."""

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from perceptio.data.batches import collate, standardise
from perceptio.data.dataset import Sample
from perceptio.data.image_reader import ImageReader
from perceptio.data.limits import Limits
from perceptio.data.names import is_ignored, is_not_a_sample
from perceptio.errors import FileError
from perceptio.models.perceiver import Perceiver
from perceptio.runs.machine import Device, choose_device
from perceptio.runs.model_file import ModelFacts, find_model_file, read_model
from perceptio.runs.workbench import evaluation_batch_size
from perceptio.tasks.classification import TaskConfig, build_task

BATCH_SIZE = 32  # at most; fewer where samples are large
DECODING_THREADS = 4


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """The answer for one file: either probabilities by class, the likeliest first, or an error."""

    file: str
    label: str | None
    probabilities: dict[str, float] | None
    error: str | None


def predict_files(run: Path, files: Iterable[Path], *, device: Device = "auto") -> Iterator[Prediction]:
    """Yields one prediction for each file; a folder stands for the files in it, in the order of their names.

    Raises:
        UsageError: at the call, when there is no model or no such device.
    """
    model, facts = read_model(find_model_file(run))
    chosen = choose_device(device)
    return _predictions(model.to(chosen).eval(), facts, expand_folders(files), chosen)


def _predictions(
    model: Perceiver, facts: ModelFacts, files: Iterator[Path], device: torch.device
) -> Iterator[Prediction]:
    read = partial(_read, ImageReader(facts.config.image, Limits()))
    with ThreadPoolExecutor(DECODING_THREADS, thread_name_prefix="decode") as pool:
        at_once = min(BATCH_SIZE, evaluation_batch_size(facts.config, num_processes=1))
        while chunk := list(islice(files, at_once)):
            views = list(pool.map(read, chunk))
            probabilities = _probabilities(model, facts, views, device)
            for index, (path, view) in enumerate(zip(chunk, views, strict=True)):
                yield _answer(str(path), view, probabilities.get(index), facts.classes)


def _probabilities(
    model: Perceiver, facts: ModelFacts, views: Sequence[np.ndarray | FileError], device: torch.device
) -> dict[int, np.ndarray]:
    """Returns the class probabilities of the views that could be read, by their place."""
    read = [Sample(index, view) for index, view in enumerate(views) if isinstance(view, np.ndarray)]
    if not read:
        return {}
    task = build_task(TaskConfig(kind=facts.task), multi_label=facts.task == "multi_label")
    config, batch = facts.config.image, collate(read)
    with torch.inference_mode():
        values = standardise(batch.values.to(device), config.mean, config.std)
        extents = None if batch.extents is None else batch.extents.to(device)
        rows = task.probabilities(model(values, extents).float()).cpu().numpy()
    return dict(zip(batch.indices.tolist(), rows, strict=True))


def expand_folders(paths: Iterable[Path]) -> Iterator[Path]:
    """Yields files as they are, and for each folder the files below it that may be samples."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        for parent, folders, names in os.walk(path):
            folders[:] = sorted(name for name in folders if not is_ignored(name))
            kept = sorted(name for name in names if not is_ignored(name) and not is_not_a_sample(name))
            yield from (Path(parent) / name for name in kept)


def _read(reader: ImageReader, path: Path) -> np.ndarray | FileError:
    try:
        return reader.evaluation_view(reader.decode(path))
    except FileError as error:
        return error


def _answer(
    file: str, view: np.ndarray | FileError, probabilities: np.ndarray | None, classes: Sequence[str]
) -> Prediction:
    if isinstance(view, FileError):
        return Prediction(file=file, label=None, probabilities=None, error=str(view))
    assert probabilities is not None
    order = np.argsort(-probabilities, kind="stable")
    ranked = {classes[index]: float(probabilities[index]) for index in order}
    return Prediction(file=file, label=classes[order[0]], probabilities=ranked, error=None)
