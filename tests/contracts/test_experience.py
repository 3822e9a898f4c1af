"""docs/experience.md says what a user may expect and names the test that holds it: each named test exists.

So do those, and the scripts, that docs/reliability.md names.
"""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NUM_FEATURES = 38


def rows(page: str) -> list[list[str]]:
    """The cells of the table's rows, without its head and the line below it."""
    lines = [line for line in page.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def problems(page: str) -> list[str]:
    """What is wrong with the page: rows that are no "yes", "part" or "no", and tests that do not exist."""
    found = []
    for feature, here, held in rows(page):
        if here not in ("yes", "no") and not here.startswith("part: "):
            found.append(f"{feature}: {here!r} is neither yes, no nor part: what is missing")
        names = [name for name in held.split("<br>") if name]
        if here != "no" and not names:
            found.append(f"{feature}: no test")
        found += [f"{feature}: there is no {name}" for name in names if not exists(name)]
    return found


def exists(test: str) -> bool:
    """Whether a file has a test function of this name."""
    file, _, name = test.partition("::")
    path = ROOT / file
    return path.is_file() and any(
        isinstance(node, ast.FunctionDef) and node.name == name for node in ast.parse(path.read_text()).body
    )


def test_every_feature_says_whether_it_is_there_and_which_test_holds_it():
    page = (ROOT / "docs" / "experience.md").read_text(encoding="utf-8")
    assert problems(page) == []
    assert len(rows(page)) == NUM_FEATURES


def test_what_the_page_on_reliability_names_exists():
    page = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    planned = re.findall(r"^\| (\d+) \| .*$", page, flags=re.MULTILINE)
    assert planned == [str(number) for number in range(1, 29)]
    named = re.findall(r"tests/[\w/]+\.py::\w+", page)
    assert len(named) > 50
    assert [name for name in named if not exists(name)] == []
    scripts = set(re.findall(r"benchmarks/\w+\.py", page))
    assert [name for name in scripts if not (ROOT / name).is_file()] == []


def test_each_problem_is_found():
    here = "tests/contracts/test_experience.py::test_each_problem_is_found"
    head = "| feature | here | held by |\n| --- | --- | --- |\n"
    fine = f"| a | yes | {here} |\n| b | no |  |\n| c | part: half | {here}<br>{here} |"
    assert problems(head + fine) == []
    assert problems(f"{head}| a | yes | {here}ed |") == [f"a: there is no {here}ed"]
    assert problems(f"{head}| a | perhaps | {here} |") == ["a: 'perhaps' is neither yes, no nor part: what is missing"]
    assert problems(f"{head}| a | yes |  |") == ["a: no test"]
