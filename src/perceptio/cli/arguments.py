"""Options from dataclasses, by tyro."""

import sys
from typing import TypeVar

import tyro

from perceptio.errors import UsageError

Arguments = TypeVar("Arguments")


def parse(kind: type[Arguments], arguments: list[str], *, command: str, default: Arguments | None = None) -> Arguments:
    """Returns the arguments of a command; wrong ones end the process with exit code 2 and the nearest names.

    Raises:
        UsageError: when each value is of its type but they do not fit together.
    """
    try:
        return tyro.cli(
            kind,
            args=arguments,
            default=tyro.MISSING_NONPROP if default is None else default,
            prog=f"perceptio {command}",
        )
    except ValueError as error:
        raise UsageError(str(error)) from error


def parse_part(kind: type[Arguments], arguments: list[str], *, command: str) -> Arguments:
    """Returns those arguments that `kind` knows; the others are somebody else's.

    Raises:
        UsageError: as `parse`.
    """
    try:
        known, _ = tyro.cli(kind, args=arguments, prog=f"perceptio {command}", return_unknown_args=True)
    except ValueError as error:
        raise UsageError(str(error)) from error
    return known


def print_full_help(kind: type[Arguments], *, command: str, default: Arguments | None = None) -> None:
    """Prints every option with its meaning and default."""
    try:
        tyro.cli(kind, args=["--help"], default=default, prog=f"perceptio {command}")
    except SystemExit:
        sys.stdout.flush()
