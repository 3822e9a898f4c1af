"""A run's model on labelled data: its own test samples, or others."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from perceptio.data.dataset import EvaluationSamples
from perceptio.data.names import Split, printable
from perceptio.data.records import FileSource, Record, Skipped
from perceptio.data.split_file import read_split
from perceptio.errors import DataError, UsageError
from perceptio.evaluation.loading import EvaluationBatches
from perceptio.modalities.streams import StreamReader
from perceptio.runs.config import RunConfig, SourceConfig
from perceptio.runs.data import SPLITS, Survey, admitted, choose_workers, survey_data
from perceptio.runs.folder import RunFolder
from perceptio.runs.machine import Device, choose_device
from perceptio.runs.measured import Measured, measure
from perceptio.runs.model_file import ModelFacts, find_model_file, read_model
from perceptio.runs.workbench import evaluation_batch_size
from perceptio.tasks.classification import TaskConfig, build_task


def evaluate_run(
    run: Path,
    *,
    data: str | None = None,
    split: Split | None = None,
    streams: Sequence[str] = (),
    device: Device = "auto",
    workers: int | None = None,
) -> Measured:
    """Returns the result of a run's best weights. Files that are gone or cannot be read are among its failures.

    Args:
        data: other labelled data, used whole; None: the run's own, of which `split` is taken.
        split: which of the run's own samples; None: those of the test.
        streams: which streams the model is given, such as only the sound of videos; none: all.

    Raises:
        UsageError: when there is no model, no such split, the data has labels that the model cannot give, or both data
            and split are given.
        DataError: when no sample is left.
    """
    if data is not None and split is not None:
        raise UsageError("--split has no effect with --data, which is used whole; remove one of them")
    split = split or "test"
    if split not in SPLITS:
        raise UsageError(f"--split must be one of {', '.join(SPLITS)}: got {split!r}")
    path = find_model_file(run)
    model, facts = read_model(path)
    chosen = choose_device(device)
    facts.config.streams.check_names(streams)
    survey, records, missing = _choose_records(path, facts.config, data, split)
    _check_labels(records, facts, survey.data)
    reader = StreamReader(facts.config.streams, facts.config.source.limits, only=tuple(streams) or None)
    batches = EvaluationBatches(
        EvaluationSamples(survey.source, records, reader),
        batch_size=evaluation_batch_size(facts.config),
        num_workers=choose_workers(workers, survey.source),
        allowance=reader.allowance(whole=True),
    )
    measured = measure(
        model.to(chosen),
        batches,
        split=split if data is None else f"all of {data}",
        task=build_task(TaskConfig(kind=facts.task), multi_label=facts.task == "multi_label"),
        classes=facts.classes,
        device=chosen,
        config=facts.config,
    )
    failures = (*missing, *measured.predictions.failures)
    return replace(
        measured,
        predictions=replace(measured.predictions, failures=failures),
        num_trained_on=0 if data is None else _trained_on(path, facts.config, survey, records),
    )


def _trained_on(model_file: Path, config: RunConfig, survey: Survey, records: Sequence[Record]) -> int:
    """Returns how many samples lie where the training samples of the model's run lay; 0 where nobody can tell."""
    folder, source = RunFolder(model_file.parent), survey.source
    if config.data is None or not isinstance(source, FileSource) or not folder.split.exists():
        return 0
    given = Path(config.data)
    root = (given if given.is_dir() else given.parent).resolve()
    trained = {root / name for name, part in read_split(folder.split).items() if part == "train"}
    place = source.root.resolve()
    return sum(place / record.name in trained for record in records)


def _choose_records(
    model_file: Path, config: RunConfig, data: str | None, split: str
) -> tuple[Survey, tuple[Record, ...], tuple[Skipped, ...]]:
    """Returns what is there, the records to measure on, and those that cannot be."""
    if data is not None:
        other = SourceConfig(kinds=config.streams.kinds, limits=config.source.limits)
        survey = admitted(survey_data(data, other, streams=config.streams, copies=False), config)
        return survey, survey.usable, survey.skipped
    folder = RunFolder(model_file.parent)
    if not folder.split.exists():
        raise UsageError(f"{model_file} has no split.csv beside it: say which labelled data to use with --data")
    survey = admitted(survey_data(config.data, config.source, streams=config.streams, copies=False), config)
    wanted = {name for name, part in read_split(folder.split).items() if part == split}
    records = tuple(record for record in survey.usable if record.name in wanted)
    if not records:
        raise DataError(
            f"no file of the {split} split is left in {survey.data}; put the files back, or give others with --data"
        )
    reasons = {entry.name: entry.reason for entry in survey.skipped}
    missing = sorted(printable(name) for name in wanted - {record.name for record in records})
    return survey, records, tuple(Skipped(name, reasons.get(name, "no longer there")) for name in missing)


def _check_labels(records: Sequence[Record], facts: ModelFacts, data: str) -> None:
    """Classes are matched by name, never by position."""
    known = facts.classes
    unknown = sorted({label for record in records for label in record.labels} - set(known))
    if unknown:
        raise UsageError(
            f"{data} has the class {unknown[0]!r}, which the model does not know ({len(unknown)} such classes). "
            f"It knows: {', '.join(known[:10])}"
        )
    unfit = [record for record in records if len(record.labels) != 1] if facts.task == "single_label" else []
    if unfit:
        raise UsageError(
            f"this model gives one class a sample, but {printable(unfit[0].name)} in {data} has "
            f"{len(unfit[0].labels) or 'no'} labels ({len(unfit)} such samples). Remove them from the table."
        )
