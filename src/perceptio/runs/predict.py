"""Answers for files that nobody labelled: one for each, in order, whatever else goes wrong."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
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
from perceptio.runs.machine import Device, make_accelerator
from perceptio.runs.model_file import find_model_file, read_model
from perceptio.tasks.classification import TaskConfig, build_task

BATCH_SIZE = 32


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
        UsageError: when there is no model.
    """
    model, facts = read_model(find_model_file(run))
    accelerator = make_accelerator(device, "fp32")
    model.to(accelerator.device).eval()
    task = build_task(TaskConfig(kind=facts.task), multi_label=facts.task == "multi_label")
    reader = ImageReader(facts.config.image, Limits())
    config = facts.config.image
    remaining = expand_folders(files)
    while chunk := list(islice(remaining, BATCH_SIZE)):
        views = [_read(reader, path) for path in chunk]
        read = [Sample(index, view) for index, view in enumerate(views) if isinstance(view, np.ndarray)]
        probabilities: dict[int, np.ndarray] = {}
        if read:
            batch = collate(read)
            with torch.inference_mode():
                values = standardise(batch.values.to(accelerator.device), config.mean, config.std)
                extents = None if batch.extents is None else batch.extents.to(accelerator.device)
                rows = task.probabilities(model(values, extents).float()).cpu().numpy()
            probabilities = dict(zip(batch.indices.tolist(), rows, strict=True))
        for index, (path, view) in enumerate(zip(chunk, views, strict=True)):
            yield _answer(str(path), view, probabilities.get(index), facts.classes)


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
