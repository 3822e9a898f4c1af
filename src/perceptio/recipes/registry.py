"""All recipes by name."""

import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType

from perceptio.errors import UsageError, nearest
from perceptio.recipes.fashion import fashion_mnist, fashion_sample
from perceptio.recipes.imagenet import imagenet, imagenet_learned, imagenet_permuted
from perceptio.runs.config import RunConfig

RECIPES: Mapping[str, Callable[[], RunConfig]] = MappingProxyType(
    {
        "fashion-sample": fashion_sample,
        "fashion-mnist": fashion_mnist,
        "imagenet": imagenet,
        "imagenet-permuted": imagenet_permuted,
        "imagenet-learned": imagenet_learned,
    }
)

RECIPE_CLASSES: Mapping[str, int] = MappingProxyType(
    {
        "fashion-sample": 10,
        "fashion-mnist": 10,
        "imagenet": 1000,
        "imagenet-permuted": 1000,
        "imagenet-learned": 1000,
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
