import json
from dataclasses import dataclass, field, replace
from typing import Literal

import pytest

from perceptio.errors import UsageError
from perceptio.modalities.array import ArrayModality
from perceptio.modalities.image import ImageModality
from perceptio.modalities.streams import Streams
from perceptio.runs.config import RunConfig
from perceptio.runs.serialisation import dump, from_json, to_json
from support.configs import everything_random, tiny_config


@dataclass(frozen=True, kw_only=True)
class Inner:
    size: tuple[int, int] = (2, 3)
    rates: tuple[float, ...] = ()
    kind: Literal["a", "b"] = "a"


@dataclass(frozen=True, kw_only=True)
class Outer:
    name: str
    count: int = 1
    rate: float | None = None
    on: bool = False
    inner: Inner = field(default_factory=Inner)

    def __post_init__(self) -> None:
        if self.count < 0:
            raise ValueError(f"count must be at least 0, got {self.count}")


def test_a_config_comes_back_equal():
    config = everything_random(tiny_config())
    assert from_json(RunConfig, json.loads(dump(to_json(config)))) == config


def test_floats_come_back_to_the_last_bit():
    config = replace(tiny_config(), learning_rate=0.1 + 0.2, epochs=1 / 3)
    assert from_json(RunConfig, json.loads(dump(to_json(config)))) == config


def test_whole_numbers_may_stand_for_floats_and_lists_for_tuples():
    found = from_json(Outer, {"name": "x", "rate": 2, "inner": {"size": [5, 7], "rates": [1, 0.5]}})
    assert found == Outer(name="x", rate=2.0, inner=Inner(size=(5, 7), rates=(1.0, 0.5)))
    assert isinstance(found.rate, float)
    assert isinstance(found.inner.rates[0], float)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], r"a config must be an object with fields, got \[\]"),
        ({"name": "x", "inner": 3}, r"inner must be an object with fields, got 3"),
        ({"name": "x", "conut": 2}, r"unknown field conut. Nearest: count"),
        ({"name": "x", "inner": {"sise": 2}}, r"unknown field inner.sise. Nearest: size"),
        ({}, r"the field name is missing"),
        ({"name": 3}, r"name must be of type str, got 3"),
        ({"name": "x", "count": True}, r"count must be of type int, got True"),
        ({"name": "x", "count": 1.5}, r"count must be of type int, got 1.5"),
        ({"name": "x", "on": 1}, r"on must be of type bool, got 1"),
        ({"name": "x", "rate": "fast"}, r"rate must be of type float, got 'fast'"),
        ({"name": "x", "inner": {"kind": "c"}}, r"inner.kind must be one of a, b, got 'c'"),
        ({"name": "x", "inner": {"size": 3}}, r"inner.size must be a list, got 3"),
        ({"name": "x", "inner": {"size": [3]}}, r"inner.size must have 2 entries, got 1"),
        ({"name": "x", "inner": {"size": [3, "y"]}}, r"inner.size\[1\] must be of type int, got 'y'"),
        ({"name": "x", "count": -1}, r"config: count must be at least 0, got -1"),
    ],
)
def test_what_does_not_fit_is_named(value, message: str):
    with pytest.raises(UsageError, match=message):
        from_json(Outer, value)


def test_streams_come_back_by_name_with_their_kinds():
    streams = Streams(
        by_name={"sound": ArrayModality(axes=(11,), drop_probability=0.2), "picture": ImageModality(column="p")},
        modality_channels=7,
        absent="zeros",
        evaluation_clips=3,
    )
    config = replace(tiny_config(), streams=streams)
    document = to_json(config)["streams"]
    assert [(name, modality["kind"]) for name, modality in document["by_name"].items()] == [
        ("sound", "array"), ("picture", "image")
    ]  # fmt: skip
    assert (document["modality_channels"], document["absent"], document["evaluation_clips"]) == (7, "zeros", 3)
    again = from_json(RunConfig, json.loads(dump(to_json(config))))
    assert again == config
    assert list(again.streams.by_name) == ["sound", "picture"], "tokens stand in this order"


@pytest.mark.parametrize(
    ("modality", "message"),
    [
        ({"size": [3, 3]}, r"^the field streams\.by_name\.a\.kind is missing: the kind of files, such as image$"),
        ({"kind": "imgae"}, r"^unknown kind 'imgae'\. Nearest: image\.$"),
        ({"kind": ["image"]}, r"^streams\.by_name\.a\.kind must be of type str, got \['image'\]$"),
        ({"kind": "image", "sise": [3, 3]}, r"^unknown field streams\.by_name\.a\.sise\. Nearest: size\.$"),
        (
            {"kind": "image", "flip_probability": 2},
            r"^streams\.by_name\.a: flip_probability must lie in 0 to 1: got 2\.0$",
        ),
        ("image", r"^streams\.by_name\.a must be an object with fields, got 'image'$"),
    ],
)
def test_a_stream_that_does_not_fit_is_named(modality, message: str):
    document = to_json(tiny_config())
    document["streams"]["by_name"] = {"a": modality}
    with pytest.raises(UsageError, match=message):
        from_json(RunConfig, document)
