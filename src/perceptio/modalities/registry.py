"""All modalities by the name of their kind."""

from typing import Final

from perceptio.errors import UsageError, nearest
from perceptio.modalities.array import ArrayModality
from perceptio.modalities.audio import AudioModality
from perceptio.modalities.contract import Modality
from perceptio.modalities.image import ImageModality
from perceptio.modalities.points import PointsModality
from perceptio.modalities.video import VideoModality

MODALITIES: Final[dict[str, type[Modality]]] = {
    kind.kind: kind for kind in (ImageModality, AudioModality, VideoModality, PointsModality, ArrayModality)
}
"""What `Streams`, configs and the telling of a folder's kind know. A new modality is added here, or by `register`."""


def register(modality: type[Modality]) -> type[Modality]:
    """Adds a modality of one's own, for this process; usable as a class decorator.

    Raises:
        UsageError: the name of its kind is taken, or no other process could import it.
    """
    if modality.__module__ == "__main__":
        raise UsageError(
            f"{modality.__name__} is defined in the script itself, where the processes that read files cannot import "
            "it; put it into a module of its own, and import that"
        )
    if MODALITIES.setdefault(modality.kind, modality) is not modality:
        raise UsageError(f"there is a modality {modality.kind!r} already; give yours another `kind`")
    return modality


def find_modality(kind: str) -> type[Modality]:
    """Returns the modality of a kind.

    Raises:
        UsageError: naming the nearest kinds.
    """
    if kind not in MODALITIES:
        raise UsageError(f"unknown kind {kind!r}.{nearest(kind, MODALITIES)}")
    return MODALITIES[kind]
