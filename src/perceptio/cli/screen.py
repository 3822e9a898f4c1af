"""Results on standard output, where a pipe finds them, and the screen that a command's progress goes to."""

import json
import sys
from typing import TYPE_CHECKING, Any

from perceptio.json_values import finite

if TYPE_CHECKING:
    from perceptio.screens.choice import ClosableScreen


def progress_screen(*, quiet: bool, as_json: bool = False, is_follower: bool = False) -> "ClosableScreen":
    """Returns where progress goes: nowhere, as JSON lines to standard output, or as lines for people to stderr.

    Args:
        quiet: show warnings alone.
        is_follower: this process is not the first of several, and shows nothing.
    """
    from perceptio.screens.choice import NoScreen, QuietScreen, screen
    from perceptio.screens.json_lines import JsonScreen

    if is_follower:
        return NoScreen()
    if quiet:
        return QuietScreen()
    return JsonScreen() if as_json else screen()


def print_result(text: str) -> None:
    """Prints a result on standard output."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def print_note(text: str) -> None:
    """Prints on stderr what people should know and what is no result."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def print_json(document: Any) -> None:
    """Prints a result as one JSON document on a line. JSON has no NaN and no infinity: they become null."""
    print_result(json.dumps(finite(document), allow_nan=False))
