"""The result in sentences, as plain text. The report and the model card escape them each in their own way."""

import math
import shlex

from perceptio.reporting.content import Headline, ReportContent
from perceptio.reporting.numbers import count, interval, percent, things
from perceptio.tasks.metrics import most_confused


def result_sentence(headline: Headline) -> str:
    """Says what was measured, on what, how sure that is, and what needs no model at all."""
    samples = things(headline.num_samples, f"{headline.split} sample")
    if headline.metric == "accuracy":
        parts = [f"{percent(headline.value)} of {samples} were classified correctly"]
    else:
        parts = [f"{headline.metric} of {percent(headline.value)} on {samples}"]
    if headline.interval is not None:
        parts[0] += f" (95 % interval {interval(*headline.interval)})"
    if headline.chance is not None and headline.chance_class is not None:
        parts.append(f'always saying "{headline.chance_class}" gives {percent(headline.chance)}')
    elif headline.chance is not None:
        parts.append(f"the chance level is {percent(headline.chance)}")
    sentence = "; ".join(parts) + "."
    return sentence[:1].upper() + sentence[1:]


def predict_command(content: ReportContent) -> str:
    """Returns the command line that uses the model."""
    folder = content.origin.folder if content.origin is not None else ""
    return f"perceptio predict {shlex.quote(folder or content.run)} FILE"


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
