"""perceptio recipes."""

from collections.abc import Sequence
from dataclasses import dataclass

from perceptio.cli.arguments import parse
from perceptio.cli.options import Option, options_of
from perceptio.errors import UsageError

HELP = """usage: perceptio recipes [--json]

examples:
  perceptio recipes
  perceptio info imagenet
  perceptio train fashion-sample

Lists the recipes. `perceptio info RECIPE` shows one; `perceptio train RECIPE`
runs it.

  --json              one JSON document on standard output
"""


@dataclass(frozen=True, kw_only=True)
class RecipesArguments:
    """What `perceptio recipes` takes."""

    json: bool = False
    """One JSON document on standard output."""


def options(words: Sequence[str] = ()) -> tuple[Option, ...]:
    """Returns all options."""
    return options_of(RecipesArguments)


def main(words: Sequence[str]) -> int:
    """Runs the command."""
    named = [word for word in words if not word.startswith("-")]
    if named:
        raise UsageError(f"perceptio recipes lists them all; one is shown by: perceptio info {named[0]}")
    chosen = parse(RecipesArguments, words, command="recipes")
    from perceptio.cli.screen import print_json, print_result
    from perceptio.recipes.registry import RECIPES, describe_recipe

    summaries = {name: describe_recipe(name).split("\n\n")[0].replace("\n", " ") for name in RECIPES}
    if chosen.json:
        print_json(summaries)
        return 0
    width = max(map(len, summaries))
    for name, summary in summaries.items():
        print_result(f"{name:<{width}}  {summary}")
    return 0
