from pathlib import Path
from typing import Any, Literal

import pytest

from perceptio.cli.values import metavar, num_words, read_words, shown
from perceptio.errors import UsageError


@pytest.mark.parametrize(
    ("hint", "words", "name", "value"),
    [
        (int, "7", "--n", 7),
        (int, "1e3", "--n", 1000),
        (int, "-9007199254740993", "--seed", -9_007_199_254_740_993),
        (float, "1e-3", "--learning-rate", 0.001),
        (float, "10%", "--source.max-skipped", 0.1),
        (float, "90", "--time", 90.0),
        (float | None, "90s", "--time", 90.0),
        (float | None, "30m", "--time", 1800.0),
        (float | None, "2h", "--time", 7200.0),
        (float | None, "none", "--training.patience-epochs", None),
        (int, "16kHz", "--audio.sample-rate-hz", 16_000),
        (int, "44.1kHz", "--audio.sample-rate-hz", 44_100),
        (int, "256MB", "--shard-bytes", 256_000_000),
        (int, "1GiB", "--shard-bytes", 2**30),
        (Literal["auto", "cpu"], "cpu", "--device", "cpu"),
        (Literal[1, 3], "3", "--image.channels", 3),
        (Path | None, "a/b", "--out", Path("a/b")),
        (str, "none", "--data", "none"),
        (tuple[int, int], "17 13", "--image.size", (17, 13)),
        (tuple[float, ...], "1 2.5", "--x", (1.0, 2.5)),
        (tuple[str, ...], "none", "--source.kinds", ()),
        (tuple[int, ...] | None, "2 2", "--patch", (2, 2)),
    ],
)
def test_words_become_values_with_their_units(hint: Any, words: str, name: str, value: Any):
    read = read_words(hint, words.split(), name)
    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize(
    ("hint", "word", "name", "message"),
    [
        (int, "3.5", "--epochs", "--epochs must be a whole number: got '3.5'"),
        (int, "many", "--epochs", "--epochs must be a number: got 'many'"),
        (int, "1e400", "--seed", "--seed must be a finite number: got '1e400'"),
        (float, "1e999", "--x", "--x must be a finite number: got '1e999'"),
        (float, "1x2", "--x", "--x must be a number: got '1x2'"),
        (float, "3kHz", "--x", "--x must be a number: got '3kHz'"),
        (float, "3d", "--time", "--time must be a number of seconds, or a time such as 90s, 30m or 2h: got '3d'"),
        (int, "3s", "--audio.sample-rate-hz", "must be a number of hertz, or one such as 16kHz: got '3s'"),
        (int, "3s", "--shard-bytes", "--shard-bytes must be a number of bytes, or one such as 256MB: got '3s'"),
        (Literal["auto", "cpu"], "tpu", "--device", "--device must be one of auto, cpu: got 'tpu'"),
    ],
)
def test_a_wrong_value_names_the_rule_and_itself(hint: Any, word: str, name: str, message: str):
    with pytest.raises(UsageError) as error:
        read_words(hint, [word], name)
    assert message in str(error.value)


def test_help_names_what_a_value_looks_like():
    assert metavar(Literal["auto", "cpu"]) == "auto|cpu"
    assert (metavar(tuple[int, int]), metavar(tuple[str, ...]), metavar(bool)) == ("INT INT", "TEXT ..", "")
    assert (metavar(float | None), metavar(Path | None)) == ("NUMBER", "PATH")
    assert [num_words(hint) for hint in (bool, int, tuple[int, int], tuple[int, ...], tuple[int, ...] | None)] == [
        0, 1, 2, None, None
    ]  # fmt: skip
    assert [shown(value) for value in (None, (), (224, 224), True, 0.001)] == ["none", "none", "224 224", "on", "0.001"]
