"""Options and limits that the pages name exist: a renamed one is renamed on the pages as well."""

import re
from pathlib import Path

import pytest

from perceptio.cli.evaluate import options as evaluate_options
from perceptio.cli.train import options as train_options

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "modalities").glob("*.md")])
ELSEWHERE = {"max-resolution", "max-freq"}
"""What other libraries call it, as the glossary says."""


def known_options() -> set[str]:
    known = {option.name for option in (*train_options(("--data", "x")), *evaluate_options(()))}
    return known | {f"--no-{name[2:]}" for name in known}


def unknown_options(text: str, known: set[str]) -> list[str]:
    """Dotted options, which are ours whatever program stands before them, and limits, that do not exist."""
    dotted = [word.rstrip(".") for word in re.findall(r"--[a-z-]+\.[a-z.-]+", text)]
    last = {name.rpartition(".")[2].removeprefix("--") for name in known} | ELSEWHERE
    limits = re.findall(r"(?<![\w-])max[_-][a-z][a-z_-]*|(?<!\w)MAX_[A-Z_]+", text)
    return [word for word in dotted if word not in known] + [
        word for word in limits if word.replace("_", "-") not in last
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_names_exists(page: Path):
    assert unknown_options(page.read_text("utf-8"), known_options()) == []


def test_an_option_that_is_gone_is_found():
    known = known_options()
    text = "`MAX_FACES`, `max_face`, --source.limits.max-facets and `max-bytes`; `--image.sise`."
    assert unknown_options(text, known) == [
        "--source.limits.max-facets", "--image.sise", "MAX_FACES", "max_face", "max-facets", "max-bytes"
    ]  # fmt: skip
    text = "`max_faces`, --source.limits.max-faces. `--no-points.cache`, `--image.size 3 4` and `max_frequency_bins`"
    assert unknown_options(text, known) == []
