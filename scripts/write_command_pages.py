"""Writes docs/commands/COMMAND.md, a page for each command, from what the code says: run it when help has changed.

Usage: python scripts/write_command_pages.py
"""

import importlib
from pathlib import Path

from perceptio.cli.arguments import full_help
from perceptio.cli.main import COMMANDS

PAGES = Path(__file__).resolve().parents[1] / "docs" / "commands"


def page(command: str) -> str:
    """Returns the page of a command."""
    module = importlib.import_module(f"perceptio.cli.{command}")
    what = COMMANDS[command]
    more = (
        "\nWhich options a stream has depends on the files; here they are for pictures.\n" if command == "train" else ""
    )
    return (
        f"# perceptio {command}\n\n{what[:1].upper()}{what[1:]}.\n\n```text\n{module.HELP}```\n\n"
        f"## Every option\n{more}\n```text\n{full_help(module.options())}```\n"
    )


if __name__ == "__main__":
    PAGES.mkdir(exist_ok=True)
    for name in COMMANDS:
        (PAGES / f"{name}.md").write_text(page(name), encoding="utf-8")
