import io
import json

import pytest

from perceptio.cli.main import main
from perceptio.cli.screen import print_json, progress_screen
from perceptio.screens.choice import PlainScreen, QuietScreen
from perceptio.screens.json_lines import JsonScreen


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
