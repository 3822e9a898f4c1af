"""Options from dataclasses: a field is an option, its docstring the option's meaning; nested fields are dotted.

Nothing here imports torch: the short help and the completion of shells must not wait for it.
"""

import ast
import dataclasses
import difflib
import inspect
import itertools
import textwrap
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass
from functools import cache
from typing import Any, Protocol, runtime_checkable

from perceptio.cli.values import may_continue, metavar, num_words, read_words, shown
from perceptio.errors import UsageError

Path = tuple[str, ...]

_TRUTH = ("true", "false", "on", "off", "yes", "no")


@dataclass(frozen=True)
class Positional:
    """Marks a field that is a word in its place and no option: `Annotated[Path, Positional("RUN")]`."""

    metavar: str


@dataclass(frozen=True)
class Option:
    """One option or positional word.

    Attributes:
        name: as it is typed, such as "--model.num-latents"; of a positional word what help calls it, such as "RUN".
        path: the fields that lead to it.
        default: what holds when it is not typed; `MISSING` where it must be.
        meaning: its field's docstring.
    """

    name: str
    path: Path
    hint: Any
    default: Any
    meaning: str
    is_positional: bool = False

    @property
    def summary(self) -> str:
        """The first sentence of its meaning and its default, in brackets behind a name."""
        first = self.meaning.split(". ")[0].split("; ")[0].rstrip(".")
        said = f"{first[:1].lower()}{first[1:]}" if first[1:2].islower() else first
        default = [] if self.default is MISSING or self.default in (None, ()) else [shown(self.default, self.name)]
        return ", ".join([*([said] if said else []), *default])


def options_of(kind: type, default: Any = None) -> tuple[Option, ...]:
    """Returns the options of a dataclass, in the order of its fields.

    Args:
        default: an instance whose values are the defaults; where a field holds other dataclasses, or a mapping of
            them, their fields are options as well, those of a mapping under its keys.
    """
    return tuple(_options(kind, default, (), ()))


def _options(kind: type, default: Any, path: Path, prefix: Path) -> Iterator[Option]:
    hints, meanings = typing.get_type_hints(kind, include_extras=True), field_meanings(kind)
    for field in dataclasses.fields(kind):
        hint, mark = hints[field.name], None
        if typing.get_origin(hint) is typing.Annotated:
            hint, *marks = typing.get_args(hint)
            mark = next((each for each in marks if isinstance(each, Positional)), None)
        value = getattr(default, field.name) if default is not None else _default_of(field)
        place = (*path, field.name)
        if isinstance(value, Mapping):
            for name, part in value.items():
                yield from _options(type(part), part, (*place, name), (name,))
        elif dataclasses.is_dataclass(value) and not isinstance(value, type):
            yield from _options(type(value), value, place, (*prefix, field.name))
        else:
            name = mark.metavar if mark else "--" + ".".join((*prefix, field.name)).replace("_", "-")
            yield Option(name, place, hint, value, meanings.get(field.name, ""), is_positional=mark is not None)


def _default_of(field: "dataclasses.Field[Any]") -> Any:
    return field.default_factory() if field.default_factory is not MISSING else field.default


@cache
def field_meanings(kind: type) -> dict[str, str]:
    """Returns the docstrings that stand below the fields of a dataclass and of those it inherits from."""
    found: dict[str, str] = {}
    for each in reversed(kind.__mro__):
        if not dataclasses.is_dataclass(each):
            continue
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(each))).body
        assert isinstance(definition, ast.ClassDef)
        for statement, following in itertools.pairwise(definition.body):
            match statement, following:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(meaning))):
                    found[name] = " ".join(meaning.split())
    return found


def read_arguments(options: Sequence[Option], words: Sequence[str], command: str) -> dict[Path, Any]:
    """Returns what the words of a command line say, by the fields' paths; options may stand in any order.

    Raises:
        UsageError: an unknown option (naming the nearest and its meaning), a value that is none, a word too many.
    """
    found, rest = read_known(options, words)
    for word in rest:
        if _is_option(word):
            raise UsageError(unknown(word, options, command))
    places = [option for option in options if option.is_positional]
    for place in places:
        several = num_words(place.hint) is None
        taken, rest = (rest, []) if several else (rest[:1], rest[1:])
        if taken:
            found[place.path] = read_words(place.hint, taken, place.name)
        elif place.default is MISSING:
            needed = " ".join(each.name for each in places)
            raise UsageError(f"{place.name} is missing: perceptio {command} {needed}; --help says more")
    if rest:
        needed = " ".join(place.name for place in places)
        takes = f"it takes {needed}" if needed else "it takes options alone"
        raise UsageError(f"unexpected word {rest[0]!r} for perceptio {command}: {takes}; --help says more")
    return found


