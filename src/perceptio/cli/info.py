"""perceptio info."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

if TYPE_CHECKING:
    from perceptio.runs.config import RunConfig
    from perceptio.runs.folder import RunFolder

HELP = """usage: perceptio info RECIPE|RUN [--json]

Shows inputs, parameters, FLOPs and training of a recipe; of a run also its data, cost and result.

examples:
  perceptio info imagenet
  perceptio info runs/photos-001
  perceptio info runs/photos-001 --json
"""


def main(arguments: list[str]) -> int:
    """Runs the command."""
    import tyro

    from perceptio.cli.arguments import parse
    from perceptio.cli.screen import print_json, print_result
    from perceptio.recipes.registry import RECIPE_CLASSES, RECIPES, describe_recipe, find_recipe
    from perceptio.runs.folder import open_run_folder

    @dataclass(frozen=True, kw_only=True)
    class InfoArguments:
        what: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RECIPE|RUN")]
        json: bool = False

    chosen = parse(InfoArguments, arguments, command="info")
    if chosen.what not in RECIPES and Path(chosen.what).is_dir():
        folder = open_run_folder(Path(chosen.what))
        config, facts = folder.read_config(), _read_facts(folder)
        document = {**_of_config(config, _num_classes(folder, facts)), "run": facts}
        about = f"run {folder.path} of recipe {config.recipe}"
    else:
        config = find_recipe(chosen.what)
        document = _of_config(config, RECIPE_CLASSES[chosen.what])
        about = describe_recipe(chosen.what)
    if chosen.json:
        print_json(document)
    else:
        print_result(f"{about}\n\n{_text(document)}")
    return 0


def _read_facts(folder: "RunFolder") -> dict[str, Any]:
    """Returns run.json, or nothing where it is missing or cut short: the config alone says a lot."""
    try:
        return folder.read_facts()
    except ValueError:
        return {}


def _num_classes(folder: "RunFolder", facts: dict[str, Any]) -> int | None:
    from perceptio.errors import UsageError
    from perceptio.runs.model_file import read_model

    trained = facts.get("data", {}).get("counts", {}).get("train")
    if trained:
        return len(trained)
    try:
        return len(read_model(folder.weights)[1].classes)
    except UsageError:
        return None


def _of_config(config: "RunConfig", num_classes: int | None) -> dict[str, Any]:
    import torch

    from perceptio.models.counts import count_flops, count_parameters
    from perceptio.models.perceiver import build_perceiver
    from perceptio.runs.serialisation import to_json

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


def _text(document: dict[str, Any]) -> str:
    config, model = document["config"], document["config"]["model"]
    counted = ("flops_per_sample", "flops_cross_attends", "flops_latent_transformers")
    flops = [document[name] / 1e9 for name in counted]
    lines = [
        f"Input     {document['input']} = {document['num_tokens']:,} inputs of {document['input_channels']} channels",
        f"Latents   {model['num_latents']} x {model['latent_channels']}, {model['num_cross_attends']} cross-attends "
        f"({model['cross_attend_placement']}, shared: {model['share_cross_attends']}), {model['num_blocks']} x "
        f"{model['num_self_attends_per_block']} self-attention layers (shared: {model['share_latent_transformers']})",
        "Weights   unknown: neither run.json nor model.safetensors says how many classes there are"
        if document["num_parameters"] is None
        else f"Weights   {document['num_parameters']:,} parameters with {document['num_classes']} classes",
        f"Cost      {flops[0]:,.4g} GFLOP a sample: {flops[1]:,.4g} cross-attends, {flops[2]:,.4g} latent "
        f"transformers; {document['flops_saved_by_sharing_keys'] / 1e9:,.3g} saved by sharing keys and values",
        f"Training  {config['epochs']:g} epochs, batch {config['batch_size']}, "
        f"{config['training']['optimizer']['kind']} at {config['learning_rate']:g}, "
        f"{config['training']['schedule']['kind']}",
    ]
    return "\n".join([*lines, *_run_lines(document["run"])] if "run" in document else lines)


def _run_lines(run: dict[str, Any]) -> list[str]:
    data, missing = run.get("data", {}), "not recorded"
    result = ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in run.get("test", {}).items())
    return [
        f"Data      {data.get('source', missing)}, fingerprint {data.get('fingerprint', missing)}",
        f"Made by   {run.get('command') or missing}",
        f"On        {run.get('machine', missing)}, {run.get('created', missing)}",
        f"Result    {result or 'no test result yet'}",
    ]
