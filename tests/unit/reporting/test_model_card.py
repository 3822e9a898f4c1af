import dataclasses
from pathlib import Path

import pytest

from perceptio.reporting.content import DataSummary, ReportContent
from perceptio.reporting.model_card import write_model_card
from perceptio.reporting.sentences import limits
from perceptio.tasks.metrics import PerClass


@pytest.fixture
def card(content: ReportContent, tmp_path: Path) -> str:
    write_model_card(content, tmp_path / "README.md")
    return (tmp_path / "README.md").read_text(encoding="utf-8")


def test_it_says_what_how_well_and_how_to_repeat(card: str) -> None:
    assert card.startswith("# photos-001\n\nA Perceiver (arXiv 2103.03206)")
    headings = [line for line in card.splitlines() if line.startswith("## ")]
    assert headings == [
        f"## {name}"
        for name in (
            "Intended use", "Use it", "Result", "Each class", "Limits", "Data", "Cost", "How it was made",
        )
    ]  # fmt: skip
    assert "To label files like those that it was trained on with 3 classes: cat, dog" in card
    assert "    for answer in perceptio.load('runs/photos 001').predict(['FILE']):\n" in card
    assert "82.1 % of 179 test samples were classified correctly (95 % interval 75.8 to 87.0)" in card
    assert "| cat | 60 | 69.4 % | 83.3 % |" in card
    assert "    perceptio predict 'runs/photos 001' FILE\n" in card
    assert "    perceptio train --data 'a</code><script>b'\n" in card
    assert "    perceptio train --config 'runs/photos 001/config.json'\n" in card
    assert "- training time: 14 min 3 s" in card
    assert "Caution: equal files in different splits (1 group) flatter the result." in card
    assert (
        "Caution: equal files bear different labels (1 group), some wrong, such as a/5.jpg (a) = b/&lt;s&gt;5.jpg (b)."
    ) in card
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
    assert "Trained on d." in card


def test_the_card_of_a_run_without_a_model_tells_nobody_to_use_it(content: ReportContent, tmp_path: Path) -> None:
    early = dataclasses.replace(content, headline=None, history=(), best_epoch=None, has_model=False)
    write_model_card(early, tmp_path / "README.md")
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "There is no model here: the run ended before its first evaluation." in card
    for text in ("## Use it", "## Intended use", "perceptio predict", "perceptio.load"):
        assert text not in card
    assert "To train it again:" in card


def test_many_classes_are_cut_and_say_so(content: ReportContent, tmp_path: Path) -> None:
    rows = tuple(PerClass(name=f"k{k}", count=1) for k in range(60))
    write_model_card(dataclasses.replace(content, per_class=rows, data=None), tmp_path / "README.md")
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "| k49 | 1 |" in card
    assert "| k50 |" not in card
    assert "10 more rows are in report.html." in card


def test_limits_are_those_that_the_numbers_show(content: ReportContent) -> None:
    headline = content.headline
    assert headline is not None
    told = "\n".join(limits(content))
    assert "There are only 179 test samples: the result is known to 75.8 to 87.0 % and no better." in told
    assert "3 validation or test samples may bear a wrong label" in told
    assert "no better than" not in told
    assert "misses more than half" not in told
    rows = (
        PerClass(name="owl", count=19, precision=1.0, recall=0.49),
        PerClass(name="cow", count=20, precision=1.0, recall=0.5),
    )
    poor = dataclasses.replace(
        content,
        per_class=rows,
        num_suspects=0,
        headline=dataclasses.replace(headline, split="validation", value=0.35, interval=(0.33, 0.37), chance=0.3352),
    )
    told = "\n".join(limits(poor))
    assert "may be no better than always saying" in told
    assert "that gives 33.5 %, and the 95 % interval begins at 33.0 %." in told
    assert "Fewer than 20 samples measure owl: those rows say little." in told
    assert "misses more than half of the samples of owl." in told
    assert "The test samples were not used: the result chose the epoch, which flatters it." in told
    assert "There are only" not in told
    assert "wrong label" not in told
