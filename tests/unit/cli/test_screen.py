import io
import json

import pytest
from rich.console import Console

from perceptio.cli.main import main
from perceptio.cli.screen import ConsoleScreen, clock, main_metric_of, print_json
from perceptio.training.job import EvaluationReport, SaveFailure, StepReport, TrainingWarning

ROW = {
    "epoch": 2.0, "step": 6, "train_loss": 1.25, "validation_loss": 1.5, "validation_accuracy": 0.75, "seconds": 12.0,
}  # fmt: skip
EVALUATION = EvaluationReport(row=ROW, is_best=True, num_steps=30, steps_per_epoch=3, seconds_left=48.0)
STEP = StepReport(
    step=7, num_steps=30, steps_per_epoch=3, loss=1.0, samples_per_second=100.0, seconds=13.0, seconds_left=46.0
)


def screen_of(*, terminal: bool, quiet: bool = False) -> tuple[ConsoleScreen, io.StringIO]:
    screen, text = ConsoleScreen(quiet=quiet), io.StringIO()
    screen.console = Console(
        file=text, force_terminal=terminal, width=100, soft_wrap=True, quiet=quiet, color_system=None
    )
    return screen, text


def test_a_pipe_gets_one_plain_line_an_evaluation():
    screen, text = screen_of(terminal=False)
    screen.fact("Data", "photos/: 3 classes [not markup]")
    screen.work("reading files", 1, 2)
    screen.training(STEP)
    screen.training(EVALUATION)
    screen.close()
    assert text.getvalue().splitlines() == [
        "Data      photos/: 3 classes [not markup]",
        "epoch 2/10 train_loss 1.2500 validation_loss 1.5000 validation_accuracy 0.7500 elapsed 12 s left 48 s best",
    ]


def test_a_checkpoint_that_cannot_be_written_is_a_warning():
    screen, text = screen_of(terminal=False)
    screen.training(SaveFailure(step=9, reason="No space left on device: /runs/a/checkpoints"))
    assert text.getvalue() == "warning: no checkpoint at step 9: No space left on device: /runs/a/checkpoints\n"


def test_what_training_warns_of_stands_on_its_own_line():
    screen, text = screen_of(terminal=False)
    screen.training(TrainingWarning(step=3, text="a third of the time goes into [reading] files"))
    assert text.getvalue() == "warning: a third of the time goes into [reading] files\n"


def test_a_long_epoch_shows_that_it_lives():
    screen, text = screen_of(terminal=False)
    screen.last_plain -= 61
    screen.training(STEP)
    screen.training(STEP)
    assert text.getvalue() == "step 7/30 loss 1.000 100 samples/s left 46 s\n"


def test_a_terminal_gets_a_table_with_one_header_and_a_live_line():
    screen, text = screen_of(terminal=True)
    screen.work("reading files", 1, 2)
    screen.work("reading files", 2, 2)
    screen.training(STEP)
    screen.training(EVALUATION)
    screen.training(EVALUATION)
    screen.close()
    shown = text.getvalue()
    assert shown.count("train loss") == 1
    assert shown.count("75.0%") == 2
    assert "epoch 2.3  loss 1.000" in shown
    assert screen.live is None


def test_quiet_shows_nothing():
    screen, text = screen_of(terminal=True, quiet=True)
    screen.fact("Data", "x")
    screen.training(STEP)
    screen.training(EVALUATION)
    screen.close()
    assert text.getvalue() == ""


@pytest.mark.parametrize(("seconds", "expected"), [(0, "0:00"), (59.6, "1:00"), (61, "1:01"), (3_661, "1:01:01")])
def test_clock(seconds: float, expected: str):
    assert clock(seconds) == expected


def test_the_main_metric_is_accuracy_or_map():
    assert main_metric_of(ROW) == "validation_accuracy"
    assert main_metric_of({"validation_map": 0.5, "validation_loss": 1.0}) == "validation_map"


def test_ctrl_c_outside_of_training_is_said_and_has_its_code(monkeypatch, capsys):
    def interrupt(arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("perceptio.cli.main._dispatch", interrupt)
    assert main(["recipes"]) == 130
    assert capsys.readouterr().err == "\ninterrupted\n"


def test_json_has_null_for_what_is_no_number(capsys: pytest.CaptureFixture[str]):
    print_json({"a": float("nan"), "b": [float("inf"), (1.5, -float("inf"))], "c": {"d": "NaN", "e": None, "f": 2}})
    assert json.loads(capsys.readouterr().out) == {
        "a": None, "b": [None, [1.5, None]], "c": {"d": "NaN", "e": None, "f": 2},
    }  # fmt: skip
