"""Typed words as values: numbers with their units, names out of a list, several of them."""

import math
import re
import types
import typing
from pathlib import Path
from typing import Any

from perceptio.errors import UsageError

_SECONDS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3_600.0, "ms": 0.001}
_HERTZ = {"hz": 1.0, "khz": 1_000.0, "mhz": 1_000_000.0}
_BYTES = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_BINARY = (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))
_NUMBER = re.compile(r"([-+]?[\d_.]+(?:e[-+]?\d+)?)\s*([a-zA-Z%]*)", re.IGNORECASE)


def metavar(hint: Any) -> str:
    """Returns what help shows in a value's place, such as "INT" or "auto|cpu|cuda"; nothing for a flag."""
    hint, _ = without_none(hint)
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return "|".join(map(str, parts))
    if origin is tuple:
        if parts[-1] is Ellipsis:
            return f"{metavar(parts[0])} .."
        return " ".join(map(metavar, parts))
    return {bool: "", int: "INT", float: "NUMBER", str: "TEXT", Path: "PATH"}[hint]


def shown(value: Any, name: str = "") -> str:
    """Returns a value as it would be typed after an option of this name."""
    if name.endswith("bytes") and isinstance(value, int):
        return next((f"{value // size}{unit}" for unit, size in _BINARY if value and value % size == 0), str(value))
    if isinstance(value, tuple | list):
        return " ".join(map(shown, value)) if value else "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value is None else str(value)


def without_none(hint: Any) -> tuple[Any, bool]:
    """Returns the type of a value that is given, and whether "none" may stand for none."""
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        (only,) = [option for option in typing.get_args(hint) if option is not types.NoneType]
        return only, True
    return hint, False


def num_words(hint: Any) -> int | None:
    """Returns how many words make a value; None: any number, up to the next option."""
    hint, _ = without_none(hint)
    if hint is bool:
        return 0
    parts = typing.get_args(hint)
    if typing.get_origin(hint) is tuple:
        return None if parts[-1] is Ellipsis else len(parts)
    return 1


def may_continue(hint: Any, word: str) -> bool:
    """Returns whether a word may belong to a list of values: a list of numbers ends where a word is none."""
    hint, _ = without_none(hint)
    return typing.get_args(hint)[0] not in (int, float) or word == "none" or _NUMBER.fullmatch(word) is not None


def read_words(hint: Any, words: list[str], name: str) -> Any:
    """Returns the value that the words after an option say.

    Args:
        name: the option, whose last part tells the unit: `..seconds`, `time`, `..hz`, `..bytes`.

    Raises:
        UsageError: the words say no such value.
    """
    hint, may_be_none = without_none(hint)
    if may_be_none and len(words) == 1 and words[0].lower() == "none":
        return None
    parts = typing.get_args(hint)
    if typing.get_origin(hint) is tuple:
        parts = (parts[0],) * len(words) if parts[-1] is Ellipsis else parts
        if len(words) == 1 and words[0].lower() == "none":
            return ()
        return tuple(_read(part, word, name) for part, word in zip(parts, words, strict=True))
    return _read(hint, words[0], name)


def _read(hint: Any, word: str, name: str) -> Any:
    if typing.get_origin(hint) is typing.Literal:
        options = typing.get_args(hint)
        for option in options:
            if word == str(option):
                return option
        raise UsageError(f"{name} must be one of {', '.join(map(str, options))}: got {word!r}")
    if hint is Path:
        return Path(word).expanduser()
    if hint is str:
        return word
    assert hint in (int, float), f"an option of type {hint} cannot be typed"
    if hint is int and word.strip().lstrip("+-").isdecimal():
        return int(word)  # exact, however many digits: a float would round
    value = _number(word, name)
    if not math.isfinite(value):
        raise UsageError(f"{name} must be a finite number: got {word!r}")
    if hint is int:
        if value != int(value):
            raise UsageError(f"{name} must be a whole number: got {word!r}")
        return int(value)
    return value


def _number(word: str, name: str) -> float:
    units, example = _units(name)
    found = _NUMBER.fullmatch(word.strip())
    number, unit = found.groups() if found else ("", "")
    factor = {each.lower(): size for each, size in units.items()}.get(unit.lower()) if unit else 1.0
    try:
        value = float(number)
    except ValueError:
        factor = None
    if factor is None:
        raise UsageError(f"{name} must be a number{example}: got {word!r}")
    return float(value * factor) if unit != "%" else value / 100


def _units(name: str) -> tuple[dict[str, float], str]:
    """Returns the units that an option's values may bear, and an example for the message."""
    last = name.rpartition(".")[2].removeprefix("--").replace("_", "-")
    if last == "time" or last.endswith("seconds"):
        return _SECONDS, " of seconds, or a time such as 90s, 30m or 2h"
    if last.endswith("hz"):
        return _HERTZ, " of hertz, or one such as 16kHz"
    if last.endswith("bytes"):
        return {unit: float(size) for unit, size in _BYTES.items()}, " of bytes, or one such as 256MB"
    return {"%": 0.01}, ""
