"""The Python API is equal to the command line: every option that a command's help names has its counterpart."""

import importlib
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest

import perceptio
from perceptio.cli.main import COMMANDS
from perceptio.runs.attend import Attention

FUNCTIONS: Mapping[str, tuple[Callable[..., Any], ...]] = {
    "train": (perceptio.train,),
    "predict": (perceptio.Run.predict,),
    "evaluate": (perceptio.Run.evaluate,),
    "attend": (perceptio.Run.attend, Attention.save),
    "data": (perceptio.pack, perceptio.check),
    "recipes": (perceptio.list_recipes,),
    "info": (perceptio.info,),
    "completion": (),
}
"""What does in Python what a command does. A command that is missing here has no counterpart yet, and fails."""

ELSEWHERE: Mapping[str, str] = {
    "train --json": "train returns the values",
    "train --quiet": "nothing is shown unless a screen is given",
    "train --dry-run": "choose returns the config; train tries a batch before its first step",
    "train --split": "dataclasses.replace on the config",
    "train --field.path": "dataclasses.replace on the config of perceptio.recipe or perceptio.choose",
    "predict --json": "predict yields the values",
    "predict --csv": "predict yields the values",
    "predict --files-from": "predict takes any iterable of names",
    "predict --top": "probabilities are sorted",
    "evaluate --json": "evaluate returns the values",
    "attend --json": "save returns where it wrote",
    "attend --out": "save takes the path",
    "attend --npz": "save to a path with this suffix",
    "attend --movie": "save to a path that ends in .mp4",
    "data --quiet": "nothing is shown unless a screen is given",
    "data --json": "pack and check return the values",
    "recipes --json": "list_recipes returns the names",
    "info --diff": "info of both",
    "info --json": "info returns the document",
}
"""Options whose counterpart is no parameter of the same name, and what it is instead."""


def options_of(help_text: str) -> set[str]:
    """The options that a help text names, dotted ones by their first part; those of other commands' examples too."""
    own = "\n\n".join(part for part in help_text.split("\n\n") if not part.startswith("examples:"))
    return set(re.findall(r"(?<![\w-])--([a-z][a-z-]*(?:\.path)?)", own))


def typed_options(command: str) -> set[str]:
    """The options that a command takes, those among them that its short help leaves out; not the fields of a config."""
    options = importlib.import_module(f"perceptio.cli.{command}").options(())
    return {
        option.name.removeprefix("--") for option in options if option.name.startswith("--") and "." not in option.name
    }


def missing(command: str, options: set[str]) -> list[str]:
    parameters = {name for function in FUNCTIONS[command] for name in inspect.signature(function).parameters}
    return sorted(
        option
        for option in options
        if option.replace("-", "_") not in parameters and f"{command} --{option}" not in ELSEWHERE
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_has_its_counterpart(command: str):
    told = options_of(importlib.import_module(f"perceptio.cli.{command}").HELP)
    assert missing(command, told | typed_options(command)) == []


def test_what_stands_elsewhere_is_still_an_option():
    for entry in ELSEWHERE:
        command, _, option = entry.partition(" --")
        assert option in options_of(importlib.import_module(f"perceptio.cli.{command}").HELP), entry


def test_a_missing_counterpart_is_found():
    text = (
        "usage: perceptio predict RUN\n\n  --device cpu   where\n  --sharpen N    how much\n\nexamples:\n  --never-mind"
    )
    assert missing("predict", options_of(text)) == ["sharpen"]
    assert {"sharding", "timeout-minutes", "device"} <= typed_options("train")


def test_every_public_function_says_what_it_does():
    for function in (*{f for functions in FUNCTIONS.values() for f in functions}, perceptio.load, perceptio.choose):
        assert len(inspect.getdoc(function) or "") > 40, function
