"""What the report of a run says, gathered from its folder and its data. Measuring is done elsewhere."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from perceptio.data.dataset import TrainingSamples, View
from perceptio.data.records import Record
from perceptio.data.skipped_file import read_skipped
from perceptio.data.splits import SplitConfig
from perceptio.errors import FileError
from perceptio.modalities.streams import StreamReader
from perceptio.reporting.content import (
    Cost,
    DataSummary,
    Headline,
    Origin,
    Range,
    ReportContent,
    SeenSample,
    SkippedFile,
)
from perceptio.reporting.numbers import things
from perceptio.runs.config import RunConfig
from perceptio.runs.data import SPLITS, PreparedData, Survey
from perceptio.runs.folder import RunFolder
from perceptio.runs.opening import labelled
from perceptio.runs.serialisation import to_json
from perceptio.tasks import metrics
from perceptio.tasks.classification import Task
from perceptio.training.metric_log import MetricLog

SHOWN_SAMPLES = 12


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A run after its training: what its pages are made from.

    Attributes:
        can_read: False where the disk or network has just failed: who waits for it once more waits twice as long.
    """

    folder: RunFolder
    config: RunConfig
    prepared: PreparedData
    reader: StreamReader
    task: Task
    history: Sequence[Mapping[str, Any]]
    facts: Mapping[str, Any]
    can_read: bool = True

    @property
    def best(self) -> Mapping[str, Any] | None:
        """The row of metrics.jsonl whose weights are kept."""
        return next((row for row in self.history if row["step"] == self.facts.get("best_step")), None)

    @property
    def best_epoch(self) -> float | None:
        """Its epoch."""
        return None if self.best is None else self.best["epoch"]

    def evaluation_view(self, record: Record) -> View | None:
        """Returns the first view of a record, None if its file can no longer be read."""
        try:
            return self.reader.evaluation_views(self.prepared.survey.source.load(record))[0]
        except FileError:
            return None

    def picture(self, record: Record) -> np.ndarray | None:
        """Returns a record as a picture for people, None if its file can no longer be read."""
        view = self.evaluation_view(record)
        return None if view is None else self.reader.streams.picture(view)


def open_finished(folder: RunFolder, prepared: PreparedData, reader: StreamReader, task: Task) -> Finished:
    """Returns a run as its folder has it now."""
    return Finished(
        folder=folder,
        config=folder.read_config(),
        prepared=prepared,
        reader=reader,
        task=task,
        history=tuple(MetricLog(folder.metrics).rows()),
        facts=folder.read_facts(),
    )


def content_of(run: Finished) -> ReportContent:
    """Returns everything that is known without measuring the best weights anew."""
    facts, config, prepared = run.facts, run.config, run.prepared
    return ReportContent(
        run=run.folder.path.name,
        recipe=config.recipe,
        headline=_validation_headline(run),
        history=tuple(run.history),
        best_epoch=run.best_epoch,
        has_model=run.folder.weights.is_file(),
        classes=prepared.classes,
        input_size=config.streams.describe(),
        samples=_seen_samples(run),
        data=_data_summary(run),
        cost=Cost(
            seconds=facts.get("seconds"),
            samples_per_second=_median_of(run.history, "samples_per_second"),
            peak_memory_bytes=facts.get("peak_memory_bytes"),
            num_parameters=facts.get("num_parameters"),
            flops_per_sample=facts.get("flops_per_sample"),
            waiting_share=_median_of(run.history, "data_wait_share"),
        ),
        origin=Origin(
            command=facts.get("command", ""),
            folder=str(run.folder.path),
            config=to_json(config),
            seed=config.seed,
            machine=facts.get("machine", ""),
            versions=facts.get("versions", {}),
            created=facts.get("created", ""),
        ),
        notes=_notes(run),
        problem=facts.get("failure", "") if facts["ended"] == "failed" else "",
    )


def describe_split(survey: Survey, config: SplitConfig, seed: int) -> str:
    """Says in a sentence which splits the data gives and how the others were drawn."""
    given = {record.split for record in survey.usable if record.split is not None}
    drawn = [split for split in SPLITS[1:] if split not in given and getattr(config, split) > 0]
    rule = f"by class with seed {seed}" + ("" if config.by == "file" else f", each {config.by} on one side")
    shares = " and ".join(f"{100 * getattr(config, split):.3g} % for {split}" for split in drawn)
    if not given:
        return f"The split was drawn {rule}: {shares}."
    if not drawn:
        return "The split is the one that the data gives."
    source = "what the data leaves open" if any(record.split is None for record in survey.usable) else "train"
    names = " and ".join(split for split in SPLITS if split in given)
    return f"The data gives {names}; {shares} was drawn from {source}, {rule}."


