import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

from perceptio.cli.arguments import full_help, parse
from perceptio.cli.options import Positional, changed, options_of, read_arguments, read_known
from perceptio.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Schedule:
    kind: Literal["cosine", "constant"] = "cosine"
    """How the rate moves."""
    warmup_epochs: float = 0.0
    """Linear rise from 0 at the start. It helps LAMB."""

    def __post_init__(self) -> None:
        if self.kind == "constant" and self.warmup_epochs > 1:
            raise ValueError(f"warmup_epochs has no effect with constant: got {self.warmup_epochs}")


@dataclass(frozen=True, kw_only=True)
class Picture:
    size: tuple[int, int] = (32, 32)
    """Height and width, in pixels."""


@dataclass(frozen=True, kw_only=True)
class Sound:
    rate: int = 8
    """Samples a second."""
    clip: int = 16
    """Samples of a clip."""

    def adapted(self, changes: Mapping[str, Any]) -> "Sound":
        return dataclasses.replace(self, **{"clip": 2 * changes.get("rate", self.rate), **changes})


@dataclass(frozen=True, kw_only=True)
class Config:
    epochs: float = 30
    """Passes over the training files."""
    schedule: Schedule = field(default_factory=Schedule)
    by_name: Mapping[str, Any] = field(default_factory=lambda: {"image": Picture()})


@dataclass(frozen=True, kw_only=True)
class Arguments:
    run: Annotated[Path, Positional("RUN")]
    files: Annotated[tuple[Path, ...], Positional("FILE ..")] = ()
    top: int = 3
    """How many classes a line shows."""
    latents: tuple[int, ...] = ()
    json: bool = False
    """One JSON object a line."""


OPTIONS = options_of(Config, Config())


def error_of(words: str) -> str:
    with pytest.raises(UsageError) as error:
        read_arguments(OPTIONS, words.split(), "train")
    return str(error.value)


def test_nested_fields_are_dotted_and_streams_stand_at_the_root():
    assert [option.name for option in OPTIONS] == [
        "--epochs", "--schedule.kind", "--schedule.warmup-epochs", "--image.size"
    ]  # fmt: skip
    assert [option.meaning for option in OPTIONS][:2] == ["Passes over the training files.", "How the rate moves."]


def test_options_change_the_config_in_any_order():
    found = read_arguments(
        OPTIONS, ["--image.size", "17", "13", "--schedule.kind=constant", "--schedule.warmup_epochs", "1"], "train"
    )
    config = changed(Config(), found)
    assert config == Config(
        schedule=Schedule(kind="constant", warmup_epochs=1), by_name={"image": Picture(size=(17, 13))}
    )
    assert changed(Config(), {}) == Config()


def test_values_that_do_not_fit_together_are_an_error_only_as_a_whole():
    """constant with warm-up is refused; typing both so that they fit is not, in either order."""
    with pytest.raises(UsageError, match="warmup_epochs has no effect with constant: got 2"):
        changed(
            Config(), read_arguments(OPTIONS, ["--schedule.warmup-epochs", "2", "--schedule.kind", "constant"], "x")
        )
    start = Config(schedule=Schedule(warmup_epochs=2))
    found = read_arguments(OPTIONS, ["--schedule.kind", "constant", "--schedule.warmup-epochs", "0"], "x")
    assert changed(start, found).schedule == Schedule(kind="constant")


def test_a_part_that_adapts_changes_what_depends_on_an_option():
    start = Config(by_name={"audio": Sound()})
    assert changed(start, {("by_name", "audio", "rate"): 10}).by_name == {"audio": Sound(rate=10, clip=20)}
    found = {("by_name", "audio", "rate"): 10, ("by_name", "audio", "clip"): 7}
    assert changed(start, found).by_name == {"audio": Sound(rate=10, clip=7)}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--epoch 3", "unknown option --epoch; did you mean --epochs (passes over the training files, 30)?"),
        ("--kind constant", "unknown option --kind; did you mean --schedule.kind (how the rate moves, cosine)?"),
        ("--warmup-epoch 3", "did you mean --schedule.warmup-epochs (linear rise from 0 at the start, 0) or --epochs?"),
        ("--zzz 3", "unknown option --zzz; perceptio train -H shows all"),
        ("--epochs", "--epochs needs a value, NUMBER: passes over the training files, 30"),
        ("--epochs --image.size 3 3", "--epochs needs a value, NUMBER"),
        ("--image.size 3", "--image.size needs 2 values, INT INT: height and width, in pixels, 32 32"),
        ("--epochs 3 --epochs 4", "--epochs is given twice; keep one"),
        ("--epochs three", "--epochs must be a number: got 'three'"),
        ("--epochs 3 more", "unexpected word 'more' for perceptio train: it takes options alone; --help says more"),
    ],
)
def test_each_mistake_is_told_with_the_way_out(words: str, message: str):
    assert message in error_of(words)


@pytest.mark.parametrize(
    "words",
    ["--top 1 r a b --json", "r --json a --top 1 b", "r a b --json --top=1", "--latents 0 -1 --json r a b --top 1"],
)
def test_words_and_options_mix(words: str):
    chosen = parse(Arguments, words.split(), command="predict")
    assert (chosen.run, chosen.top, chosen.json) == (Path("r"), 1, True)
    assert chosen.files == (Path("a"), Path("b"))


def test_a_list_takes_numbers_as_long_as_there_are_any():
    assert parse(Arguments, ["--latents", "0", "-1", "7", "r"], command="attend").latents == (0, -1, 7)
    assert parse(Arguments, ["r", "--no-json"], command="predict").json is False


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "RUN is missing: perceptio predict RUN FILE ..; --help says more"),
        (["r", "--latents"], "--latents needs a value, INT ..: got none"),
        (["r", "--json=yes"], "--json takes no value: got 'yes'; --no-json switches it off"),
        (["r", "--json", "False"], "--json takes no value: got 'False'; --no-json switches it off"),
        (["r", "--no-json", "on"], "--no-json takes no value: got 'on'; --no-json switches it off"),
        (["r", "--jsn"], "unknown option --jsn; did you mean --json (one JSON object a line, off)?"),
    ],
)
def test_a_command_names_what_it_takes(words: list[str], message: str):
    with pytest.raises(UsageError) as error:
        parse(Arguments, words, command="predict")
    assert str(error.value) == message


def test_what_is_unknown_is_left_in_order():
    assert read_known(OPTIONS, ["imagenet", "--epochs", "3", "--new", "5", "x"]) == (
        {("epochs",): 3.0}, ["imagenet", "--new", "5", "x"],
    )  # fmt: skip


def test_full_help_fits_80_columns_and_shows_defaults():
    text = full_help(options_of(Arguments))
    assert "  --top INT\n      How many classes a line shows. (3)\n" in text
    assert max(map(len, text.splitlines())) <= 80
