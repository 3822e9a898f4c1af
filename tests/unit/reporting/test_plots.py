"""Curves, confusion and sheets of pictures: what is drawn, read back from the file."""

import csv
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from perceptio.errors import MissingExtraError
from perceptio.reporting import figures, style
from perceptio.reporting.confusion import draw_confusion, row_shares, write_confusion_csv
from perceptio.reporting.curves import curve_panels, draw_curves
from perceptio.reporting.images import data_uri, scale_nearest, to_rgb
from perceptio.reporting.samples import draw_sample_grid

ReadPng = Callable[[Path | bytes], np.ndarray]
HISTORY = [
    {"epoch": 1, "step": 5, "train_loss": 2.0, "learning_rate": 1e-2, "seconds": 3.0},
    {
        "epoch": 2,
        "step": 9,
        "train_loss": 1.0,
        "learning_rate": 1e-3,
        "validation_loss": 1.5,
        "validation_map": 0.25,
    },
    {"epoch": 3, "step": 13, "train_loss": float("nan"), "learning_rate": 1e-3, "validation_loss": None},
]


def has_colour(pixels: np.ndarray, colour: str) -> bool:
    return bool((pixels == np.array(tuple(bytes.fromhex(colour[1:])))).all(axis=2).any())


def test_panels_hold_the_numbers_of_the_history() -> None:
    loss, mean_average_precision, rate = curve_panels(HISTORY)
    assert [panel.title for panel in (loss, mean_average_precision, rate)] == [
        "Loss",
        "Mean average precision",
        "Learning rate",
    ]
    assert [(line.label, line.points) for line in loss.series] == [
        ("training", ((1.0, 2.0), (2.0, 1.0))),
        ("validation", ((2.0, 1.5),)),
    ]
    assert mean_average_precision.series[0].points == ((2.0, 0.25),)
    assert (loss.percent, mean_average_precision.percent, rate.percent) == (False, True, False)
    assert rate.logarithmic
    assert [panel.logarithmic for panel in curve_panels(HISTORY[:1])] == [False, False]


def test_the_curves_show_each_line_in_its_colour(tmp_path: Path, read_png: ReadPng) -> None:
    draw_curves(HISTORY, 2, tmp_path / "curves.png")
    pixels = read_png(tmp_path / "curves.png")
    assert pixels.shape[1] > 3 * 300
    assert pixels.shape[0] > 250
    assert all(has_colour(pixels, colour) for colour in style.LINES[:3])
    draw_curves([{"epoch": 1, "train_loss": 2.0}], None, tmp_path / "short.png")
    assert not has_colour(read_png(tmp_path / "short.png"), style.LINES[1])


@pytest.mark.parametrize("num_classes", [2, 31, 61])
def test_the_confusion_is_drawn_for_any_number_of_classes(num_classes: int, tmp_path: Path, read_png: ReadPng) -> None:
    confusion = np.diag(np.full(num_classes, 9)) + np.eye(num_classes, k=1, dtype=int)
    names = ["犬", "a$b_{1}$ \x1b\n <b>" * 4] + [f"class {k}" for k in range(2, num_classes)]
    draw_confusion(confusion, names, tmp_path / "confusion.png")
    pixels = read_png(tmp_path / "confusion.png")
    assert min(pixels.shape[:2]) > 380
    assert max(pixels.shape[:2]) < 2000
    # cividis at 0 (nothing there) and at 1 (the last class is always right)
    assert has_colour(pixels, style.MATRIX_STEPS[0])
    assert has_colour(pixels, style.MATRIX_STEPS[-1])


def test_row_shares() -> None:
    np.testing.assert_array_equal(row_shares(np.array([[3, 1], [0, 0]])), [[0.75, 0.25], [0, 0]])


