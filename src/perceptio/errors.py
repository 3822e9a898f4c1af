"""Errors that are shown to people: each states the rule, the value that broke it and the way out.

Raise these where user input enters; inside the code an `assert` states an invariant of ours.
"""

import difflib
from collections.abc import Iterable


class PerceptioError(Exception):
    """Something the user can act on. The command line prints the message alone and exits with `exit_code`."""

    exit_code = 1


class UsageError(PerceptioError, ValueError):
    """A command, option, recipe or field that cannot be what was meant."""

    exit_code = 2


class DataError(PerceptioError):
    """The given data as a whole cannot be used."""

    exit_code = 4


class UnreachableError(DataError):
    """The disk or the network that holds the data failed again and again: no file is to blame."""


class FileError(PerceptioError):
    """One file cannot be used. The message is one line that reads well after the file's name and a colon."""

    exit_code = 3


class AbsentError(FileError):
    """A file is whole but does not hold what was looked for, such as a video without sound."""


class HarmfulFileError(FileError):
    """A file that kills, hangs or exhausts the process that reads it."""


class MissingExtraError(PerceptioError, ImportError):
    """An optional dependency is not installed."""

    exit_code = 2

    def __init__(self, what: str, extra: str) -> None:
        self.what, self.extra = what, extra
        super().__init__(f"{what} needs an optional part that is not installed: pip install 'perceptio[{extra}]'")


class SharedError(PerceptioError):
    """What ended one of several processes, raised in another: all end with its exit code, and the first one says it."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def nearest(name: str, known: Iterable[str], *, show: int = 3, alike: float = 0.5) -> str:
    """Says which of the known names come closest: " Nearest: a, b." or, if none does, " Known: a, b, ..".

    Args:
        alike: share of its letters, 0 to 1, that a name must have in common with one that is called near.
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=show, cutoff=alike)
    if close:
        return f" Nearest: {', '.join(close)}."
    return f" Known: {', '.join(names)}."
