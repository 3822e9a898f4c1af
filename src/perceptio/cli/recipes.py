"""perceptio recipes."""

from dataclasses import dataclass

HELP = """usage: perceptio recipes [--json]

Lists the recipes. `perceptio info RECIPE` shows one; `perceptio train RECIPE` runs it.
"""


def main(arguments: list[str]) -> int:
    """Runs the command."""
    from perceptio.cli.arguments import parse
    from perceptio.cli.screen import print_json, print_result
    from perceptio.recipes.registry import RECIPES, describe_recipe

    @dataclass(frozen=True, kw_only=True)
    class RecipesArguments:
        json: bool = False

    chosen = parse(RecipesArguments, arguments, command="recipes")
    summaries = {name: describe_recipe(name).split("\n\n")[0].replace("\n", " ") for name in RECIPES}
    if chosen.json:
        print_json(summaries)
        return 0
    width = max(map(len, summaries))
    for name, summary in summaries.items():
        print_result(f"{name:<{width}}  {summary}")
    return 0
