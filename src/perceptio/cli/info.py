"""perceptio info."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from perceptio.cli.arguments import parse
from perceptio.cli.options import Option, Positional, options_of
from perceptio.errors import UsageError

HELP = """usage: perceptio info RECIPE|RUN|DATA [--diff RUN] [--json]

examples:
  perceptio info photos/
  perceptio info imagenet
  perceptio info runs/photos-002 --diff runs/photos-001

Shows what there is, and changes nothing.
Of data (a folder, a table, shards or a URL of shards): classes, files, what
would be skipped and why, sizes or durations, classes that are too small, and
what training would choose. Of a recipe: input, parameters, FLOPs, training. Of a
run: these, and its data, cost and result. Of a model.safetensors: these, and
what its header says: classes, task, step.

  --diff RUN          what another run has otherwise: config, versions, machine,
                      data file by file, result
  --json              one JSON document on standard output
"""


@dataclass(frozen=True, kw_only=True)
class InfoArguments:
    """What `perceptio info` takes."""

    what: Annotated[str, Positional("RECIPE|RUN|DATA")]
    diff: Path | None = None
    """Another run: show what it has otherwise."""
    json: bool = False
    """One JSON document on standard output."""


def options(words: Sequence[str] = ()) -> tuple[Option, ...]:
    """Returns all options."""
    return options_of(InfoArguments)


def main(words: Sequence[str]) -> int:
    """Runs the command."""
    chosen = parse(InfoArguments, words, command="info")
    from perceptio.cli.info_data import tell_data
    from perceptio.cli.info_diff import tell_difference
    from perceptio.cli.screen import print_json, print_result
    from perceptio.data.shards.patterns import looks_like_shards
    from perceptio.recipes.about import is_model_file, tell_about
    from perceptio.recipes.registry import RECIPES
    from perceptio.runs.folder import is_run_folder

    path = Path(chosen.what)
    if chosen.diff is not None:
        return tell_difference(path, chosen.diff, as_json=chosen.json)
    if chosen.what not in RECIPES and not is_run_folder(path) and not is_model_file(path):
        # A URL or a pattern of shards is no path, and only opening it tells whether something is there.
        if looks_like_shards(chosen.what) or path.exists():
            return tell_data(chosen.what, as_json=chosen.json)
        raise UsageError(_nothing(chosen.what, RECIPES))
    about = tell_about(chosen.what)
    if chosen.json:
        print_json(about.document)
    else:
        print_result(f"{about.title}\n\n{_text(about.document)}")
    return 0


def _nothing(what: str, recipes: Iterable[str]) -> str:
    from perceptio.data.sources import existing_path
    from perceptio.errors import nearest

    if "/" in what or what.startswith("."):
        try:
            existing_path(what)
        except UsageError as error:
            return str(error)
    return f"unknown recipe {what!r}, and no run and no data lies there.{nearest(what, recipes)} All: perceptio recipes"


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
    if "run" in document:
        lines += _run_lines(document["run"])
    if "model" in document:
        lines += _model_lines(document["model"], config["data"])
    return "\n".join(lines)


def _model_lines(model: dict[str, Any], data: str | None) -> list[str]:
    from perceptio.data.names import few

    task = {"single_label": "one class a sample", "multi_label": "several labels a sample"}[model["task"]]
    sure = "unknown" if model["unsure_at"] is None else f"at a first probability of up to {model['unsure_at']:.3g}"
    return [
        f"Data      {data or 'not recorded'}",
        f"Classes   {len(model['classes']):,}: {few(model['classes'])}; {task}",
        f"Taken     after {model['step']:,} optimizer steps",
        f"Unsure    {sure}",
    ]


def _run_lines(run: dict[str, Any]) -> list[str]:
    data, missing = run.get("data", {}), "not recorded"
    result = ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in run.get("test", {}).items())
    return [
        f"Data      {data.get('source', missing)}, fingerprint {data.get('fingerprint', missing)}",
        f"Made by   {run.get('command') or missing}",
        f"On        {run.get('machine', missing)}, {run.get('created', missing)}",
        f"Result    {result or 'no test result yet'}",
    ]