def lost_text(facts: Mapping[str, Any]) -> str:
    """Says how many samples went bad in mid-run, by split; nothing if none did."""
    lost = {split: number for split, number in facts.get("lost", {}).items() if number}
    if not lost:
        return ""
    parts = ", ".join(f"{number:,} for {'training' if split == 'train' else split}" for split, number in lost.items())
    return f"{things(sum(lost.values()), 'sample')} went bad in mid-run: {parts}"


def _notes(run: Finished) -> tuple[str, ...]:
    lost = lost_text(run.facts)
    return (*_notes_on_the_end(run), *([f"{lost}; see the skipped files."] if lost else []))


def _notes_on_the_end(run: Finished) -> tuple[str, ...]:
    best = f"since epoch {run.best_epoch:g}" if run.best_epoch is not None else "in any epoch"
    return {
        "patience": (f"Training stopped early: no better validation result {best}.",),
        "time": ("Training stopped when its time was over.",),
        "interrupted": ("Training was interrupted; the test samples were not used.",),
        "failed": ("Training failed; the test samples were not used.",),
    }.get(run.facts["ended"], ())


def _validation_headline(run: Finished) -> Headline | None:
    """Returns the best epoch's result as training saw it; what is measured on the test samples takes its place."""
    name = run.task.main_metric
    value = None if run.best is None else run.best.get(f"validation_{name}")
    records = run.prepared.records("validation")
    if run.best is None or value is None or not records:
        return None
    unread = run.best.get("num_lost_validation", 0)  # rows of earlier runs do not have it
    read = len(records) - unread
    if run.task.kind == "multi_label":
        return Headline(
            metric=metrics.in_words(name), value=value, split="validation", num_samples=read, num_unread=unread
        )
    place = {label: number for number, label in enumerate(run.prepared.classes)}
    true = np.array([place[record.labels[0]] for record in records])
    chance_class, chance = metrics.majority_share(true, len(place))
    return Headline(
        metric=metrics.in_words(name),
        value=value,
        split="validation",
        num_samples=read,
        num_unread=unread,
        interval=metrics.wilson_interval(round(value * read), read),
        chance=chance,
        chance_class=run.prepared.classes[chance_class],
    )


def _seen_samples(run: Finished) -> tuple[SeenSample, ...]:
    """Draws training samples anew as the first epoch showed them: what they look like is a function of their number."""
    if not run.can_read:
        return ()
    samples = TrainingSamples(run.prepared.survey.source, run.prepared.records("train"), run.reader, run.config.seed)
    places = np.linspace(0, len(samples) - 1, min(SHOWN_SAMPLES, len(samples))).astype(int).tolist()
    shown = [samples[(0, place)] for place in places]
    return tuple(
        SeenSample(
            image=run.reader.streams.picture(sample.views[0]), labels=", ".join(samples.records[sample.index].labels)
        )
        for sample in shown
        if sample.views
    )


def _data_summary(run: Finished) -> DataSummary:
    survey, recorded = run.prepared.survey, run.facts.get("data", {})
    return DataSummary(
        source=survey.data,
        counts=run.prepared.counts(),
        num_samples={split: len(run.prepared.records(split)) for split in SPLITS},
        how_split=describe_split(survey, run.config.split, run.config.seed),
        sizes=_sizes(survey),
        skipped=tuple(SkippedFile(file=entry.name, reason=entry.reason) for entry in read_skipped(run.folder.skipped)),
        # A resumed run does not look for copies again: the first start has written down what it found.
        duplicates=tuple(map(tuple, recorded.get("copies", ()))),
        leaks=tuple(map(tuple, recorded.get("leaks", ()))),
        parted=tuple(map(tuple, recorded.get("parted", ()))),
        mislabelled=tuple(
            tuple(labelled(name, labels) for name, labels in group.items()) for group in recorded.get("mislabelled", ())
        ),
        notes=survey.notes,
    )


def _sizes(survey: Survey) -> tuple[Range, ...]:
    """Returns how large the files are, by stream where there are several."""
    found: dict[str, list[float]] = defaultdict(list)
    for record in survey.usable:
        for stream, facts in survey.facts.get(record.name, {}).items():
            prefix = f"{stream}: " if len(survey.streams.by_name) > 1 else ""
            for name, value in survey.streams.by_name[stream].sizes(facts).items():
                found[prefix + name].append(value)
    return tuple(
        Range(name=name, smallest=min(values), median=median(values), largest=max(values))
        for name, values in found.items()
    )


def _median_of(history: Sequence[Mapping[str, Any]], name: str) -> float | None:
    values = [row[name] for row in history if row.get(name) is not None]
    return float(np.median(values)) if values else None
