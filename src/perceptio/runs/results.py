"""After training: the test result, the answers for each test file, pictures and report."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from perceptio.data.dataset import View
from perceptio.data.records import Record
from perceptio.errors import FileError
from perceptio.modalities.streams import StreamReader
from perceptio.models.perceiver import Perceiver
from perceptio.reporting.confusion import draw_confusion, write_confusion_csv
from perceptio.reporting.content import (
    Cost,
    DataSummary,
    Mistake,
    Origin,
    Picture,
    ReportContent,
    SkippedFile,
)
from perceptio.reporting.curves import draw_curves
from perceptio.reporting.model_card import write_model_card
from perceptio.reporting.report import write_report
from perceptio.reporting.samples import draw_sample_grid
from perceptio.runs.attend import Attention, attention_of
from perceptio.runs.data import PreparedData, read_skipped
from perceptio.runs.folder import RunFolder
from perceptio.runs.measured import Measured, headline, write_predictions
from perceptio.runs.model_file import read_model
from perceptio.runs.screen import Screen
from perceptio.runs.serialisation import to_json
from perceptio.tasks import metrics
from perceptio.training.metric_log import MetricLog

SHOWN_MISTAKES = 24
SHOWN_ATTENTION = 4


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What came of a run. `test` is empty when training was interrupted.

    Attributes:
        ended: "finished", "patience" or "interrupted".
        is_main: False in all but the first of several processes, which measure and write nothing.
    """

    folder: Path
    ended: str
    best_epoch: float | None
    test: Mapping[str, float]
    is_main: bool = True


def finish_run(
    folder: RunFolder,
    *,
    prepared: PreparedData,
    reader: StreamReader,
    device: torch.device,
    measured: Measured | None,
    screen: Screen,
) -> RunResult:
    """Writes everything that people look at.

    Args:
        measured: the best weights on the test samples; None after an interruption, or where no evaluation gave a
            number: then the report shows what there is.
    """
    history = MetricLog(folder.metrics).rows()
    facts = folder.read_facts()
    best = next((row for row in history if row["step"] == facts.get("best_step")), None)
    best_epoch = None if best is None else best["epoch"]
    test: Mapping[str, float] = {}
    if measured is not None:
        test = measured.values
        folder.update_facts({"test": dict(test)})
        write_predictions(folder.predictions, measured)
    content = _opening_content(folder, prepared, history, best_epoch)
    if history:
        draw_curves(history, best_epoch, folder.plots / "curves.png")
    if measured is not None:
        model = read_model(folder.weights)[0].to(device)
        content = _with_result(content, folder, measured, prepared, reader)
        content = replace(content, attention=_draw_attention(folder, model, measured, prepared, reader))
    write_report(content, folder.report)
    write_model_card(content, folder.card)
    return RunResult(folder=folder.path, ended=facts["ended"], best_epoch=best_epoch, test=test)


def _opening_content(
    folder: RunFolder, prepared: PreparedData, history: list[dict[str, Any]], best_epoch: float | None
) -> ReportContent:
    facts, config = folder.read_facts(), folder.read_config()
    rates = [row["samples_per_second"] for row in history]
    skipped = read_skipped(folder.skipped)
    samples = folder.plots / "train_samples.png"
    ended = {
        "finished": (),
        "patience": (f"Training stopped early: no better validation result since epoch {best_epoch or 0:g}.",),
        "interrupted": ("Training was interrupted: the test samples were not used.",),
    }
    return ReportContent(
        run=folder.path.name,
        recipe=config.recipe,
        history=tuple(history),
        best_epoch=best_epoch,
        classes=prepared.classes,
        samples=Picture(path=samples, caption="Training samples as the model sees them.") if samples.exists() else None,
        data=DataSummary(
            source=prepared.survey.data,
            counts=prepared.counts(),
            how_split=f"as given, the rest drawn by class with seed {config.seed}; split.csv lists every file",
            skipped=tuple(SkippedFile(file=entry.name, reason=entry.reason) for entry in skipped),
            duplicates=prepared.survey.copies,
            leaks=prepared.leaks,
            notes=prepared.survey.notes,
        ),
        cost=Cost(
            seconds=facts["seconds"],
            samples_per_second=float(np.median(rates)) if rates else None,
            peak_memory_bytes=facts["peak_memory_bytes"],
            num_parameters=facts.get("num_parameters"),
            flops_per_sample=facts.get("flops_per_sample"),
        ),
        origin=Origin(
            command=facts.get("command", ""),
            folder=str(folder.path),
            config=to_json(config),
            seed=config.seed,
            machine=facts.get("machine", ""),
            versions=facts.get("versions", {}),
            created=facts.get("created", ""),
        ),
        notes=ended[facts["ended"]],
    )


