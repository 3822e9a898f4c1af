"""What the pages of recipes expect is what the pages of results found: a figure that is measured anew moves on both."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RECIPES = ROOT / "docs" / "recipes"
PAGES = sorted(RECIPES.glob("*.md"))
_FIGURE = re.compile(r"(?<![\w.])\d+\.\d+(?![\w.])")
_RESULTS = re.compile(r"\(\.\./results/([\w-]+\.md)")


def strays(line: str, recipe: str, results: str) -> list[str]:
    """Figures with decimals in a line of a recipe's page that no figure of its results rounds to.

    Where the page of results has a row of that recipe, that row alone counts: other recipes have figures, too.
    """
    rows = [row for row in results.splitlines() if row.startswith(f"| **{recipe}**")]
    found = _FIGURE.findall("\n".join(rows) or results)
    return [figure for figure in _FIGURE.findall(line) if not any(_rounded(each, like=figure) for each in found)]


def _rounded(found: str, *, like: str) -> bool:
    decimals = len(like.partition(".")[2])
    return decimals <= len(found.partition(".")[2]) and f"{float(found):.{decimals}f}" == like


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_a_recipe_expects_stands_in_its_results(page: Path):
    found = []
    for line in page.read_text("utf-8").splitlines():
        recipe = re.match(r"\| \[([\w-]+)\]", line)
        name = recipe[1] if recipe else page.stem
        for linked in _RESULTS.findall(line):
            results = (ROOT / "docs" / "results" / linked).read_text("utf-8")
            found += [f"{figure}: {linked} knows no such figure" for figure in strays(line, name, results)]
    assert found == []


def test_pages_that_link_to_results_were_looked_at():
    linked = set()
    for page in PAGES:
        lines = [line for line in page.read_text("utf-8").splitlines() if _RESULTS.search(line)]
        linked |= {page.stem} if _FIGURE.search(" ".join(lines)) else set()
    assert linked >= {"README", "electronic-parts", "fashion-mnist"}


def test_a_figure_of_another_day_is_found():
    results = "| **parts** | 76.6, 79.6 %: mean **77.96 %** |\n| **drums** | 74.4 % |\nthe day before: 74.4 %\n"
    assert strays("Expected: 77.7 %, balanced 74.4 %", "parts", results) == ["77.7", "74.4"]
    assert strays("Expected: 78.0 %, 76.6 and 79.6 % in 5 minutes, version 2.13.1", "parts", results) == []
    assert strays("79.60 %", "parts", results) == ["79.60"], "more digits than were measured"
    assert strays("74.4 %", "hats", results) == [], "a page without a row of the recipe counts as a whole"
