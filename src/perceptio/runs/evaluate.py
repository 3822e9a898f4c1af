"""A run's model on labelled data: its own test samples, or others."""

from collections.abc import Sequence
from pathlib import Path

from perceptio.data.dataset import EvaluationSamples
from perceptio.data.image_reader import ImageReader
from perceptio.data.limits import Limits
from perceptio.data.records import Record
from perceptio.data.split_file import read_split
from perceptio.errors import DataError, UsageError
from perceptio.evaluation.loading import EvaluationBatches
from perceptio.runs.config import RunConfig, SourceConfig
from perceptio.runs.data import Survey, choose_workers, survey_data
from perceptio.runs.folder import RunFolder
from perceptio.runs.machine import Device, make_accelerator
from perceptio.runs.model_file import find_model_file, read_model
from perceptio.runs.results import Measured, measure
from perceptio.tasks.classification import TaskConfig, build_task


def evaluate_run(
    run: Path, *, data: str | None = None, split: str = "test", device: Device = "auto", workers: int | None = None
) -> Measured:
    """Returns the result of a run's best weights.

    Args:
        data: other labelled data, used whole; None: the run's own, of which `split` is taken.
        split: "train", "validation" or "test".

    Raises:
        UsageError: when there is no model, or the data has a class that the model does not know.
        DataError: when no sample is left.
    """
    path = find_model_file(run)
    model, facts = read_model(path)
    survey, records, name = _choose_records(path, facts.config, data, split)
    _check_classes(records, facts.classes, survey.data)
    accelerator = make_accelerator(device, "fp32")
    model.to(accelerator.device)
    reader = ImageReader(facts.config.image, Limits())
    batches = EvaluationBatches(
        EvaluationSamples(survey.source, records, reader),
        batch_size=facts.config.batch_size,
        num_workers=choose_workers(workers, survey.source),
    )
    return measure(
        model,
        batches,
        split=name,
        task=build_task(TaskConfig(kind=facts.task), multi_label=facts.task == "multi_label"),
        classes=facts.classes,
        device=accelerator.device,
        image=reader,
    )


def _choose_records(
    model_file: Path, config: RunConfig, data: str | None, split: str
) -> tuple[Survey, tuple[Record, ...], str]:
    if data is not None:
        survey = survey_data(data, SourceConfig())
        return survey, survey.usable, f"all of {data}"
    folder = RunFolder(model_file.parent)
    if not folder.split.exists():
        raise UsageError(f"{model_file} has no split.csv beside it: say which labelled data to use with --data")
    survey = survey_data(config.data, config.source)
    splits = read_split(folder.split)
    records = tuple(record for record in survey.usable if splits.get(record.name) == split)
    if not records:
        raise DataError(f"no file of the {split} split is left in {survey.data}")
    return survey, records, split


def _check_classes(records: Sequence[Record], classes: Sequence[str], data: str) -> None:
    """Classes are matched by name, never by position."""
    unknown = sorted({label for record in records for label in record.labels} - set(classes))
    if unknown:
        raise UsageError(
            f"{data} has the class {unknown[0]!r}, which the model does not know ({len(unknown)} such classes). "
            f"It knows: {', '.join(classes[:10])}"
        )
