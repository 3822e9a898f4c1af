"""The README.md of a run, its model card: what it is for, how well it works, its limits, how to use and repeat it."""

import re
from pathlib import Path

from perceptio.data.names import printable
from perceptio.reporting.content import ReportContent
from perceptio.reporting.numbers import things
from perceptio.reporting.sentences import (
    limits,
    predict_command,
    repeat_command,
    result_sentence,
    weakness_sentence,
    why_nothing_was_measured,
)
from perceptio.reporting.tables import Table, cost_rows, counts_table, per_class_rows

# Signs that are markup anywhere, and those that begin a list or a heading at the start of a block.
_MARKUP = re.compile(r"[\\`*_\[\]|~$^]|^[#+=-]|^\d+(?=[.)]\s)")
_MAX_CLASSES = 50
_MAX_NAMES = 12
_MAX_COPIES = 4


def write_model_card(content: ReportContent, path: Path) -> None:
    """Writes the model card as Markdown, UTF-8. Names are text in it, whatever signs they hold."""
    parts = [f"# {_text(content.run)}", _opening(content)]
    if content.classes and content.has_model:
        parts += ["## Intended use", _intended_use(content)]
    if content.origin is not None and content.has_model:
        parts += ["## Use it", _code(predict_command(content)), "From Python:", _python(content)]
    result = [_text(result_sentence(content.headline))] if content.headline is not None else []
    result += [_text(weakness_sentence(content)), *map(_text, content.notes)]
    if content.problem:
        result.append(_text(f"Training failed: {content.problem}"))
    if any(result):
        parts += ["## Result", *result]
    if content.per_class:
        parts += ["## Each class", *_markdown_table(per_class_rows(content))]
    if content.headline is not None:
        parts += ["## Limits", "\n".join(f"- {_text(limit)}" for limit in limits(content))]
    if content.data is not None:
        parts += ["## Data", *_data(content)]
    if content.cost is not None and cost_rows(content.cost):
        parts += ["## Cost", "\n".join(f"- {name}: {_text(text)}" for name, text in cost_rows(content.cost))]
    if content.origin is not None:
        made = _code(content.origin.command) if content.origin.command else "Started from Python."
        parts += ["## How it was made", made, "To train it again:", _code(repeat_command(content)), _where(content)]
    path.write_text("\n\n".join(part for part in parts if part) + "\n", encoding="utf-8")


def _opening(content: ReportContent) -> str:
    kind = f"A Perceiver (arXiv 2103.03206) trained with perceptio from the recipe {_text(content.recipe)}."
    left = "" if content.has_model else f" There is no model here: {why_nothing_was_measured(content)}."
    return f"{kind}{left} Everything else about it is in report.html."


def _intended_use(content: ReportContent) -> str:
    names = ", ".join(content.classes[:_MAX_NAMES])
    more = f" and {len(content.classes) - _MAX_NAMES:,} more" if len(content.classes) > _MAX_NAMES else ""
    shown = f" It sees each as {content.input_size}." if content.input_size else ""
    return _text(
        f"To label files like those that it was trained on with {things(len(content.classes), 'class', 'classes')}: "
        f"{names}{more}.{shown} Nobody has tested it for anything else."
    )


def _python(content: ReportContent) -> str:
    folder = content.origin.folder if content.origin is not None else ""
    lines = (
        "import perceptio",
        f"for answer in perceptio.load({printable(folder or content.run)!r}).predict(['FILE']):",
        "    print(answer.file, answer.label, answer.error)",
    )
    return "\n".join(_code(line) for line in lines)


def _data(content: ReportContent) -> list[str]:
    data = content.data
    assert data is not None
    split = f" {_text(data.how_split)}" if data.how_split else ""
    parts = [f"Trained on {_text(data.source)}.{split}"]
    if data.counts:
        parts += _markdown_table(counts_table(content))
    if data.skipped:
        parts.append(f"{things(len(data.skipped), 'file')} could not be used; see the report.")
    if data.leaks:
        groups = things(len(data.leaks), "group")
        parts.append(f"Caution: equal files in different splits ({groups}) flatter the result.")
    if data.parted:
        groups = things(len(data.parted), "group")
        parts.append(
            f"Caution: samples that belong together stand in different splits ({groups}), as the data gives it."
        )
    if data.mislabelled:
        groups = things(len(data.mislabelled), "group")
        first = " = ".join(data.mislabelled[0][:_MAX_COPIES])
        parts.append(f"Caution: equal files bear different labels ({groups}), some wrong, such as {_text(first)}.")
    return [*parts, *map(_text, data.notes)]


def _where(content: ReportContent) -> str:
    assert content.origin is not None
    versions = ", ".join(f"{name} {version}" for name, version in content.origin.versions.items())
    seed = "" if content.origin.seed is None else f"seed {content.origin.seed}"
    return _text("; ".join(part for part in (seed, versions, content.origin.machine, content.origin.created) if part))


def _markdown_table(table: Table) -> list[str]:
    shown = table.rows if len(table.rows) <= _MAX_CLASSES + 1 else table.rows[:_MAX_CLASSES]
    lines = [_row(table.head), "|" + "---|" + "---:|" * (len(table.head) - 1), *map(_row, shown)]
    hidden = len(table.rows) - len(shown)
    return ["\n".join(lines), f"{hidden:,} more rows are in report.html." if hidden else ""]


def _row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(map(_text, cells)) + " |"


def _text(text: str) -> str:
    """Escapes Markdown and HTML; neither a name nor a sentence may become markup."""
    plain = printable(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKUP.sub(_escape, plain)


def _escape(markup: re.Match[str]) -> str:
    # "1." begins a list and a backslash before a digit is text, so a number gets a character reference.
    sign = markup.group()
    return f"&#{ord(sign[0])};{sign[1:]}" if sign[0].isdigit() else f"\\{sign}"


def _code(command: str) -> str:
    """Returns an indented block, which no sequence of backticks in the command can close."""
    return f"    {printable(command)}"
