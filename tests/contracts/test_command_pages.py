"""docs/commands says what the commands' own help says, and help fits a terminal of 80 columns."""

import importlib.util
from pathlib import Path

import pytest

from perceptio.cli.main import COMMANDS

ROOT = Path(__file__).resolve().parents[2]


def _script():
    spec = importlib.util.spec_from_file_location("write_command_pages", ROOT / "scripts" / "write_command_pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_a_page_that_is_current(command: str):
    page = ROOT / "docs" / "commands" / f"{command}.md"
    assert page.read_text("utf-8") == _script().page(command), "python scripts/write_command_pages.py writes it anew"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_opens_with_examples_and_fits_80_columns(command: str):
    text = importlib.import_module(f"perceptio.cli.{command}").HELP
    assert text.startswith(f"usage: perceptio {command}")
    examples = text.split("\n\n")[1].splitlines()
    assert examples[0] == "examples:"
    assert len(examples) == 4
    assert all(line.startswith(("  perceptio ", "  find ")) for line in examples[1:])
    assert max(map(len, text.splitlines())) <= 84, "an example may be a little longer"


def test_no_page_is_left_over():
    assert {path.stem for path in (ROOT / "docs" / "commands").glob("*.md")} == set(COMMANDS)
