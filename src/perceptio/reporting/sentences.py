"""The result in sentences, as plain text. The report and the model card escape them each in their own way."""

import math
import shlex
from collections.abc import Sequence

from perceptio.reporting.content import Headline, ReportContent
from perceptio.reporting.numbers import count, interval, percent, things
from perceptio.tasks.metrics import most_confused

WIDE_INTERVAL = 0.05
FEW_SAMPLES = 20
SHOWN_NAMES = 5


def result_sentence(headline: Headline) -> str:
    """Says what was measured, on what, how sure that is, and what needs no model at all."""
    # A split is one word; other data says itself what it is, such as "all of photos".
    is_split = " " not in headline.split
    samples = measured_on(headline, f"{headline.split} sample" if is_split else "sample")
    if not is_split:
        samples += f", {headline.split},"
    if headline.metric == "accuracy":
        parts = [f"{percent(headline.value)} of {samples} were classified correctly"]
    else:
        parts = [f"{headline.metric} of {percent(headline.value)} on {samples}"]
    if headline.interval is not None:
        parts[0] += f" (95 % interval {interval(*headline.interval)})"
    if headline.num_unread:
        parts.append(unread_text(headline))
    if headline.chance is not None and headline.chance_class is not None:
        parts.append(f'always saying "{headline.chance_class}" gives {percent(headline.chance)}')
    elif headline.chance is not None:
        parts.append(f"the chance level is {percent(headline.chance)}")
    sentence = "; ".join(parts) + "."
    return sentence[:1].upper() + sentence[1:]


def why_nothing_was_measured(content: ReportContent) -> str:
    """Returns why a run has no result, and no model, as the end of a sentence."""
    return "no evaluation gave a number" if content.history else "the run ended before its first evaluation"


def measured_on(headline: Headline, noun: str) -> str:
    """Returns how many samples were measured, of how many where some could not be read: "8 of 18 samples"."""
    if not headline.num_unread:
        return things(headline.num_samples, noun)
    return f"{count(headline.num_samples)} of {things(headline.num_samples + headline.num_unread, noun)}"


def unread_text(headline: Headline) -> str:
    """Returns how many samples the result leaves out."""
    return f"{count(headline.num_unread)} could not be read"


def predict_command(content: ReportContent) -> str:
    """Returns the command line that uses the model."""
    folder = content.origin.folder if content.origin is not None else ""
    return f"perceptio predict {shlex.quote(folder or content.run)} FILE"


def repeat_command(content: ReportContent) -> str:
    """Returns the command line that trains the same again, into a new folder."""
    folder = content.origin.folder if content.origin is not None else ""
    return f"perceptio train --config {shlex.quote(f'{folder or content.run}/config.json')}"


def weakness_sentence(content: ReportContent) -> str:
    """Names the class that is recognised worst and the most frequent confusion; empty if neither is known."""
    parts = []
    recalled = [row for row in content.per_class if not math.isnan(row.recall)]
    ranked = [row for row in content.per_class if not math.isnan(row.average_precision)]
    if recalled:
        weakest = min(recalled, key=lambda row: row.recall)
        if weakest.recall < 1:
            parts.append(f"weakest class {weakest.name} ({percent(weakest.recall)} found)")
    elif ranked:
        weakest = min(ranked, key=lambda row: row.average_precision)
        parts.append(f"weakest class {weakest.name} (average precision {percent(weakest.average_precision)})")
    if content.confusion is not None:
        for pair in most_confused(content.confusion, content.classes, 1):
            times = "once" if pair.count == 1 else f"{count(pair.count)} times"
            parts.append(f"most often confused: {pair.true} taken for {pair.predicted}, {times}")
    sentence = "; ".join(parts)
    return f"{sentence[:1].upper()}{sentence[1:]}." if sentence else ""


def limits(content: ReportContent) -> tuple[str, ...]:
    """Says what the result does not: a sentence for each limit that the numbers show, and those of every such model."""
    found = [
        "It answers with its own classes whatever it is shown, also where a file belongs to none of them.",
        "Its probabilities are what the model says; they were not calibrated.",
        f"It was measured on {'test' if _is_tested(content) else 'validation'} samples of the same source as the "
        "training samples; on files that were made otherwise it may do worse.",
    ]
    if not _is_tested(content):
        found.append("The test samples were not used: the result chose the epoch, which flatters it.")
    headline = content.headline
    if headline is not None and headline.interval is not None:
        low, high = headline.interval
        if headline.chance is not None and low <= headline.chance:
            found.append(
                f"It may be no better than {_without_a_model(headline)}: that gives {percent(headline.chance)}, and "
                f"the 95 % interval begins at {percent(low)}."
            )
        if high - low > WIDE_INTERVAL:
            samples = things(headline.num_samples, f"{headline.split} sample")
            found.append(f"There are only {samples}: the result is known to {interval(low, high)} % and no better.")
    if headline is not None and headline.num_unread:
        samples = things(headline.num_samples + headline.num_unread, f"{headline.split} sample")
        found.append(f"It leaves out {count(headline.num_unread)} of {samples}, which could not be read.")
    small = [row.name for row in content.per_class if row.count < FEW_SAMPLES]
    if small:
        found.append(f"Fewer than {FEW_SAMPLES} samples measure {_some(small)}: those rows say little.")
    weak = [row.name for row in content.per_class if row.recall < 0.5]
    if weak:
        found.append(f"It misses more than half of the samples of {_some(weak)}.")
    if content.num_suspects:
        labels = things(content.num_suspects, "validation or test sample")
        found.append(f"{labels} may bear a wrong label, which the result counts as mistakes; report.html shows them.")
    return tuple(found)


def _is_tested(content: ReportContent) -> bool:
    return content.headline is not None and content.headline.split == "test"


def _without_a_model(headline: Headline) -> str:
    return "chance" if headline.chance_class is None else f'always saying "{headline.chance_class}"'


def _some(names: Sequence[str]) -> str:
    rest = len(names) - SHOWN_NAMES
    return ", ".join(names[:SHOWN_NAMES]) + (f" and {count(rest)} more" if rest > 0 else "")
