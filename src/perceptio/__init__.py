"""Perceptio: the Perceiver (arXiv 2103.03206) as software that people use.

Names are loaded when they are first used: `import perceptio` alone loads neither torch nor any decoder.
"""

import importlib
import warnings
from typing import TYPE_CHECKING, Any

from perceptio.version import __version__

if TYPE_CHECKING:
    from perceptio.api import Run, check, choose, info, list_recipes, load, pack, recipe, train
    from perceptio.inputs.grid import GridEncoding, GridInput, GridInputConfig
    from perceptio.inputs.points import PointInput, PointInputConfig
    from perceptio.inputs.streams import StreamsInput, StreamsInputConfig
    from perceptio.modalities.array import ArrayModality
    from perceptio.modalities.audio import AudioModality
    from perceptio.modalities.image import ImageModality
    from perceptio.modalities.points import PointsModality
    from perceptio.modalities.streams import Streams
    from perceptio.modalities.video import VideoModality
    from perceptio.models.config import PerceiverConfig
    from perceptio.models.heads import ClassificationHead
    from perceptio.models.perceiver import Perceiver, build_perceiver
    from perceptio.runs.config import RunConfig
    from perceptio.screens.choice import screen

_HOMES = {
    "train": "perceptio.api",
    "recipe": "perceptio.api",
    "choose": "perceptio.api",
    "list_recipes": "perceptio.api",
    "info": "perceptio.api",
    "load": "perceptio.api",
    "pack": "perceptio.api",
    "check": "perceptio.api",
    "Run": "perceptio.api",
    "screen": "perceptio.screens.choice",
    "RunConfig": "perceptio.runs.config",
    "Perceiver": "perceptio.models.perceiver",
    "build_perceiver": "perceptio.models.perceiver",
    "PerceiverConfig": "perceptio.models.config",
    "ClassificationHead": "perceptio.models.heads",
    "GridInput": "perceptio.inputs.grid",
    "GridInputConfig": "perceptio.inputs.grid",
    "GridEncoding": "perceptio.inputs.grid",
    "PointInput": "perceptio.inputs.points",
    "PointInputConfig": "perceptio.inputs.points",
    "StreamsInput": "perceptio.inputs.streams",
    "StreamsInputConfig": "perceptio.inputs.streams",
    "Streams": "perceptio.modalities.streams",
    "ImageModality": "perceptio.modalities.image",
    "AudioModality": "perceptio.modalities.audio",
    "VideoModality": "perceptio.modalities.video",
    "PointsModality": "perceptio.modalities.points",
    "ArrayModality": "perceptio.modalities.array",
}

__all__ = [
    "train",
    "recipe",
    "list_recipes",
    "choose",
    "info",
    "load",
    "pack",
    "check",
    "Run",
    "screen",
    "RunConfig",
    "Perceiver",
    "build_perceiver",
    "PerceiverConfig",
    "ClassificationHead",
    "GridInput",
    "GridInputConfig",
    "GridEncoding",
    "PointInput",
    "PointInputConfig",
    "StreamsInput",
    "StreamsInputConfig",
    "Streams",
    "ImageModality",
    "AudioModality",
    "VideoModality",
    "PointsModality",
    "ArrayModality",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'perceptio' has no attribute {name!r}")
    with warnings.catch_warnings():
        # Accelerate loads tqdm, which asks for ipywidgets in every notebook that lacks them. We draw no bar of its.
        warnings.filterwarnings("ignore", message="IProgress not found")
        return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
