import io
import json
import os
import sys
import types
from dataclasses import replace

import pytest

from perceptio.data.records import Skipped
from perceptio.runs.lines import clock, evaluation_line, main_metric_of, warning_line
from perceptio.screens.choice import PlainScreen, screen
from perceptio.screens.console import ConsoleScreen, is_terminal
from perceptio.screens.json_lines import JsonScreen
from perceptio.screens.notebook import NotebookScreen
from perceptio.training.job import EvaluationReport, SaveFailure, StepReport, TrainingWarning, WorkerLoss
from perceptio.training.lost_files import FileLost

ROW = {
    "epoch": 2.0, "step": 6, "train_loss": 1.25, "validation_loss": 1.5, "validation_accuracy": 0.75, "seconds": 12.0,
    "num_lost": 0,
}  # fmt: skip


def evaluation(epoch: float = 2.0, seconds: float = 12.0, *, best: bool = True) -> EvaluationReport:
    row = {**ROW, "epoch": epoch, "seconds": seconds}
    return EvaluationReport(row=row, is_best=best, num_steps=30, steps_per_epoch=3, seconds_left=48.0)


def step(number: int = 7) -> StepReport:
    return StepReport(
        step=number, num_steps=30, steps_per_epoch=3, loss=1.0, samples_per_second=100.0, seconds=13.0,
        seconds_left=46.0,
    )  # fmt: skip


FAILURE = SaveFailure(what="checkpoint", step=6, reason="No space left on device: runs/a/checkpoints")


class Terminal(io.StringIO):
    """A terminal of an encoding, that keeps what is written to it."""

    def __init__(self, encoding: str = "utf-8") -> None:
        super().__init__()
        self.kept_encoding = encoding

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self.kept_encoding

    def isatty(self) -> bool:
        return True


def seen(terminal: Terminal) -> list[str]:
    """What stands on the terminal in the end, line by line."""
    lines = []
    for line in terminal.getvalue().split("\n"):
        lines.append(line.split("\r")[-1].removeprefix("\x1b[K").removesuffix("\x1b[K"))
    return lines


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")


def test_a_pipe_gets_whole_lines_without_escape_codes():
    text = io.StringIO()
    lines = PlainScreen(text)
    lines.fact("Data", "photos/: 3 classes [not markup]")
    lines.work("reading files", 1, 2)
    lines.training(step())
    lines.training(evaluation())
    lines.training(FAILURE)
    lines.close()
    assert text.getvalue().splitlines() == [
        "Data      photos/: 3 classes [not markup]",
        "epoch 2/10 train_loss 1.2500 validation_loss 1.5000 validation_accuracy 0.7500 elapsed 12 s left 48 s best",
        "warning: no checkpoint at step 6: No space left on device: runs/a/checkpoints",
    ]


def test_a_long_epoch_or_a_long_reading_shows_each_minute_that_it_lives():
    text = io.StringIO()
    lines = PlainScreen(text)
    for _ in range(2):
        lines.last -= 61
        lines.work("reading files", 1_000, 20_000)
        lines.work("reading files", 1_001, 20_000)
    lines.last -= 61
    lines.training(step())
    lines.training(step())
    assert text.getvalue().splitlines() == [
        "reading files: 1,000 of 20,000",
        "reading files: 1,000 of 20,000",
        "step 7/30 loss 1.000 100 samples/s left 46 s",
    ]


def test_a_terminal_gets_a_table_of_which_only_the_running_epoch_is_redrawn():
    terminal = Terminal()
    console = ConsoleScreen(terminal)
    console.work("reading files", 1, 2)
    console.work("reading files", 2, 2)
    console.training(step(1))
    console.training(evaluation(1, 27.0))
    console.training(evaluation(2, 53.0, best=False))
    console.training(step(8))
    assert seen(terminal) == [
        "",
        "epoch  train loss  val loss  val accuracy     time     left",
        "    1       1.250     1.500        75.0 %     0:27     0:48  best",
        "    2       1.250     1.500        75.0 %     0:26     0:48",
        "    3       1.000  ━━━━━━━━━─────  2/3 batches, 100 samples/s  left 0:46",
    ]
    console.close()
    assert seen(terminal)[-1] == ""
    assert max(map(len, seen(terminal))) < 80


