"""All recipes by name."""

import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType

from perceptio.errors import UsageError, nearest
from perceptio.recipes.audioset import (
    audioset_mel,
    audioset_mel_video,
    audioset_mel_video_tuned,
    audioset_raw,
    audioset_raw_video,
    audioset_video,
)
from perceptio.recipes.fashion import fashion_mnist, fashion_sample
from perceptio.recipes.imagenet import imagenet, imagenet_learned, imagenet_permuted
from perceptio.recipes.modelnet import modelnet40
from perceptio.recipes.real_data import drum_hits, electronic_parts, moving_garments, stamps
from perceptio.runs.config import RunConfig

RECIPES: Mapping[str, Callable[[], RunConfig]] = MappingProxyType(
    {
        "fashion-sample": fashion_sample,
        "fashion-mnist": fashion_mnist,
        "imagenet": imagenet,
        "imagenet-permuted": imagenet_permuted,
        "imagenet-learned": imagenet_learned,
        "audioset-raw": audioset_raw,
        "audioset-mel": audioset_mel,
        "audioset-video": audioset_video,
        "audioset-raw-video": audioset_raw_video,
        "audioset-mel-video": audioset_mel_video,
        "audioset-mel-video-tuned": audioset_mel_video_tuned,
        "modelnet40": modelnet40,
        "drum-hits": drum_hits,
        "electronic-parts": electronic_parts,
        "moving-garments": moving_garments,
        "stamps": stamps,
    }
)

RECIPE_CLASSES: Mapping[str, int] = MappingProxyType(
    {
        "fashion-sample": 10,
        "fashion-mnist": 10,
        "imagenet": 1000,
        "imagenet-permuted": 1000,
        "imagenet-learned": 1000,
        "audioset-raw": 527,
        "audioset-mel": 527,
        "audioset-video": 527,
        "audioset-raw-video": 527,
        "audioset-mel-video": 527,
        "audioset-mel-video-tuned": 527,
        "modelnet40": 40,
        "drum-hits": 7,
        "electronic-parts": 20,
        "moving-garments": 12,
        "stamps": 36,
    }
)
"""Classes in the data that each recipe is for; the model's last layer depends on it."""


def find_recipe(name: str) -> RunConfig:
    """Returns the config of a recipe.

    Raises:
        UsageError: naming the nearest recipes.
    """
    if name not in RECIPES:
        raise UsageError(f"unknown recipe {name!r}.{nearest(name, RECIPES)} All: perceptio recipes")
    return RECIPES[name]()


def describe_recipe(name: str) -> str:
    """Returns the recipe's docstring: what it reproduces, what it needs, what to expect."""
    find_recipe(name)
    return inspect.getdoc(RECIPES[name]) or ""
