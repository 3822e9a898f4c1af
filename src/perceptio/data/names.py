"""Names of files, classes and splits: which count, which do not, and how they are shown."""

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

from perceptio.data.limits import Limits, check_size
from perceptio.errors import DataError, FileError, nearest

Split: TypeAlias = Literal["train", "validation", "test"]

SPLIT_NAMES: dict[str, Split] = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
}
"""What people call the three splits, in lower case."""

_SHOWN = 5

_IGNORED_NAMES = frozenset({"thumbs.db", "desktop.ini", "__macosx", "__pycache__"})

_NOT_SAMPLES = frozenset(
    {
        ".txt",
        ".md",
        ".rst",
        ".html",
        ".htm",
        ".css",
        ".js",
        ".json",
        ".jsonl",
        ".csv",
        ".tsv",
        ".parquet",
        ".xml",
        ".yaml",
        ".yml",
        ".toml",
        ".db",
        ".ini",
        ".cfg",
        ".log",
        ".py",
        ".ipynb",
        ".sh",
        ".pdf",
        ".url",
        ".lnk",
        ".mtl",  # the materials that every exporter writes beside an .obj
    }
)


# Control characters, what changes the direction of the text around it, characters that cannot be seen, and the lone
# surrogates that stand for undecodable bytes in file names. The joiners U+200C and U+200D are none of them: they shape
# their neighbours, and Persian words and many emoji are not written without them.
_HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ud800-\udfff\ufeff\ufff9-\ufffb\ufffe\uffff\U000e0000-\U000e007f]"
)
_JOINERS = "\u200c\u200d"


def is_ignored(name: str) -> bool:
    """True for the files and folders that systems leave behind: hidden ones, Thumbs.db, __MACOSX and the like."""
    return name.startswith(".") or name.lower() in _IGNORED_NAMES


def is_not_a_sample(name: str, asked: Collection[str] = ()) -> bool:
    """True for files that accompany data, such as a list or a readme. Anything else is judged by its content.

    Args:
        asked: suffixes of the kinds of files that are asked for; those are samples whatever else bears them.
    """
    suffix = suffix_of(name)
    return suffix in _NOT_SAMPLES and suffix not in asked


def suffix_of(name: str) -> str:
    """Returns the lower-case suffix with its dot, or "" if there is none."""
    stem, dot, suffix = name.rpartition(".")
    return f".{suffix.lower()}" if dot and stem else ""


def bytewise(name: str) -> bytes:
    """The sort key of names: their bytes, so that the order depends on no locale and no platform."""
    try:
        return name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half a character, as JSON can write it; such names are refused once they are sorted
        return name.encode("utf-8", "surrogatepass")


def printable(text: str) -> str:
    r"""Returns a text with every hidden character as its escape (\n, \u202e, \udcff), safe for any screen and page."""
    return _HIDDEN.sub(lambda hidden: hidden.group().encode("unicode_escape", "surrogatepass").decode("ascii"), text)


def few(names: Sequence[str]) -> str:
    """Returns the first of some names and how many more there are: "a, b and 12 more"."""
    shown = ", ".join(printable(name) for name in names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"


def shown_path(path: Path) -> str:
    """Returns a path as people type it: from the current folder where it lies below that, or else in full."""
    try:
        below = path.resolve().relative_to(Path.cwd())
    except (ValueError, OSError):  # elsewhere; or the current folder is gone
        return str(path)
    return str(below) if below.parts else path.name


def check_record_name(name: str) -> None:
    """Raises FileError if a file's name cannot be written into a list and read back as the same name."""
    if any("\ud800" <= c <= "\udfff" for c in name):
        raise FileError("its name is not valid UTF-8; rename it")
    if any(ord(c) < 32 or ord(c) == 127 for c in name):
        raise FileError("its name holds control characters; rename it")


def check_classes(classes: Iterable[str], limits: Limits, *, where: str) -> tuple[str, ...]:
    """Returns the class names sorted bytewise.

    Raises:
        DataError: fewer than two or too many classes, or a name that is empty, too long or that
            holds a hidden character or looks like another.
    """
    names = tuple(sorted(set(classes), key=bytewise))
    if len(names) > limits.max_classes:
        raise DataError(
            f"{where} has {len(names):,} classes; the limit is {limits.max_classes:,} (--source.limits.max-classes)"
        )
    for name in names:
        if not name.strip().strip(_JOINERS):
            raise DataError(f"{where} has a class without a name; every class needs one")
        if len(name) > limits.max_name_characters:
            raise DataError(
                f"{where} has a class name of {len(name):,} characters; the limit is {limits.max_name_characters} "
                f"(--source.limits.max-name-characters): {printable(name[:40])}..."
            )
        if printable(name) != name:
            raise DataError(f"{where} has a class name with unprintable characters: {printable(name)}; rename it")
    alike: dict[str, str] = {}
    for name in names:
        other = alike.setdefault(unicodedata.normalize("NFC", name), name)
        if other != name:
            raise DataError(
                f"{where} has the class {printable(name)} twice, its letters composed otherwise in Unicode "
                f"({other!a} and {name!a}); give them one name"
            )
    if len(names) < 2:
        found = f"only one class, {names[0]}" if names else "no class"
        raise DataError(f"{where} has {found}; there must be at least two to tell apart")
    return names


CLASS_LIMITS = "max-classes times max-name-characters"
"""The limits of a file with a class a line."""


def most_class_bytes(limits: Limits) -> int:
    """Returns how large a file with a class a line may be."""
    return limits.max_classes * (4 * limits.max_name_characters + len("\r\n"))


def read_class_lines(path: Path, limits: Limits) -> list[str]:
    """Returns the names in a file with a class a line.

    Raises:
        DataError: it is larger than the limits allow, or not UTF-8.
    """
    try:
        check_size(path.stat().st_size, most_class_bytes(limits), CLASS_LIMITS)
    except FileError as error:
        raise DataError(f"{path.name} {error}") from error
    return class_lines(path.read_bytes(), path.name)


def class_lines(content: bytes, name: str) -> list[str]:
    """Returns the names in the content of such a file; raises DataError where it is not UTF-8."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{name} is not valid UTF-8; save it as UTF-8") from error
    # Some letters that a name may hold end a line for str.splitlines.
    return [line.strip() for line in text.split("\n") if line.strip()]


def split_of(text: str, *, where: str) -> Split:
    """Returns the split that a word such as "val" names.

    Raises:
        DataError: the word names no split.
    """
    split = SPLIT_NAMES.get(text.strip().lower())
    if split is None:
        raise DataError(f"{where}: {printable(text)!r} is no split.{nearest(text.lower(), SPLIT_NAMES)}")
    return split


def count_note(names: Iterable[str], what: str) -> str:
    """Says how often each suffix was met: "3 .txt and 1 .json files ignored"."""
    counts = Counter(suffix_of(name) or "other" for name in names)
    listed = [f"{number} {suffix}" for suffix, number in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]
    text = listed[0] if len(listed) == 1 else f"{', '.join(listed[:-1])} and {listed[-1]}"
    return f"{text} {'file' if counts.total() == 1 else 'files'} {what}"