def test_a_terminal_that_cannot_show_the_bar_gets_an_ascii_one():
    terminal = Terminal("ascii")
    ConsoleScreen(terminal).training(step(8))
    assert "#########....." in terminal.getvalue()
    terminal.getvalue().encode("ascii")


def test_a_run_that_goes_on_times_its_own_epochs():
    terminal = Terminal()
    console = ConsoleScreen(terminal)
    console.training(step(7))  # after 13 seconds in all
    console.training(evaluation(3, 20.0))
    assert "     0:07     0:48  best" in terminal.getvalue()


def test_redrawing_is_no_flood():
    terminal = Terminal()
    console = ConsoleScreen(terminal)
    for number in range(1, 1_000):
        console.training(step(number))
    assert terminal.getvalue().count("\r") < 50


def test_facts_wrap_at_the_terminals_width_and_paths_stay_whole(monkeypatch: pytest.MonkeyPatch):
    terminal, path = Terminal(), "/a/" + "very-long-name/" * 6 + "train_samples.png"
    ConsoleScreen(terminal).fact("Check", f"one batch forward and backward: fine; what the model sees is in {path}")
    lines = seen(terminal)
    assert lines[0] == "Check     one batch forward and backward: fine; what the model sees is in"
    assert lines[1] == f"          {path}"


def test_no_color_switches_it_off(monkeypatch: pytest.MonkeyPatch):
    assert "\x1b[1m" not in _fact()
    monkeypatch.delenv("NO_COLOR")
    assert "\x1b[1mData" in _fact()


def _fact() -> str:
    terminal = Terminal()
    ConsoleScreen(terminal).fact("Data", "photos/")
    return terminal.getvalue()


def test_a_dumb_terminal_and_a_pipe_get_plain_lines(monkeypatch: pytest.MonkeyPatch):
    terminal = Terminal()
    assert is_terminal(terminal)
    monkeypatch.setattr("sys.stderr", terminal)
    assert type(screen()) is ConsoleScreen
    monkeypatch.setenv("TERM", "dumb")
    assert type(screen()) is PlainScreen
    assert not is_terminal(io.StringIO())


def test_json_lines_tell_each_event(capsys: pytest.CaptureFixture[str]):
    lines = JsonScreen()
    lines.fact("Data", "photos/")
    lines.work("reading files", 1, 2)
    lines.training(step(1))
    lines.training(step(2))  # within the same second
    lines.training(evaluation())
    lines.training(FAILURE)
    lines.training(WorkerLoss(reason="it hung", quarantined=(Skipped("a.png", "takes too long"),)))
    lines.close()
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["event"] for line in told] == ["fact", "step", "epoch", "warning", "warning"]
    assert (told[1]["loss"], told[1]["seconds_left"]) == (1.0, 46.0)
    assert (told[2]["validation_accuracy"], told[2]["best"], told[2]["seconds_left"]) == (0.75, True, 48.0)
    assert told[3]["reason"].startswith("No space left")
    assert told[4]["quarantined"] == [{"name": "a.png", "reason": "takes too long", "num_samples": 1}]


def test_warnings_say_what_was_lost_and_what_goes_on():
    loss = WorkerLoss(reason="one of them was killed", quarantined=())
    start = "warning: the processes that read files were started again, since one of them was killed. "
    assert warning_line(loss) == f"{start}No file is to blame"
    blamed = (Skipped("a.png", "takes too long"), Skipped("b.png", "too much memory"))
    assert warning_line(WorkerLoss(reason="one of them was killed", quarantined=blamed)) == (
        f"{start}Left out from here on: a.png: takes too long; b.png: too much memory"
    )
    lost = FileLost(name="a.png", reason="no such file", listed_in="run/skipped.csv")
    assert warning_line(lost) == (
        "warning: a.png went bad in mid-run: no such file. In training another sample takes its place, validation and "
        "test leave it out. The line of each evaluation has the number of such files, and run/skipped.csv lists them"
    )
    text = "a third of the time goes into [reading] files"
    assert warning_line(TrainingWarning(step=3, text=text)) == f"warning: {text}"


