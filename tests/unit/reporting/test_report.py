import base64
import dataclasses
import re
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from perceptio.errors import MissingExtraError
from perceptio.reporting import numbers, report, style
from perceptio.reporting.content import DataSummary, Headline, JudgedFile, ReportContent, SkippedFile
from perceptio.reporting.report import list_sections, render_report, write_report
from perceptio.reporting.tables import counts_table
from perceptio.tasks.metrics import multi_label_table

VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """Collects tags, attributes, text, tables and sections of a page, and refuses one whose tags do not nest."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.sections: dict[str, str] = {}
        self._open: list[str] = []
        self._section: list[str] = []
        self.tables: list[list[list[str]]] = []
        self.feed(html)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in {"td", "th"}:
            self.tables[-1][-1].append("")
        if tag == "section":
            self._section.append(str(dict(attrs)["id"]))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        if tag == "section":
            self._section.pop()

    def handle_data(self, data: str) -> None:
        self.text += data
        if {"td", "th"} & set(self._open):
            self.tables[-1][-1][-1] += data
        for name in self._section:
            self.sections[name] = self.sections.get(name, "") + data

    def images(self) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == "img"]


@pytest.fixture
def page(content: ReportContent, tmp_path: Path) -> Page:
    write_report(content, tmp_path / "report.html")
    return Page((tmp_path / "report.html").read_text(encoding="utf-8"))


def test_every_section_is_there_with_a_heading_and_a_link(page: Page) -> None:
    anchors = ["curves", "confusion", "classes", "mistakes", "unsure", "labels", "samples", "attention"]
    anchors += ["data", "cost", "repeat"]
    assert list(page.sections) == ["result", *anchors]
    assert [attributes["href"] for tag, attributes in page.tags if tag == "a"] == [f"#{name}" for name in anchors]
    headings = [tag for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert headings.count("h1") == 1
    assert headings.count("h2") == len(anchors)


def test_the_page_needs_nothing_from_outside_and_runs_nothing(content: ReportContent, page: Page) -> None:
    html = render_report(content)
    assert not {"script", "link", "iframe", "object", "embed", "base", "form"} & {tag for tag, _ in page.tags}
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert "http:" not in html
    assert "https:" not in html
    assert "url(" not in html
    assert "@import" not in html
    for _, attributes in page.tags:
        for name in ("src", "href"):
            assert str(attributes.get(name) or "#").startswith(
                ("data:image/png;base64,", "data:image/jpeg;base64,", "#")
            )
    (policy,) = [attributes["content"] for tag, attributes in page.tags if "http-equiv" in attributes]
    assert str(policy).startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline';")


def test_names_are_text_and_hidden_characters_are_spelt_out(content: ReportContent, page: Page) -> None:
    html = render_report(content)
    assert "<script>" not in html
    assert "dog &lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "dog <script>alert(1)</script>" in page.sections["classes"]
    assert r"bell\x07\u202e & 犬" in page.sections["confusion"]
    assert r"bad\udce9\n\x1b[31m.jpg" in page.sections["data"]
    assert 'horse/"><img src=x>.png' in page.sections["mistakes"]
    assert "photos/<i>" in page.sections["data"]
    assert "a</code><script>b" in page.sections["repeat"]
    assert r"</pre>\x9b" in page.sections["repeat"]
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e\ud800-\udfff]", html)


def test_the_numbers_are_those_of_the_content(page: Page) -> None:
    result = page.sections["result"]
    assert "82.1 % of 179 test samples were classified correctly (95 % interval 75.8 to 87.0)" in result
    assert 'always saying "dog <script>alert(1)</script>" gives 33.5 %' in result
    assert "most often confused: bell" in result
    assert "taken for cat, 20 times" in result
    assert "Stopped: no better validation loss since epoch 2." in result
    styles = [attributes.get("style") for tag, attributes in page.tags if tag == "i"]
    assert "left:75.84%;width:11.18%" in styles
    assert "left:82.12%" in styles
    assert "left:33.52%" in styles
    assert "12 files were grey." in page.sections["data"]
    for text in ("14 min 3 s", "35 samples a second", "1.9 GB", "4.1 M (4,123,456)", "707 GFLOPs", "3 % of the time"):
        assert text in page.sections["cost"]
    for text in (
        '"num_latents": 128',
        '"source": "photos"',
        "2.13.0",
        "perceptio predict 'runs/photos 001' FILE",
        "perceptio train --config 'runs/photos 001/config.json'",
    ):
        assert text in page.sections["repeat"]


def test_tables_hold_the_confusion_the_classes_and_the_counts(page: Page) -> None:
    cat, dog, bell = "cat", "dog <script>alert(1)</script>", r"bell\x07\u202e & 犬"
    _, most_frequent, matrix, classes, counts, sizes, _ = page.tables
    assert most_frequent == [
        ["true class", "taken for", "times", "of the class"],
        [bell, cat, "20", "35.1 %"],
        [cat, dog, "9", "15.0 %"],
        [dog, cat, "2", "3.2 %"],
        [cat, bell, "1", "1.7 %"],
    ]
    assert matrix == [
        ["true", cat, dog, bell],
        [cat, "50", "9", "1"],
        [dog, "2", "60", "0"],
        [bell, "20", "0", "37"],
    ]
    assert classes == [
        ["class", "samples", "precision", "recall"],
        [cat, "60", "69.4 %", "83.3 %"],
        [dog, "62", "87.0 %", "96.8 %"],
        [bell, "57", "97.4 %", "64.9 %"],
    ]
    assert counts[0] == ["class", "train", "test"]
    assert counts[1:] == [
        [cat, "834", "60"],
        [dog, "834", "0"],
        [bell, "834", "0"],
        ["late class", "0", "7"],
        ["all", "2,502", "67"],
    ]
    assert sizes == [["", "smallest", "median", "largest"], ["height (pixels)", "120", "768.5", "4,000"]]


def test_where_samples_have_several_labels_the_samples_are_counted_all_the_same(content: ReportContent) -> None:
    several = DataSummary(
        source="d", counts={"train": {"a": 5, "b": 3}, "test": {"b": 2}}, num_samples={"train": 6, "test": 4}
    )
    content = dataclasses.replace(content, classes=("a", "b"), confusion=None, data=several)
    assert counts_table(content).rows == (("a", "5", "0"), ("b", "3", "2"), ("all", "6", "4"))
    unknown = dataclasses.replace(several, num_samples={})
    assert counts_table(dataclasses.replace(content, data=unknown)).rows == (("a", "5", "0"), ("b", "3", "2"))


def test_every_number_of_the_history_is_in_a_table(page: Page) -> None:
    assert page.tables[0] == [
        ["epoch", "step", "train loss", "learning rate", "validation loss", "validation accuracy"],
        ["1", "13", "1.5", "0.001", "", ""],
        ["2", "26", "0.75", "", "0.9", "0.5"],
        ["3", "39", "0.5", "", numbers.UNKNOWN, "0.8125"],
    ]


def test_cells_are_coloured_by_their_share_of_the_row(page: Page) -> None:
    steps = [attributes["class"] for tag, attributes in page.tags if tag == "td" and "class" in attributes]
    assert steps == ["s8", "s2", "s0", "s0", "s10", "s0", "s4", "s0", "s6"]


def test_pictures_are_embedded_with_alt_texts(page: Page, read_png: Callable[[bytes], np.ndarray]) -> None:
    images = page.images()
    assert [image["alt"] for image in images] == [
        "Loss over the epochs: training from 1.5 to 0.5; validation from 0.9 to 0.9; best epoch 2.",
        "Accuracy over the epochs: validation from 0.5 to 0.8125; best epoch 2.",
        "Learning rate over the epochs: learning rate from 0.001 to 0.001; best epoch 2.",
        r'horse/"><img src=x>.png, labelled dog <script>alert(1)</script>; the model says cat, 98.8 %',
        "cat/<b>7.png, labelled cat; the model says cat, 41.0 %",
        "dog/8.png, labelled dog <script>alert(1)</script>; the model says cat, 97.0 %",
        "A training sample as the model sees it: cat",
        "A training sample as the model sees it: dog <script>alert(1)</script>",
        "Attention of a.jpg.",
    ]
    decoded = [base64.b64decode(str(image["src"]).partition("base64,")[2]) for image in images]
    assert all(read_png(png).shape[1] > 300 for png in decoded[:3])
    assert read_png(decoded[6]).shape == (4, 4, 3)
    assert read_png(decoded[7]).shape == (2, 24, 3)
    assert len(decoded[5]) < 240 * 160


def test_wide_pictures_get_wide_cells(page: Page) -> None:
    galleries = [attributes.get("class") for tag, attributes in page.tags if tag == "ul"][:4]
    assert galleries == ["gallery", "gallery broad", "gallery", "gallery broad"]


def test_the_colours_are_safe_and_the_page_says_so(page: Page) -> None:
    assert "Okabe and Ito's palette" in page.text
    assert "matrices and maps use cividis" in page.text
    # Okabe and Ito's own list, from their page on colour universal design.
    published = {"#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7"}
    assert set(style.LINES) <= published
    assert len(set(style.MARKERS)) == len(style.MARKERS) == len(style.LINES)
    assert style.MATRIX_COLORMAP == "cividis"


def test_each_judged_file_says_what_the_model_and_the_label_say(page: Page) -> None:
    assert "cat 98.8 %, bell" in page.sections["mistakes"]
    assert "can no longer be read" in page.sections["mistakes"]
    assert "cat 41.0 %, dog <script>alert(1)</script> 40.5 %" in page.sections["unsure"]
    labels = page.sections["labels"]
    assert "3 validation or test samples, of which the surest 1 are shown." in labels
    assert "gives another class at least 90 %, and of all answers that are as sure at least 90 % agree" in labels
    assert "labelled dog <script>alert(1)</script>" in labels
    assert "dog/8.png, validation" in labels


def test_no_label_that_looks_wrong_is_said_too(content: ReportContent) -> None:
    fine = dataclasses.replace(content, suspects=(), num_suspects=0)
    assert "None.\nThe rule: the model gives" in Page(render_report(fine)).sections["labels"]
    assert "Some may be labelled wrongly" in Page(render_report(fine)).sections["mistakes"]


def test_a_run_that_failed_says_why(content: ReportContent) -> None:
    failed = dataclasses.replace(content, headline=None, problem="loss <i>is</i> not a number")
    section = Page(render_report(failed)).sections["result"]
    assert "Training failed. loss <i>is</i> not a number" in section


def test_reasons_are_counted_where_there_are_several(content: ReportContent) -> None:
    skipped = tuple(SkippedFile(file=f"{k}.jpg", reason="empty" if k else "truncated") for k in range(3))
    page = Page(render_report(dataclasses.replace(content, data=DataSummary(source="photos", skipped=skipped))))
    assert page.tables[-2] == [["reason", "files"], ["empty", "2"], ["truncated", "1"]]


def test_a_run_from_python_has_no_command_line(content: ReportContent) -> None:
    assert content.origin is not None
    silent = dataclasses.replace(content, origin=dataclasses.replace(content.origin, command=""))
    assert "This run was started from Python." in Page(render_report(silent)).sections["repeat"]


def test_a_run_without_a_model_shows_no_command_that_uses_it(content: ReportContent) -> None:
    assert "To use the model:" in Page(render_report(content)).sections["repeat"]
    early = dataclasses.replace(content, headline=None, history=(), best_epoch=None, has_model=False)
    section = Page(render_report(early)).sections["repeat"]
    assert "perceptio predict" not in section
    assert "To train it again:" in section
    assert "It left no model: the run ended before its first evaluation." in section
    page = Page(render_report(dataclasses.replace(early, history=content.history[:1])))
    assert "It left no model: no evaluation gave a number." in page.sections["repeat"]
    assert "Nothing was measured: no evaluation gave a number." in page.sections["result"]


def test_light_dark_and_phones(content: ReportContent) -> None:
    html = render_report(content)
    assert "@media (prefers-color-scheme: dark)" in html
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in html


def test_an_empty_run_has_a_page_that_says_so() -> None:
    content = ReportContent(run="photos-002", recipe="images-small")
    page = Page(render_report(content))
    assert list(page.sections) == ["result"]
    assert "Nothing was measured: the run ended before its first evaluation." in page.sections["result"]
    assert list_sections(content) == ()


def test_a_multi_label_run_shows_average_precision_and_no_confusion() -> None:
    scores, present = np.array([[0.9, 0.1], [0.2, 0.3], [0.4, 0.8]]), np.array([[1, 0], [1, 0], [0, 1]], bool)
    content = ReportContent(
        run="sounds",
        recipe="audio",
        headline=Headline(metric="mean average precision", value=0.91667, split="test", num_samples=3, chance=0.5),
        classes=("bark", "rain"),
        per_class=multi_label_table(scores, present, ["bark", "rain"]),
    )
    page = Page(render_report(content))
    assert list(page.sections) == ["result", "classes"]
    expected = "Mean average precision of 91.7 % on 3 test samples; the chance level is 50.0 %."
    assert expected in page.sections["result"]
    assert "Weakest class bark (average precision 83.3 %)." in page.sections["result"]
    assert "recall" not in page.sections["classes"].lower()


def test_many_classes_become_a_list_of_what_each_was_taken_for() -> None:
    confusion = np.diag(np.arange(1, 102))
    confusion[100, 3] = 1234
    confusion[0, 1:] = np.where(np.arange(1, 101) < 10, 2, 1)
    classes = tuple(f"class-{k}" for k in range(101))
    page = Page(render_report(ReportContent(run="r", recipe="x", classes=classes, confusion=confusion)))
    assert "All 101 classes" in page.sections["confusion"]
    assert "plots/confusion.csv" in page.sections["confusion"]
    assert "class-3 (1,234)" in page.sections["confusion"]
    assert "class-8 (2), and 92 other classes" in page.sections["confusion"]
    assert len([tag for tag, _ in page.tags if tag == "td"]) < 101 * 4


def test_long_lists_of_files_are_cut_and_say_so(content: ReportContent) -> None:
    skipped = tuple(SkippedFile(file=f"f{k:04}.jpg", reason="empty") for k in range(report.MAX_LISTED_FILES + 1))
    leaks = tuple((f"a{k}", f"b{k}") for k in range(report.MAX_LISTED_FILES + 5))
    data = DataSummary(source="photos", skipped=skipped, leaks=leaks)
    section = Page(render_report(dataclasses.replace(content, data=data))).sections["data"]
    assert "Skipped: 201 files" in section
    assert "The first 200; all are in skipped.csv." in section
    assert "f0199.jpg" in section
    assert "f0200.jpg" not in section
    assert "and 5 more" in section


def test_equal_files_with_different_labels_are_named(content: ReportContent) -> None:
    section = Page(render_report(content)).sections["data"]
    assert "1 group of equal files with different labels." in section
    assert "b/<s>5.jpg (b)" in section


def test_no_mistake_among_the_predictions(content: ReportContent) -> None:
    perfect = dataclasses.replace(content, confusion=np.diag([3, 4, 5]))
    assert "No sample was taken for another class." in Page(render_report(perfect)).sections["confusion"]


@pytest.mark.parametrize(
    ("module", "what"),
    [("jinja2", "writing the report"), ("matplotlib.figure", "drawing plots"), ("PIL", "writing pictures")],
)
def test_a_missing_extra_is_named(
    module: str, what: str, content: ReportContent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    if module == "PIL":  # matplotlib needs it, too
        content = dataclasses.replace(content, history=())
    with pytest.raises(
        MissingExtraError, match=rf"^{what} needs an optional part .*: pip install 'perceptio\[report\]'$"
    ):
        render_report(content)


def test_messages(content: ReportContent, tmp_path: Path) -> None:
    message = (
        "confusion must have a row and a column for each of the 2 classes: got (3, 3). Name every class of the model."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        dataclasses.replace(content, classes=("a", "b"))
    (picture,) = content.attention
    picture.path.write_bytes(b"<!DOCTYPE html>")
    message = "a picture of the report must be PNG, JPEG, GIF or WebP: it begins with b'<!DOCTYP'. Save it as PNG."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        render_report(content)
    wrong = JudgedFile(file="f", split="test", image=np.zeros((3, 2, 2), np.uint8), labelled="a", answers=(("b", 1.0),))
    with pytest.raises(ValueError, match=r"uint8 \(height, width, 1 or 3\): got uint8 \(3, 2, 2\)\. Undo the"):
        render_report(ReportContent(run="r", recipe="x", mistakes=(wrong,)))
