"""Fields that must be one of a few values, checked where a config is made."""

import dataclasses
import typing
from typing import Any

from perceptio.errors import UsageError


def check_choices(config: Any) -> None:
    """Checks that each field of a dataclass whose type is a `Literal` is one of its values.

    Call it in `__post_init__`: whoever branches on such a field may then rely on it.

    Raises:
        UsageError: naming the field, what it may be and what it is.
    """
    hints = typing.get_type_hints(type(config))
    for field in dataclasses.fields(config):
        options, value = typing.get_args(hints[field.name]), getattr(config, field.name)
        if typing.get_origin(hints[field.name]) is typing.Literal and value not in options:
            raise UsageError(f"{field.name} must be one of {', '.join(map(str, options))}, got {value!r}")
