"""Whether training may mirror pictures: where classes tell left from right, it would teach them the opposite."""

import re
from collections.abc import Sequence
from dataclasses import fields, replace

from perceptio.data.names import printable
from perceptio.modalities.contract import Modality
from perceptio.runs.config import RunConfig
from perceptio.runs.opening import Reason

# What a mirror makes of the first of a pair is the second; in the languages in which most people call their folders.
_LEFT = frozenset({"left", "links", "linke", "gauche", "izquierda", "esquerda", "sinistra", "counterclockwise"})
_RIGHT = frozenset({"right", "rechts", "rechte", "droite", "derecha", "direita", "destra", "clockwise"})
_FIELD = "flip_probability"


def without_mirroring(config: RunConfig, classes: Sequence[str]) -> tuple[RunConfig, tuple[Reason, ...]]:
    """Returns a chosen config that mirrors no sample if its classes forbid that, and says either way.

    They do where their names tell left from right, or where most of them are single letters or digits: a mirrored "b"
    is a "d", and a mirrored "4" is nothing.
    """
    mirrored = {
        name: modality
        for name, modality in config.streams.by_name.items()
        if any(field.name == _FIELD for field in fields(modality)) and getattr(modality, _FIELD) > 0
    }
    if not mirrored:
        return config, ()
    why = why_not_mirrored(classes)
    if not why:
        options = " ".join(f"--{name}.flip-probability 0" for name in mirrored)
        return config, (_reason(f"training mirrors half of the samples; {options} where left and right matter"),)
    still: dict[str, Modality] = {
        name: replace(modality, flip_probability=0.0)  # type: ignore[call-arg]  # that it has the field is seen above
        for name, modality in mirrored.items()
    }
    streams = replace(config.streams, by_name={**config.streams.by_name, **still})
    return replace(config, streams=streams), (_reason(f"training mirrors no sample: {why}"),)


def why_not_mirrored(classes: Sequence[str]) -> str:
    """Returns what in the names of classes forbids mirroring; nothing if they allow it."""
    left, right = ([name for name in classes if not words.isdisjoint(_words(name))] for words in (_LEFT, _RIGHT))
    if left and right:
        return f"the classes {printable(left[0])} and {printable(right[0])} tell left from right"
    signs = [name for name in classes if len(name) == 1 and name.isalnum()]
    if 2 * len(signs) > len(classes):
        return f"classes such as {' and '.join(map(printable, signs[:2]))} are letters or digits"
    return ""


def _words(name: str) -> set[str]:
    """Returns the words of a name such as "turn_left", "Turn Left" or "turnLeft", in lower case."""
    return {word.lower() for word in re.split(r"[\W\d_]+|(?<=[a-z])(?=[A-Z])", name)}


def _reason(text: str) -> Reason:
    return Reason("Input", text, ("streams",))
