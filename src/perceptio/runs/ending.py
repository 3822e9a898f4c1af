"""How a run ended and what came of it, as lines for people."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from perceptio.reporting.numbers import count, interval, percent, things
from perceptio.reporting.sentences import measured_on, unread_text
from perceptio.runs.lines import main_metric_of
from perceptio.runs.measured import Measured, headline
from perceptio.runs.report_content import Finished, lost_text
from perceptio.tasks.metrics import most_confused

Line = tuple[str, str]


def ending_lines(
    run: Finished, measured: Measured | None, *, example: str = "", num_suspects: int = 0
) -> tuple[Line, ...]:
    """Returns why the run ended, its test result, and what to type next.

    Args:
        measured: on the test samples; None: they were not used.
        example: a file to try the model on.
        num_suspects: validation and test labels that the model surely contradicts.
    """
    folder, ended, path = run.folder, run.facts["ended"], shlex.quote(str(run.folder.path))
    lost = [("Lost", f"{text}; listed in {folder.skipped}") for text in [lost_text(run.facts)] if text]
    if ended == "interrupted":
        return (*lost, ("Stopped", f"saved; go on with: perceptio train --resume {path}"))
    if ended == "failed":
        return (("Report", str(folder.report)),)
    lines = [*lost, _why(ended, run.config.epochs, run.history, run.best)]
    if measured is None:
        lines.append(("Test", "no test result: no evaluation gave a number"))
    else:
        lines.append(("Test", result_text(measured)))
        lines += [("", text) for text in (weakness_text(measured), _suspects(num_suspects)) if text]
    lines.append(("Report", str(folder.report)))
    if measured is not None:
        file = shlex.quote(example) if example else "FILE"
        lines += [("Next", f"perceptio predict {path} {file}"), ("", f"perceptio attend {path} {file}")]
    return tuple(lines)


def _why(ended: str, epochs: float, history: Sequence[Mapping[str, Any]], best: Mapping[str, Any] | None) -> Line:
    if best is None:
        return ("Finished", f"{epochs:g} epochs, and no evaluation gave a number")
    metric = main_metric_of(best)
    name = "mean average precision" if metric == "validation_map" else "accuracy"
    if ended == "patience":
        return ("Stopped", f"no better validation {name} since epoch {best['epoch']:g}, whose weights are kept")
    kept = f"the weights of epoch {best['epoch']:g} are kept, the best on validation ({percent(best[metric])})"
    if ended == "time":
        return ("Stopped", f"the time is over, after epoch {history[-1]['epoch']:g} of {epochs:g}; {kept}")
    return ("Finished", f"{epochs:g} epoch{'' if epochs == 1 else 's'}; {kept}")


def result_text(measured: Measured) -> str:
    """Returns the main result with its interval and what needs no model."""
    head = headline(measured)
    samples, unread = measured_on(head, "sample"), f"; {unread_text(head)}" if head.num_unread else ""
    if head.interval is None:
        return f"mean average precision {percent(head.value)} on {samples}{unread}"
    chance = f'; always saying "{head.chance_class}" gives {percent(head.chance)}' if head.chance is not None else ""
    return f"{percent(head.value)} of {samples} (95 % interval {interval(*head.interval)}){unread}{chance}"


def weakness_text(measured: Measured) -> str:
    """Names the class that is recognised worst and the most frequent confusion; nothing if all is right."""
    if measured.confusion is None:
        ranked = [row for row in measured.per_class if row.average_precision == row.average_precision]
        if not ranked:
            return ""
        weakest = min(ranked, key=lambda row: row.average_precision)
        return f"weakest class {weakest.name}, average precision {percent(weakest.average_precision)}"
    found = [row for row in measured.per_class if row.count]
    weakest = min(found, key=lambda row: row.recall)
    if weakest.recall == 1:
        return ""
    (pair,) = most_confused(measured.confusion, measured.classes, 1)
    times = "once" if pair.count == 1 else f"{count(pair.count)} times"
    return (
        f"weakest class {weakest.name}, {percent(weakest.recall)} of {count(weakest.count)}; most often confused: "
        f"{pair.true} taken for {pair.predicted}, {times}"
    )


def _suspects(number: int) -> str:
    if number == 0:
        return ""
    return f"{things(number, 'label', 'labels')} may be wrong: the model is sure of another class; see the report"
