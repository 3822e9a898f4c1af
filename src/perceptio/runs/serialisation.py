"""Configs as JSON and back. Reading is strict: an unknown field, a wrong type or a missing value is an error."""

import dataclasses
import json
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from perceptio.errors import UsageError, nearest
from perceptio.json_values import finite
from perceptio.modalities.contract import Modality
from perceptio.modalities.registry import find_modality

Config = TypeVar("Config")


def to_json(config: Any) -> dict[str, Any]:
    """Returns a config as nested dictionaries of JSON values; a modality says its kind first."""
    document: dict[str, Any] = _write(config)
    return document


def _write(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _write(part) for name, part in value.items()}
    if not dataclasses.is_dataclass(value):
        return value
    fields = {field.name: _write(getattr(value, field.name)) for field in dataclasses.fields(value)}
    return {"kind": value.kind, **fields} if isinstance(value, Modality) else fields


def dump(value: Any) -> str:
    """Returns JSON text for people, indented; a number that is not finite, which JSON does not know, becomes null."""
    return json.dumps(finite(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def from_json(kind: type[Config], value: Any, where: str = "") -> Config:
    """Returns the config that `to_json` made.

    Raises:
        UsageError: naming the field, what it must be and what it is.
    """
    _mapping(value, where)
    hints = typing.get_type_hints(kind)
    # `type[Config]` cannot be told to be a dataclass: typing has no bound for that.
    known = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    prefix = f"{where}." if where else ""
    for name in value:
        if name not in known:
            raise UsageError(f"unknown field {prefix}{name}.{nearest(name, known)}")
    arguments = {name: _read(hints[name], content, f"{prefix}{name}") for name, content in value.items()}
    for name, field in known.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and name not in arguments:
            raise UsageError(f"the field {prefix}{name} is missing")
    try:
        return kind(**arguments)
    except ValueError as error:
        raise UsageError(f"{where or 'config'}: {error}") from error


def _read(hint: Any, value: Any, where: str) -> Any:
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if hint is Modality:
        return _read_modality(value, where)
    if origin is Mapping:
        return {name: _read(options[1], part, f"{where}.{name}") for name, part in _mapping(value, where).items()}
    if dataclasses.is_dataclass(hint):
        return from_json(typing.cast(type[Any], hint), value, where)
    if origin is typing.Literal:
        if value not in options:
            raise UsageError(f"{where} must be one of {', '.join(map(str, options))}, got {value!r}")
        return value
    if origin in (types.UnionType, typing.Union):
        if value is None and types.NoneType in options:
            return None
        (only,) = [option for option in options if option is not types.NoneType]
        return _read(only, value, where)
    if origin is tuple:
        return _read_tuple(options, value, where)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise UsageError(f"{where} must be of type {hint.__name__}, got {value!r}")
    return value


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise UsageError(f"{where or 'a config'} must be an object with fields, got {value!r}")
    return value


def _read_modality(value: Any, where: str) -> Modality:
    fields = dict(_mapping(value, where))
    if "kind" not in fields:
        raise UsageError(f"the field {where}.kind is missing: the kind of files, such as image")
    kind = _read(str, fields.pop("kind"), f"{where}.kind")
    return from_json(find_modality(kind), fields, where)


def _read_tuple(options: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise UsageError(f"{where} must be a list, got {value!r}")
    if options[-1] is Ellipsis:
        options = (options[0],) * len(value)
    if len(options) != len(value):
        raise UsageError(f"{where} must have {len(options)} entries, got {len(value)}")
    return tuple(
        _read(option, part, f"{where}[{i}]") for i, (option, part) in enumerate(zip(options, value, strict=True))
    )
