import csv
from pathlib import Path

from perceptio.cli.predict import _Lines, _Table
from perceptio.runs.predict import Prediction

WITHOUT_SOUND = Prediction(
    file="a.mp4", label="jump", probabilities={"jump": 0.75, "fall": 0.25}, error=None, unsure=True, missing=("audio",)
)


def test_a_line_says_what_the_file_lacks():
    assert _Lines(1, ["a.mp4"]).line(WITHOUT_SOUND) == "a.mp4  jump  75.0 %   unsure   no audio"


def test_the_table_says_what_the_file_lacks(tmp_path: Path):
    with _Table(tmp_path / "answers.csv") as table:
        table.add(WITHOUT_SOUND)
    with (tmp_path / "answers.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["unsure"], row["missing"], row["error"]) == ("yes", "audio", "")
