import math

from perceptio.json_values import finite


def test_what_json_cannot_say_becomes_null_at_any_depth() -> None:
    value = {"a": math.nan, "b": [1, -math.inf, {"c": (0.5, math.inf)}], "d": "nan", "e": None, "f": True}
    assert finite(value) == {"a": None, "b": [1, None, {"c": [0.5, None]}], "d": "nan", "e": None, "f": True}
