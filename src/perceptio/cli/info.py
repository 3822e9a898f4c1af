"""perceptio info."""

from dataclasses import dataclass
from typing import Annotated, Any

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
    from perceptio.recipes.about import tell_about

    @dataclass(frozen=True, kw_only=True)
    class InfoArguments:
        what: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RECIPE|RUN")]
        json: bool = False

    chosen = parse(InfoArguments, arguments, command="info")
    about = tell_about(chosen.what)
    if chosen.json:
        print_json(about.document)
    else:
        print_result(f"{about.title}\n\n{_text(about.document)}")
    return 0


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