def _with_result(
    content: ReportContent, folder: RunFolder, measured: Measured, prepared: PreparedData, reader: StreamReader
) -> ReportContent:
    if measured.confusion is None:
        table = metrics.multi_label_table(measured.predictions.probabilities, measured.rows > 0.5, measured.classes)
        return replace(content, headline=headline(measured), per_class=table)
    draw_confusion(measured.confusion, measured.classes, folder.plots / "confusion.png")
    write_confusion_csv(measured.confusion, measured.classes, folder.plots / "confusion.csv")
    mistakes = _surest_mistakes(measured, prepared, reader)
    shown = [mistake for mistake in mistakes if mistake.image is not None]
    if shown:
        draw_sample_grid(
            [mistake.image for mistake in shown if mistake.image is not None],
            [f"{mistake.true}, taken for {mistake.predicted}" for mistake in shown],
            folder.plots / "mistakes.png",
        )
    return replace(
        content,
        headline=headline(measured),
        confusion=measured.confusion,
        per_class=metrics.per_class_table(measured.confusion, measured.classes),
        mistakes=mistakes,
    )


def _surest_mistakes(measured: Measured, prepared: PreparedData, reader: StreamReader) -> tuple[Mistake, ...]:
    probabilities = measured.predictions.probabilities
    predicted, true = probabilities.argmax(axis=1), measured.rows.argmax(axis=1)
    wrong = np.flatnonzero(predicted != true)
    surest = wrong[np.argsort(-probabilities[wrong, predicted[wrong]], kind="stable")][:SHOWN_MISTAKES]
    found = []
    for position in surest:
        record = measured.records[measured.predictions.indices[position]]
        found.append(
            Mistake(
                file=record.name,
                image=_picture(record, prepared, reader),
                true=measured.classes[true[position]],
                predicted=measured.classes[predicted[position]],
                probability=float(probabilities[position, predicted[position]]),
            )
        )
    return tuple(found)


def _picture(record: Record, prepared: PreparedData, reader: StreamReader) -> np.ndarray | None:
    view = _view(record, prepared, reader)
    return None if view is None else reader.streams.picture(view)


def _view(record: Record, prepared: PreparedData, reader: StreamReader) -> View | None:
    try:
        return reader.evaluation_views(prepared.survey.source.load(record))[0]
    except FileError:
        return None


def _draw_attention(
    folder: RunFolder, model: Perceiver, measured: Measured, prepared: PreparedData, reader: StreamReader
) -> tuple[Picture, ...]:
    indices = measured.predictions.indices
    chosen = indices[:: max(1, len(indices) // SHOWN_ATTENTION)][:SHOWN_ATTENTION]
    pictures: list[Picture] = []
    for number, index in enumerate(chosen, start=1):
        record = measured.records[index]
        view = _view(record, prepared, reader)
        if view is None:
            continue
        labels = ", ".join(record.labels)
        attention = Attention(streams=attention_of(model, view, reader.streams), title=f"{record.name}: {labels}")
        pictures += [
            Picture(path=path, caption=f"What latents attend to in {record.name} ({labels}).")
            for path in attention.draw(folder.plots / f"attention_{number}.png")
        ]
    return tuple(pictures)
