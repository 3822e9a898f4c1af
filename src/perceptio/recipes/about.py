"""What there is to know about a recipe, a run or a model: `perceptio info` shows it, `perceptio.info` returns it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from perceptio.errors import UsageError
from perceptio.models.counts import count_flops, count_parameters
from perceptio.models.perceiver import build_perceiver
from perceptio.recipes.registry import RECIPE_CLASSES, RECIPES, describe_recipe, find_recipe
from perceptio.runs.config import RunConfig
from perceptio.runs.folder import RunFolder, open_run_folder
from perceptio.runs.model_file import MODEL_SUFFIX, read_checked_facts, read_model
from perceptio.runs.serialisation import to_json


@dataclass(frozen=True, kw_only=True)
class About:
    """What something is in words, and the document of `perceptio info --json`."""

    title: str
    document: dict[str, Any]


def tell_about(what: str) -> About:
    """Returns what there is to know about a recipe, by its name, or a run, by its folder or its model file.

    Raises:
        UsageError: it is none of them, and the nearest recipes are named; or the file holds no model of ours.
    """
    if what not in RECIPES and is_model_file(Path(what)):
        return _of_model(Path(what))
    if what not in RECIPES and Path(what).is_dir():
        folder = open_run_folder(Path(what))
        config, facts = folder.read_config(), _read_facts(folder)
        return About(
            title=f"run {folder.path} of recipe {config.recipe}",
            document={**_of_config(config, _num_classes(folder, facts)), "run": facts},
        )
    config = find_recipe(what)
    return About(title=describe_recipe(what), document=_of_config(config, RECIPE_CLASSES[what]))


def is_model_file(path: Path) -> bool:
    """Returns whether a path leads to a file that is a model or claims to be one."""
    return path.suffix == MODEL_SUFFIX and path.is_file()


def _of_model(path: Path) -> About:
    facts = read_checked_facts(path)
    model = {"classes": facts.classes, "task": facts.task, "step": facts.step, "unsure_at": facts.unsure_at}
    return About(
        title=f"model {path} of recipe {facts.config.recipe}",
        document={**_of_config(facts.config, len(facts.classes)), "model": model},
    )


def _read_facts(folder: RunFolder) -> dict[str, Any]:
    """Returns run.json, or nothing where it is missing or damaged: the config alone says a lot."""
    try:
        return folder.read_facts()
    except UsageError:
        return {}


def _num_classes(folder: RunFolder, facts: dict[str, Any]) -> int | None:
    trained = facts.get("data", {}).get("counts", {}).get("train")
    if trained:
        return len(trained)
    try:
        return len(read_model(folder.weights)[1].classes)
    except UsageError:
        return None


def _of_config(config: RunConfig, num_classes: int | None) -> dict[str, Any]:
    grid = config.input_config()
    with torch.device("meta"):
        model = build_perceiver(grid, config.model, num_classes or 1)
    flops = count_flops(
        config.model, num_tokens=grid.num_tokens, input_channels=grid.input_channels, num_outputs=num_classes or 0
    )
    return {
        "recipe": config.recipe,
        "input": config.streams.describe(),
        "num_tokens": grid.num_tokens,
        "input_channels": grid.input_channels,
        "num_classes": num_classes,
        "num_parameters": None if num_classes is None else count_parameters(model),
        "flops_per_sample": flops.total,
        "flops_cross_attends": flops.cross_attends,
        "flops_latent_transformers": flops.latent_transformers,
        "flops_saved_by_sharing_keys": flops.shared,
        "config": to_json(config),
    }
