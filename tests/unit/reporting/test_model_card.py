import dataclasses
from pathlib import Path

import pytest

from perceptio.reporting.content import DataSummary, ReportContent
from perceptio.reporting.model_card import write_model_card
from perceptio.tasks.metrics import PerClass


@pytest.fixture
def card(content: ReportContent, tmp_path: Path) -> str:
    write_model_card(content, tmp_path / "README.md")
    return (tmp_path / "README.md").read_text(encoding="utf-8")


def test_it_says_what_how_well_and_how_to_repeat(card: str) -> None:
    assert card.startswith("# photos-001\n\nA Perceiver (arXiv 2103.03206)")
    headings = [line for line in card.splitlines() if line.startswith("## ")]
    assert headings == ["## Use it", "## Result", "## Each class", "## Data", "## Cost", "## Repeat it"]
    assert "82.1 % of 179 test samples were classified correctly (95 % interval 75.8 to 87.0)" in card
    assert "| cat | 60 | 69.4 % | 83.3 % |" in card
    assert "    perceptio predict 'runs/photos 001' FILE\n" in card
    assert "    perceptio train --data 'a</code><script>b'\n" in card
    assert "- training time: 14 min 3 s" in card
    assert "Caution: equal files in different splits (1 group) flatter the result." in card
    assert "seed 7; torch 2.13.0; 2 CPU cores" in card


def test_names_are_text(card: str) -> None:
    outside_code = "\n".join(line for line in card.splitlines() if not line.startswith("    "))
    assert "<" not in outside_code
    assert "dog &lt;script&gt;alert(1)&lt;/script&gt;" in outside_code
    assert "bell\\\\x07" in outside_code  # the escape's own backslash is escaped for Markdown


def test_table_signs_and_list_starts_are_escaped(content: ReportContent, tmp_path: Path) -> None:
    names = ("a|b", "*bold*", "[x](y)")
    rows = tuple(PerClass(name=name, count=1, precision=0.5, recall=0.25) for name in names)
    odd = dataclasses.replace(
        content,
        classes=names,
        per_class=rows,
        confusion=None,
        notes=("1. not a list", "# no heading", "- none"),
    )
    write_model_card(odd, tmp_path / "README.md")
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    for text in (
        r"| a\|b | 1 |",
        r"| \*bold\* |",
        r"| \[x\](y) |",
        "\n&#49;. not a list\n",
        "\n\\# no",
        "\n\\- none",
    ):
        assert text in card


def test_parts_that_are_unknown_are_left_out(tmp_path: Path) -> None:
    write_model_card(ReportContent(run="r", recipe="x", data=DataSummary(source="d")), tmp_path / "README.md")
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert [line for line in card.splitlines() if line.startswith("#")] == ["# r", "## Data"]


def test_many_classes_are_cut_and_say_so(content: ReportContent, tmp_path: Path) -> None:
    rows = tuple(PerClass(name=f"k{k}", count=1) for k in range(60))
    write_model_card(dataclasses.replace(content, per_class=rows, data=None), tmp_path / "README.md")
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "| k49 | 1 |" in card
    assert "| k50 |" not in card
    assert "10 more rows are in report.html." in card
