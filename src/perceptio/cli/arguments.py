"""A command's arguments from its dataclass, and the full help over them."""

import textwrap
from collections.abc import Sequence
from dataclasses import MISSING
from typing import TypeVar

from perceptio.cli.options import Option, build, options_of, read_arguments
from perceptio.cli.values import metavar, shown

Arguments = TypeVar("Arguments")

HELP_COLUMNS = 80


def parse(kind: type[Arguments], words: Sequence[str], *, command: str) -> Arguments:
    """Returns the arguments of a command.

    Raises:
        UsageError: an option, value or word that cannot be what was meant; with the nearest one and its meaning.
    """
    options = options_of(kind)
    arguments: Arguments = build(kind, options, read_arguments(options, words, command))
    return arguments


def full_help(options: Sequence[Option]) -> str:
    """Returns every option with its meaning and default, in lines of at most 80 characters."""
    return "\n".join(_entry(option) for option in options) + "\n"


def _entry(option: Option) -> str:
    values = metavar(option.hint)
    head = option.name if option.is_positional else f"{option.name} {values}".rstrip()
    said = option.is_positional or option.default is MISSING or "default:" in option.meaning.lower()
    default = "" if said else f" ({shown(option.default, option.name)})"
    text = textwrap.fill(
        f"{option.meaning}{default}".strip(),
        HELP_COLUMNS,
        initial_indent="      ",
        subsequent_indent="      ",
        break_on_hyphens=False,
        break_long_words=False,
    )
    return f"  {head}\n{text}" if text.strip() else f"  {head}"
