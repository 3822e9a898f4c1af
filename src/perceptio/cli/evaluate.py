"""perceptio evaluate."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from perceptio.cli.arguments import parse
from perceptio.cli.options import Option, Positional, options_of

if TYPE_CHECKING:
    import numpy as np

    from perceptio.runs.measured import Measured
    from perceptio.tasks.metrics import PerClass

HELP = """usage: perceptio evaluate RUN [--data PATH]

examples:
  perceptio evaluate runs/photos-001
  perceptio evaluate runs/photos-001 --data more-photos/
  perceptio evaluate runs/photos-001 --split validation --json

Measures the best weights of a run on its own test samples, or on other labelled
files whose classes it knows.

  RUN                 run folder, or a model.safetensors
  --data PATH         other labelled data, used whole; classes are matched by
                      name
  --split train|validation|test    which of the run's own samples (test)
  --streams NAME ..   give the model these streams alone, such as the sound of
                      videos (all)
  --device auto|cpu|cuda, --workers N
  --json              one JSON document on standard output
exit code 3: at least one file could not be read
"""

SHOWN_CLASSES = 12
SHOWN_PAIRS = 10


@dataclass(frozen=True, kw_only=True)
class EvaluateArguments:
    """What `perceptio evaluate` takes."""

    run: Annotated[Path, Positional("RUN")]
    data: str | None = None
    """Other labelled data, used whole; its classes are matched by name."""
    split: Literal["train", "validation", "test"] | None = None
    """Which of the run's own samples; default: test."""
    streams: tuple[str, ...] = ()
    """Give the model these streams alone, such as the sound of videos; default: all."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Auto takes a GPU if there is one."""
    workers: int | None = None
    """Processes that decode files; default: one per spare core, none for arrays."""
    json: bool = False
    """One JSON document on standard output."""


def options(words: Sequence[str] = ()) -> tuple[Option, ...]:
    """Returns all options."""
    return options_of(EvaluateArguments)


def main(words: Sequence[str]) -> int:
    """Runs the command."""
    chosen = parse(EvaluateArguments, words, command="evaluate")
    from perceptio.cli.screen import print_json, print_note, print_result
    from perceptio.runs.evaluate import evaluate_run

    measured = evaluate_run(
        chosen.run,
        data=chosen.data,
        split=chosen.split,
        streams=chosen.streams,
        device=chosen.device,
        workers=chosen.workers,
    )
    absent = [name for name, count in _counts(measured).items() if count == 0]
    if absent and chosen.data is not None:
        print_note(f"note: {chosen.data} has no sample of {', '.join(absent[:SHOWN_PAIRS])}, which the model knows")
    if measured.num_trained_on:
        print_note(
            f"note: the model was trained on {measured.num_trained_on:,} of these samples, which flatter it; without "
            "--data it is measured on its test samples"
        )
    if chosen.json:
        print_json(_document(measured))
    else:
        print_result(_text(measured))
    return 3 if measured.predictions.failures else 0


def _counts(measured: "Measured") -> dict[str, int]:
    return dict(zip(measured.classes, measured.rows.sum(axis=0).astype(int).tolist(), strict=True))


def _document(measured: "Measured") -> dict[str, Any]:
    return {
        "split": measured.split,
        "samples": len(measured.predictions.indices),
        "trained_on": measured.num_trained_on,
        "metrics": dict(measured.values),
        "classes": measured.classes,
        "confusion": None if measured.confusion is None else measured.confusion.tolist(),
        "per_class": [asdict(row) for row in measured.per_class],
        "failed": [{"file": entry.name, "error": entry.reason} for entry in measured.predictions.failures],
    }


def _text(measured: "Measured") -> str:
    from perceptio.reporting.sentences import result_sentence
    from perceptio.runs.measured import headline
    from perceptio.tasks.metrics import most_confused

    lines = [result_sentence(headline(measured))]
    lines += [f"  {name.replace('_', ' ')}: {value:.4f}" for name, value in measured.values.items()]
    if measured.confusion is not None:
        if len(measured.classes) <= SHOWN_CLASSES:
            lines += ["", *matrix_lines(measured.classes, measured.confusion)]
        pairs = most_confused(measured.confusion, measured.classes, SHOWN_PAIRS)
        if pairs:
            lines += ["", "most often confused:"]
            lines += [f"  {pair.true} taken for {pair.predicted}: {pair.count}" for pair in pairs]
    else:
        lines += ["", *precision_lines(measured.per_class)]
    lines += [f"failed  {entry.name}: {entry.reason}" for entry in measured.predictions.failures]
    return "\n".join(lines)


def precision_lines(table: Sequence["PerClass"]) -> list[str]:
    """Returns average precision and count of each class as text; of many classes the lowest."""
    from perceptio.reporting.numbers import things

    told = sorted((row for row in table if row.count), key=lambda row: row.average_precision)
    shown = told[:SHOWN_CLASSES]
    which = "each class" if len(shown) == len(table) else f"the {len(shown)} lowest of {len(told)} classes with samples"
    width = max((len(row.name) for row in shown), default=0)
    return [
        f"average precision of {which}",
        *(f"  {row.name:<{width}}  {row.average_precision:.4f}  ({things(row.count, 'sample')})" for row in shown),
    ]


def matrix_lines(classes: Sequence[str], confusion: "np.ndarray") -> list[str]:
    """Returns a confusion matrix (K, K), rows true and columns predicted, as text."""
    width = max(6, len(str(confusion.max())) + 2)
    rows = columns = list(classes)
    if max(map(len, rows)) >= width:  # too long to stand above a column: both sides go by number
        columns = [str(number) for number in range(1, len(rows) + 1)]
        rows = [f"{number:>2} {name}" for number, name in zip(columns, rows, strict=True)]
    name_width = max(map(len, rows))
    head = "".join(f"{name:>{width}}" for name in columns)
    lines = ["confusion (rows: true class, columns: predicted)", f"{'':<{name_width}}{head}"]
    for name, row in zip(rows, confusion.tolist(), strict=True):
        lines.append(f"{name:<{name_width}}" + "".join(f"{count:>{width}}" for count in row))
    return lines
