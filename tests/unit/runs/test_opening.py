from dataclasses import replace
from pathlib import Path

import pytest

from perceptio.runs.config import SourceConfig
from perceptio.runs.data import Survey, survey_data
from perceptio.runs.opening import show_data
from perceptio.runs.screen import SilentScreen
from support.pictures import make_picture_folder


def told_of(survey: Survey) -> list[str]:
    told: list[str] = []
    screen = SilentScreen()
    screen.fact = lambda label, text: told.append(text)  # type: ignore[method-assign]
    show_data(survey, screen, listed_in="skipped.csv")
    return told


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Survey:
    folder: Path = make_picture_folder(tmp_path_factory.mktemp("opening") / "pictures", per_class=4)
    return survey_data(str(folder), SourceConfig())


def test_equal_files_with_different_labels_are_named_and_counted(survey: Survey):
    """One name for each label says enough, and a few groups do."""
    assert not [text for text in told_of(survey) if "warning" in text]
    equal = [tuple(f"{label}/0{number}.png" for label in ("disc", "frame")) for number in range(4)]
    copies = (("disc/00.png", "disc/01.png", "frame/00.png", "frame/01.png", "stripes/00.png"), *equal[2:])
    (said,) = [text for text in told_of(replace(survey, copies=copies)) if "warning" in text]
    assert said == (
        "warning: equal files bear different labels, some of them wrong: disc/00.png (disc) = frame/00.png (frame) = "
        "stripes/00.png (stripes); disc/02.png (disc) = frame/02.png (frame); disc/03.png (disc) = frame/03.png (frame)"
    )
    many = tuple((f"disc/0{number}.png", f"stripes/0{number}.png") for number in range(4))
    (said,) = [text for text in told_of(replace(survey, copies=many)) if "warning" in text]
    assert said.endswith("disc/02.png (disc) = stripes/02.png (stripes); and 1 more group")
    alike = (("disc/00.png", "disc/01.png"),)
    assert not [text for text in told_of(replace(survey, copies=alike)) if "warning" in text]


def test_classes_whose_files_cannot_be_read_are_shown(survey: Survey):
    assert told_of(survey)[0].endswith(": 3 classes from folder names: disc 4, frame 4, stripes 4")
    some = tuple(record for record in survey.usable if record.labels != ("disc",))
    assert told_of(replace(survey, usable=some))[0].endswith(": disc 0, frame 4, stripes 4")
    none = replace(survey, usable=())
    assert told_of(none)[0].endswith(": 3 classes from folder names: disc 0, frame 0, stripes 0")