def test_each_evaluation_says_how_many_files_were_lost_so_far(capsys: pytest.CaptureFixture[str]):
    found = evaluation()
    found = replace(found, row={**found.row, "num_lost": 7})
    terminal = Terminal()
    ConsoleScreen(terminal).training(found)
    assert seen(terminal)[-2].endswith("0:48  best  7 lost")
    assert evaluation_line(found).endswith("left 48 s lost 7 best")
    JsonScreen().training(found)
    assert json.loads(capsys.readouterr().out)["num_lost"] == 7


def test_a_notebook_redraws_one_output_and_reads_well_as_text(monkeypatch: pytest.MonkeyPatch):
    shown: list[dict[str, str]] = []
    handle = types.SimpleNamespace(update=lambda data, raw: shown.append(data))

    def display(data: dict[str, str], *, raw: bool, display_id: bool) -> object:
        shown.append(data)
        return handle

    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(display=None))
    monkeypatch.setitem(sys.modules, "IPython.display", types.SimpleNamespace(display=display))
    cell = NotebookScreen()
    cell.fact("Data", "<photos>")
    cell.training(step(1))
    cell.training(evaluation())
    cell.training(FAILURE)
    cell.close()
    assert shown[-1]["text/plain"].splitlines() == [
        "Data      <photos>",
        "",
        "epoch  train loss  val loss  val accuracy     time     left",
        "    2       1.250     1.500        75.0 %     0:12     0:48  best",
        "warning: no checkpoint at step 6: No space left on device: runs/a/checkpoints",
    ]
    assert "&lt;photos&gt;" in shown[-1]["text/html"]


def test_a_notebook_is_told_by_its_kernel(monkeypatch: pytest.MonkeyPatch):
    shell = types.SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    assert type(screen()) is NotebookScreen
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: None))
    assert type(screen()) is not NotebookScreen


@pytest.mark.parametrize(("seconds", "expected"), [(0, "0:00"), (59.6, "1:00"), (61, "1:01"), (3_661, "1:01:01")])
def test_clock(seconds: float, expected: str):
    assert clock(seconds) == expected


def test_the_main_metric_is_accuracy_or_map():
    assert main_metric_of(ROW) == "validation_accuracy"
    assert main_metric_of({"validation_map": 0.5, "validation_loss": 1.0}) == "validation_map"


@pytest.mark.parametrize(("columns", "expected"), [(50, 50), (0, 80)])
def test_the_live_line_fits_the_terminal_that_it_is_drawn_on(columns: int, expected: int):
    """Whatever standard output is: where the terminal does not know its width, the environment says it."""
    pty, termios = pytest.importorskip("pty"), pytest.importorskip("termios")
    theirs, ours = pty.openpty()
    try:
        termios.tcsetwinsize(ours, (24, columns))
        with os.fdopen(ours, "w", encoding="utf-8") as stream:
            console = ConsoleScreen(stream)
            console.fact("Data", "word " * 40)
            console.work("looking for what there is in a great many files " * 3, 1, 2)
            shown = ""
            while not shown.endswith("\x1b[K"):  # a terminal may hand on what it is given in parts
                shown += os.read(theirs, 2**16).decode()
    finally:
        os.close(theirs)
    *facts, live = shown.replace("\r\n", "\n").split("\n")
    assert len(live.removeprefix("\r").removesuffix("\x1b[K")) == expected - 1
    assert expected - 7 < max(map(len, facts)) < expected
