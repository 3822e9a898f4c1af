import io
import json

import pytest

from perceptio.cli.main import main
from perceptio.cli.screen import print_json, progress_screen
from perceptio.screens.choice import NoScreen, PlainScreen, QuietScreen
from perceptio.screens.json_lines import JsonScreen
from perceptio.training.job import StepReport, TrainingWarning


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt(), 130), (KeyboardInterrupt(15), 143)])
def test_a_signal_outside_of_training_is_said_and_has_its_code(monkeypatch, capsys, error: BaseException, code: int):
    def interrupt(arguments):
        raise error

    monkeypatch.setattr("perceptio.cli.main._dispatch", interrupt)
    assert main(["recipes"]) == code
    assert capsys.readouterr().err == "\ninterrupted\n"


def test_json_has_null_for_what_is_no_number(capsys: pytest.CaptureFixture[str]):
    print_json({"a": float("nan"), "b": [float("inf"), (1.5, -float("inf"))], "c": {"d": "NaN", "e": None, "f": 2}})
    assert json.loads(capsys.readouterr().out) == {
        "a": None, "b": [None, [1.5, None]], "c": {"d": "NaN", "e": None, "f": 2},
    }  # fmt: skip


def test_progress_goes_where_it_was_asked_to(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.stderr", io.StringIO())
    assert type(progress_screen(quiet=False)) is PlainScreen, "a pipe is no terminal"
    assert type(progress_screen(quiet=True)) is type(progress_screen(quiet=True, as_json=True)) is QuietScreen
    assert type(progress_screen(quiet=False, as_json=True)) is JsonScreen
    assert type(progress_screen(quiet=False, as_json=True, is_follower=True)) is NoScreen


def test_a_quiet_screen_shows_warnings_alone(capsys: pytest.CaptureFixture[str]):
    screen = progress_screen(quiet=True)
    screen.fact("Data", "three classes")
    screen.fact("Warning", "passed over a damaged checkpoint")
    screen.training(
        StepReport(
            step=1, num_steps=2, steps_per_epoch=2, loss=1.0, samples_per_second=9.0, seconds=1.0, seconds_left=1.0
        )
    )
    screen.training(TrainingWarning(step=1, text="training waits for data"))
    screen.close()
    assert capsys.readouterr().err == "Warning   passed over a damaged checkpoint\nwarning: training waits for data\n"
