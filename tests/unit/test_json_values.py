"""JSON that anybody may have written: sizes are counted before it is parsed, and what two readers see differently is
refused."""

import json
import math
from typing import Any

import pytest

from perceptio import json_values
from perceptio.json_values import MAX_JSON_DEPTH, MAX_JSON_DIGITS, finite, parse_json


def test_what_json_cannot_say_becomes_null_at_any_depth() -> None:
    value = {"a": math.nan, "b": [1, -math.inf, {"c": (0.5, math.inf)}], "d": "nan", "e": None, "f": True}
    assert finite(value) == {"a": None, "b": [1, None, {"c": [0.5, None]}], "d": "nan", "e": None, "f": True}


def refusal(content: bytes | str, **options: Any) -> str:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the caller reads its message)
        parse_json(content, **options)
    return str(caught.value)


@pytest.mark.parametrize("value", [{"a": [1, -2.5e-3, None, True, {"é": '\\"[{'}]}, [], "", 0, -0.0, 10**18 - 1])
def test_sound_documents_are_read(value: Any) -> None:
    assert parse_json(json.dumps(value)) == value
    assert parse_json(json.dumps(value, ensure_ascii=False).encode()) == value


def test_size(monkeypatch: pytest.MonkeyPatch) -> None:
    assert parse_json(b'"12345678"', max_bytes=10) == "12345678"
    monkeypatch.setattr("perceptio.json_values.json.loads", lambda *given, **options: pytest.fail("parsed"))
    assert refusal(b'"123456789"', max_bytes=10) == "11 bytes of JSON; the limit is 10"
    monkeypatch.setattr(json_values, "_check_depth", lambda data: pytest.fail("counted"))
    assert refusal(b"[" * (16 * 2**20 + 1)) == "16,777,217 bytes of JSON; the limit is 16,777,216"


@pytest.mark.parametrize("opening", ["[", '{"a":', '[{"a":'])
def test_depth(opening: str, monkeypatch: pytest.MonkeyPatch) -> None:
    closing = "".join({"[": "]", "{": "}"}[letter] for letter in reversed(opening) if letter in "[{")
    most = MAX_JSON_DEPTH // len(closing)
    parse_json(opening * most + "0" + closing * most)
    monkeypatch.setattr("perceptio.json_values.json.loads", lambda *given, **options: pytest.fail("parsed"))
    for content in (opening * (most + 1) + "0" + closing * (most + 1), opening * 10_000):
        assert refusal(content) == "more than 32 brackets inside each other"


@pytest.mark.parametrize("text", ["[" * 99, '\\"' + "[" * 99, "\\\\", '{"' * 99])
def test_brackets_in_texts_do_not_count(text: str) -> None:
    assert parse_json(json.dumps({text: [text]})) == {text: [text]}


@pytest.mark.parametrize("content", ['"' + "[" * 99, '"\\', '["a', "]" * 9 + "[" * 9, '"a"b"', "{]"])
def test_what_is_left_open_is_refused(content: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        parse_json(content)


def test_a_bracket_behind_others_that_close_too_much_counts() -> None:
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        parse_json("]" * 100_000 + "[" * 100_000)


def test_no_key_twice() -> None:
    assert refusal('{"a": 1, "b": {"c": 1, "d": 2, "c": 1}}') == "the key 'c' stands twice"
    key = "\\u001b" * 99
    assert refusal(f'{{"{key}": 1, "{key}": 2}}') == "the key '" + "\\x1b" * 40 + "' stands twice"
    assert parse_json('[{"a": 1}, {"a": 2}]') == [{"a": 1}, {"a": 2}]


def test_a_key_that_stands_twice_behind_many_is_found() -> None:
    """Counting each of the 300,000 keys among all of them would take longer than any test may."""
    keys = ",".join(f'"{number}":0' for number in range(300_000))
    assert refusal(f'{{{keys},"x":1,"x":2}}') == "the key 'x' stands twice"


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
def test_no_words_for_numbers(word: str) -> None:
    assert refusal(f'{{"a": {word}}}') == f"{word} is no JSON value"


@pytest.mark.parametrize("number", ["1e400", "-1e400", "1" * 50 + "e999"])
def test_no_number_that_becomes_infinite(number: str) -> None:
    assert refusal(f"[{number}]") == f"a number beyond any that is finite: {number[:40]}"
    assert parse_json("[1e308, 1e-400]") == [1e308, 0.0]


@pytest.mark.parametrize("sign", ["", "-"])
def test_whole_numbers_of_many_digits(sign: str) -> None:
    longest = sign + "9" * MAX_JSON_DIGITS
    assert parse_json(longest) == int(longest)
    assert refusal(f"{sign}{'9' * 19}") == "a whole number of 19 digits; the limit is 18"
    assert refusal(f"[{sign}{'9' * 1_000_000}]") == "a whole number of 1,000,000 digits; the limit is 18"


@pytest.mark.parametrize("content", [b'"\xff"', b'"\xc0\x80"', b'"\xed\xa0\x80"', b"\xff\xfe[\0]\0", "\ud800"])
def test_only_utf_8(content: bytes | str) -> None:
    assert refusal(content) == "not valid UTF-8"


def test_a_parser_that_runs_out_of_stack_is_a_depth_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def overflow(*given: Any, **options: Any) -> None:
        raise RecursionError

    monkeypatch.setattr("perceptio.json_values.json.loads", overflow)
    assert refusal("[]") == "more than 32 brackets inside each other"