def test_the_confusion_as_csv_reads_back(tmp_path: Path) -> None:
    names = ["犬", 'a,"b"\n', "c\udce9"]
    write_confusion_csv(np.arange(9).reshape(3, 3), names, tmp_path / "confusion.csv")
    with (tmp_path / "confusion.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["true \\ predicted", "犬", 'a,"b"\n', r"c\udce9"]
    assert rows[1:] == [["犬", "0", "1", "2"], ['a,"b"\n', "3", "4", "5"], [r"c\udce9", "6", "7", "8"]]


def test_a_sheet_of_pictures_keeps_their_colours(tmp_path: Path, read_png: ReadPng) -> None:
    red, grey = np.zeros((2, 3, 3), np.uint8), np.full((300, 200, 1), 77, np.uint8)
    red[..., 0] = 201
    draw_sample_grid([red, grey], ["r.png\ntrue 犬", "g_{1}$.png"], tmp_path / "sheet.png")
    pixels = read_png(tmp_path / "sheet.png")
    assert has_colour(pixels, "#c90000")
    assert has_colour(pixels, "#4d4d4d")
    # The red picture is 2 x 3 pixels in the file and at least 80 x 120 on the sheet, without blur at its edge.
    reds = (pixels == (201, 0, 0)).all(axis=2)
    assert reds.sum() > 80 * 120
    assert reds.any(axis=1).sum() * 3 == pytest.approx(reds.any(axis=0).sum() * 2, abs=6)


def test_a_class_name_that_the_font_lacks_is_shown_by_its_number() -> None:
    assert figures.plot_name("犬", 7) == "class 7"
    assert figures.plot_name("Größe\n", 7) == r"Größe\n"
    assert figures.plot_name("x" * 30, 7) == "x" * 23 + "…"


def test_scale_nearest_repeats_and_drops_whole_pixels() -> None:
    image = np.array([[1, 2, 3], [4, 5, 6]])
    np.testing.assert_array_equal(scale_nearest(image, 4, 3), [[1, 2, 3], [1, 2, 3], [4, 5, 6], [4, 5, 6]])
    np.testing.assert_array_equal(scale_nearest(image, 1, 2), [[1, 2]])


def test_the_steps_of_the_table_are_cividis() -> None:
    colours = figures.colour_map(np.linspace(0, 1, len(style.MATRIX_STEPS)))
    expected = [tuple(bytes.fromhex(step[1:])) for step in style.MATRIX_STEPS]
    np.testing.assert_array_equal(colours, expected)


def test_text_on_the_steps_has_contrast() -> None:
    for step, colour in enumerate(style.MATRIX_STEPS):
        channels = np.array(tuple(bytes.fromhex(colour[1:]))) / 255
        linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
        luminance = float(linear @ (0.2126, 0.7152, 0.0722)) + 0.05
        text = luminance / 0.05 if step >= style.FIRST_STEP_WITH_BLACK_TEXT else 1.05 / luminance
        assert text >= 4.5, colour


def test_data_uri_names_the_kind() -> None:
    assert data_uri(b"\xff\xd8\xff\xe0") == "data:image/jpeg;base64,/9j/4A=="


def test_to_rgb_repeats_grey() -> None:
    np.testing.assert_array_equal(to_rgb(np.full((1, 1, 1), 5, np.uint8)), [[[5, 5, 5]]])


def test_messages(tmp_path: Path) -> None:
    path, picture = tmp_path / "a.png", np.zeros((2, 2, 1), np.uint8)
    message = "curves need at least one finished epoch: the history holds no number. Draw them later."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        draw_curves([{"epoch": 1, "train_loss": float("nan")}], None, path)
    message = (
        "a confusion matrix needs a row and a column for each of the 2 classes: got (3, 3). Give the names of all its "
        "classes."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        draw_confusion(np.eye(3, dtype=int), ["a", "b"], path)
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        write_confusion_csv(np.eye(3, dtype=int), ["a", "b"], path)
    message = (
        "a sheet of pictures needs at least one, each with a caption: got 1 pictures and 2 captions. Give one caption "
        "a picture."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        draw_sample_grid([picture], ["a", "b"], path)
    with pytest.raises(ValueError, match=r"needs at least one.*got 0 pictures"):
        draw_sample_grid([], [], path)
    message = (
        "a picture must be uint8 (height, width, 1 or 3): got float64 (2, 2, 1). Undo the normalisation, scale to "
        "0..255 and put the channels last."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        draw_sample_grid([picture / 1], ["a"], path)
    assert not path.exists()


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(
        MissingExtraError, match=r"^drawing plots needs an optional part that is not installed: pip install "
    ):
        figures.new_figure(1.0, 1.0)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(
        MissingExtraError, match=r"^drawing plots needs an optional part that is not installed: pip install "
    ):
        figures.colour_map(np.zeros(1))


def test_importing_the_package_loads_no_plots_and_no_torch() -> None:
    code = (
        "import sys, perceptio.reporting; print([name for name in ('torch', 'matplotlib', 'jinja2', 'PIL') if name in "
        "sys.modules])"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"
