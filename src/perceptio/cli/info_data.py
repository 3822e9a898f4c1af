"""perceptio info DATA: what a folder or a table holds, and what training would make of it."""

import shlex
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from perceptio.recipes.automatic import Choice
    from perceptio.runs.data import Survey

SMALL_CLASS = 10  # samples; with fewer, a class has one or two in validation and test each
SHOWN = 10


def tell_data(data: str, *, as_json: bool) -> int:
    """Prints what the data holds. The exit code is that of training on it, as far as files decide it."""
    from perceptio.cli.screen import print_json, print_result, progress_screen
    from perceptio.errors import DataError
    from perceptio.recipes.automatic import choose_config, gpu_is_there
    from perceptio.runs.config import SourceConfig, absolute_data
    from perceptio.runs.data import check_share, prepare_data, survey_data
    from perceptio.runs.lines import fact_line

    screen = progress_screen(quiet=as_json)
    try:
        source = SourceConfig()
        survey = survey_data(
            absolute_data(data, source.format),
            source,
            judged=False,
            progress=lambda done, total: screen.work("reading files", done, total),
        )
    finally:
        screen.close()
    choice, refusal = None, ""
    try:
        choice = choose_config(survey, has_gpu=gpu_is_there()) if survey.usable else None
        check_share(survey.skipped, len(survey.usable), source.max_skipped, survey.data)
        if choice is not None:
            prepare_data(survey, choice.config)
    except DataError as error:
        refusal = str(error).partition("; all: ")[0]  # which this very output lists
    if as_json:
        print_json(_document(survey, choice, refusal))
    else:
        for label, text in _lines(survey, choice, refusal):
            print_result(fact_line(label, text))
    return DataError.exit_code if refusal else 0


def small_classes(survey: "Survey") -> dict[str, int]:
    """Returns the classes with few samples, the smallest first."""
    counts = Counter(label for record in survey.usable for label in record.labels)
    every = {name: counts[name] for name in survey.source.classes}
    return dict(
        sorted(((name, count) for name, count in every.items() if count < SMALL_CLASS), key=lambda each: each[1])
    )


def _lines(survey: "Survey", choice: "Choice | None", refusal: str) -> Sequence[tuple[str, str]]:
    from perceptio.data.names import printable
    from perceptio.reporting.numbers import percent
    from perceptio.runs.opening import labelled, show_data, show_input

    lines: list[tuple[str, str]] = []
    screen = _Lines(lines)
    show_data(survey, screen, listed_in="the list below")
    small = small_classes(survey)
    if small:
        shown = ", ".join(f"{printable(name)} {count}" for name, count in list(small.items())[:SHOWN])
        more = f" and {len(small) - SHOWN} more" if len(small) > SHOWN else ""
        lines.append(("Small", f"classes with fewer than {SMALL_CLASS} samples: {shown}{more}"))
    for group in survey.mislabelled[:SHOWN]:
        lines.append(("Labels", " = ".join(labelled(*each) for each in group.items())))
    for names in survey.copies[:SHOWN]:
        lines.append(("Copies", ", ".join(map(printable, names))))
    if len(survey.skipped) > 1:
        total = len(survey.usable) + len(survey.skipped)
        reasons = Counter(entry.reason for entry in survey.skipped)
        lines.append(("Skipped", f"{len(survey.skipped):,} of {total:,}, {percent(len(survey.skipped) / total)}"))
        lines += [("", f"{count:,} x {reason}") for reason, count in reasons.most_common()]
        lines += [("", f"{entry.name}: {entry.reason}") for entry in survey.skipped[1:]]
    if choice is not None:
        show_input(survey, choice.config, screen, choice.reasons)
        lines += [(reason.label, reason.text) for reason in choice.reasons if reason.label != "Input"]
    if refusal:
        lines.append(("Refused", refusal))
    else:
        lines.append(("Next", f"perceptio train --data {shlex.quote(survey.data)}"))
    return lines


class _Lines:
    """A screen that keeps what it is told."""

    def __init__(self, lines: list[tuple[str, str]]) -> None:
        self.lines = lines

    def fact(self, label: str, text: str) -> None:
        """Keeps a fact."""
        self.lines.append((label, text))

    def work(self, what: str, done: int, total: int) -> None:
        """Nothing to keep."""

    def training(self, report: Any) -> None:
        """Nothing to keep."""


def _document(survey: "Survey", choice: "Choice | None", refusal: str) -> dict[str, Any]:
    from perceptio.runs.serialisation import to_json

    counts = Counter(label for record in survey.usable for label in record.labels)
    return {
        "data": survey.data,
        "classes": {name: counts[name] for name in survey.source.classes},
        "small_classes": small_classes(survey),
        "used": len(survey.usable),
        "skipped": [{"file": entry.name, "reason": entry.reason} for entry in survey.skipped],
        "copies": survey.copies,
        "mislabelled": survey.mislabelled,
        "notes": survey.notes,
        "files": {
            name: modality.summary([facts[name] for facts in survey.facts.values() if name in facts])
            for name, modality in survey.streams.by_name.items()
        },
        "fingerprint": survey.fingerprint,
        "refused": refusal or None,
        "choices": [] if choice is None else [vars(reason) for reason in choice.reasons],
        "config": None if choice is None else to_json(choice.config),
    }
