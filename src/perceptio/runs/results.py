"""After training: the test result, the answers for each test file, pictures, report and model card."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from perceptio.data.names import shown_path
from perceptio.evaluation.unsure import unsure_at
from perceptio.models.perceiver import Perceiver
from perceptio.reporting.confusion import draw_confusion, write_confusion_csv
from perceptio.reporting.content import JudgedFile, Picture, ReportContent
from perceptio.reporting.curves import draw_curves
from perceptio.reporting.model_card import write_model_card
from perceptio.reporting.report import write_report
from perceptio.reporting.samples import draw_sample_grid
from perceptio.runs.attend import Attention, attention_of
from perceptio.runs.ending import ending_lines
from perceptio.runs.measured import Measured, headline, write_predictions
from perceptio.runs.model_file import read_model, write_model
from perceptio.runs.opening import labelled
from perceptio.runs.report_content import Finished, content_of
from perceptio.runs.review import judged, least_sure, surest_mistakes, suspects

SHOWN_MISTAKES = 24
SHOWN_UNSURE = 12
SHOWN_SUSPECTS = 24
SHOWN_ATTENTION = 4


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What came of a run. `test` is empty when training was interrupted or failed.

    Attributes:
        ended: "finished", "patience", "time", "interrupted" or "failed".
        measured: the best weights on "validation" and "test"; empty when they were not measured.
        num_suspects: how many validation and test labels the model surely contradicts; None when nothing was measured.
        stopped_by: the signal that asked for the interruption, or None.
        is_main: False in all but the first of several processes, which measure and write nothing.
        ending: how it ended and what came of it, as lines for people: (label, text).
    """

    folder: Path
    ended: str
    best_epoch: float | None
    test: Mapping[str, float]
    measured: Mapping[str, Measured] = field(default_factory=dict)
    num_suspects: int | None = None
    stopped_by: int | None = None
    is_main: bool = True
    ending: tuple[tuple[str, str], ...] = ()


def finish_run(run: Finished, measured: Mapping[str, Measured], device: torch.device) -> RunResult:
    """Writes everything that people look at.

    Args:
        measured: the best weights on "validation" and "test"; empty after an interruption, a failure, or where no
            evaluation gave a number: then the report shows what there is.
    """
    content = content_of(run)
    num_suspects = None
    run.folder.update_facts({"best_epoch": run.best_epoch})
    if run.history:
        draw_curves(run.history, run.best_epoch, run.folder.plots / "curves.png")
    if measured:
        model, model_facts = read_model(run.folder.weights)
        if measured["validation"].confusion is not None:
            learned = learned_unsure_at(measured["validation"])
            write_model(run.folder.weights, model.state_dict(), replace(model_facts, unsure_at=learned))
        model.to(device)
        content = _with_result(content, run, measured)
        content = replace(content, attention=_draw_attention(run, model, measured["test"]))
        num_suspects = content.num_suspects
        run.folder.update_facts(
            {
                "test": dict(measured["test"].values),
                "measured_on": {split: len(found.predictions.indices) for split, found in measured.items()},
                "suspects": num_suspects,
            }
        )
    write_report(content, run.folder.report)
    write_model_card(content, run.folder.card)
    return RunResult(
        folder=run.folder.path,
        ended=run.facts["ended"],
        best_epoch=run.best_epoch,
        test=measured["test"].values if measured else {},
        measured=measured,
        num_suspects=num_suspects,
        ending=ending_lines(run, measured.get("test"), example=_example(run, measured), num_suspects=num_suspects or 0),
    )


def learned_unsure_at(validated: Measured) -> float | None:
    """Returns up to which first probability the answers on validation samples were not to be relied upon."""
    found = validated.predictions.probabilities
    return unsure_at(found.max(axis=1), found.argmax(axis=1) == validated.rows.argmax(axis=1))


def _example(run: Finished, measured: Mapping[str, Measured]) -> str:
    """Returns a test file to try the model on, one that was read; nothing where samples are no files of their own."""
    if not measured:
        return ""
    test = measured["test"]
    items = run.prepared.survey.source.load(test.records[test.predictions.indices[0]]).values()
    return next((shown_path(item) for item in items if isinstance(item, Path)), "")


def _with_result(content: ReportContent, run: Finished, measured: Mapping[str, Measured]) -> ReportContent:
    test = measured["test"]
    write_predictions(run.folder.predictions, test)
    doubtful = suspects(tuple(measured.values()))
    content = replace(
        content,
        headline=headline(test),
        mistakes=tuple(judged(pick, run.picture) for pick in surest_mistakes(test, SHOWN_MISTAKES)),
        unsure=tuple(judged(pick, run.picture) for pick in least_sure(test, SHOWN_UNSURE)),
        suspects=tuple(judged(pick, run.picture) for pick in doubtful[:SHOWN_SUSPECTS]),
        num_suspects=len(doubtful),
    )
    _draw_mistakes(content.mistakes, run.folder.plots / "mistakes.png")
    content = replace(content, per_class=test.per_class)
    if test.confusion is None:
        return content
    draw_confusion(test.confusion, test.classes, run.folder.plots / "confusion.png")
    write_confusion_csv(test.confusion, test.classes, run.folder.plots / "confusion.csv")
    return replace(content, confusion=test.confusion)


def _draw_mistakes(mistakes: tuple[JudgedFile, ...], path: Path) -> None:
    shown = [(mistake.image, mistake) for mistake in mistakes if mistake.image is not None]
    if shown:
        draw_sample_grid(
            [image for image, _ in shown],
            [f"{mistake.labelled}, taken for {mistake.answers[0][0]}" for _, mistake in shown],
            path,
        )


def _draw_attention(run: Finished, model: Perceiver, measured: Measured) -> tuple[Picture, ...]:
    indices = measured.predictions.indices
    chosen = indices[:: max(1, len(indices) // SHOWN_ATTENTION)][:SHOWN_ATTENTION]
    pictures: list[Picture] = []
    for number, index in enumerate(chosen, start=1):
        record = measured.records[index]
        view = run.evaluation_view(record)
        if view is None:
            continue
        shown = labelled(record.name, record.labels)
        attention = Attention(streams=attention_of(model, view, run.reader.streams), title=shown)
        pictures += [
            Picture(path=path, caption=f"What latents attend to in {shown}.")
            for path in attention.save(run.folder.plots / f"attention_{number}.png")
        ]
    return tuple(pictures)