def read_known(options: Sequence[Option], words: Sequence[str]) -> tuple[dict[Path, Any], list[str]]:
    """Returns the values of the options among the words, and all other words; raises UsageError for a wrong value."""
    by_name = {option.name: option for option in options if not option.is_positional}
    flags = {f"--no-{name[2:]}": option for name, option in by_name.items() if num_words(option.hint) == 0}
    found: dict[Path, Any] = {}
    left: list[str] = []
    waiting = list(words)
    while waiting:
        word = waiting.pop(0)
        name, equals, value = word.partition("=")
        name = name.replace("_", "-") if name.startswith("--") else name
        option = by_name.get(name) or flags.get(name)
        if option is None:
            left.append(word)
            continue
        if option.path in found:
            raise UsageError(f"{option.name} is given twice; keep one")
        if num_words(option.hint) == 0:
            meant = value if equals else next((each for each in waiting[:1] if each.lower() in _TRUTH), None)
            if meant is not None:
                raise UsageError(f"{name} takes no value: got {meant!r}; --no-{option.name[2:]} switches it off")
            found[option.path] = name in by_name
            continue
        taken = [value] if equals else _take(option, waiting)
        found[option.path] = read_words(option.hint, taken, option.name)
    return found, left


def _take(option: Option, waiting: list[str]) -> list[str]:
    """Takes the words of an option's value off the waiting ones."""
    wanted = num_words(option.hint)
    taken: list[str] = []
    while waiting and (wanted is None or len(taken) < wanted):
        if _is_option(waiting[0]) or (wanted is None and not may_continue(option.hint, waiting[0])):
            break
        taken.append(waiting.pop(0))
        if taken == ["none"]:
            return taken
    if len(taken) < (wanted or 1):
        few = f"{wanted} values" if (wanted or 1) > 1 else "a value"
        raise UsageError(f"{option.name} needs {few}, {metavar(option.hint)}: {option.summary or 'got none'}")
    return taken


def _is_option(word: str) -> bool:
    """Returns whether a word is an option and neither a negative number nor the "-" of standard input."""
    return word.startswith("-") and word != "-" and not (word[1:2].isdigit() or word[1:2] == ".")


def unknown(word: str, options: Sequence[Option], command: str) -> str:
    """Returns what to say about an option that there is not: the nearest, and what it means."""
    name = word.partition("=")[0].replace("_", "-")
    close = _nearest(name, options)
    if not close:
        return f"unknown option {name}; perceptio {command} -H shows all"
    meant = f"{close[0].name} ({close[0].summary})" if close[0].summary else close[0].name
    others = "".join(f" or {option.name}" for option in close[1:3])
    return f"unknown option {name}; did you mean {meant}{others}?"


def _nearest(name: str, options: Sequence[Option]) -> list[Option]:
    """Returns options of like names: those whose last part is meant first, then those that look alike."""
    known = {option.name: option for option in options if not option.is_positional}
    last = name.lstrip("-")
    same = [option for shown, option in known.items() if shown.rpartition(".")[2].lstrip("-") == last]
    alike = [known[each] for each in difflib.get_close_matches(name, known, cutoff=0.6)]
    parts = {shown.rpartition(".")[2].lstrip("-"): option for shown, option in known.items()}
    ends = [parts[each] for each in difflib.get_close_matches(last.rpartition(".")[2], parts, cutoff=0.8)]
    return list(dict.fromkeys([*same, *alike, *ends]))


def build(kind: type, options: Sequence[Option], found: Mapping[Path, Any]) -> Any:
    """Returns a dataclass whose fields are all options themselves.

    Raises:
        UsageError: when each value is of its type but they do not fit together.
    """
    try:
        return kind(**{option.path[0]: found.get(option.path, option.default) for option in options})
    except ValueError as error:
        raise UsageError(str(error)) from error


@runtime_checkable
class Adaptive(Protocol):
    """A config some of whose fields depend on others, so that these change with them."""

    def adapted(self, changes: Mapping[str, Any]) -> Any:
        """Returns the same with some fields changed, and with them what depends on them."""


def changed(default: Any, found: Mapping[Path, Any]) -> Any:
    """Returns a nested dataclass with some fields changed; each part is checked once, with all its changes.

    Raises:
        UsageError: when the values do not fit together.
    """
    nested: dict[str, dict[Path, Any]] = {}
    direct: dict[str, Any] = {}
    for (first, *rest), value in found.items():
        if rest:
            nested.setdefault(first, {})[tuple(rest)] = value
        else:
            direct[first] = value
    if isinstance(default, Mapping):
        return {**default, **{name: changed(default[name], parts) for name, parts in nested.items()}}
    for name, parts in nested.items():
        direct[name] = changed(getattr(default, name), parts)
    try:
        return default.adapted(direct) if isinstance(default, Adaptive) else dataclasses.replace(default, **direct)
    except ValueError as error:
        raise UsageError(str(error)) from error
