"""What children send: it comes back as it was, and whatever else arrives is a ValueError and nothing worse."""

import json
from typing import Any

import numpy as np
import pytest

from perceptio.data.answers import pack, unpack


def message(value: Any, behind: bytes = b"") -> bytes:
    text = json.dumps(value).encode()
    return len(text).to_bytes(8, "little") + text + behind


@pytest.mark.parametrize("dtype", ["?", "u1", "<i8", ">i2", "<f2", "<f4", ">f8"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 0, 5), (2, 3, 1)])
def test_arrays_of_every_kind_come_back(dtype: str, shape: tuple[int, ...]) -> None:
    values = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    (found,) = unpack(pack([values]))
    assert (found.dtype, found.shape) == (values.dtype, shape)
    np.testing.assert_array_equal(found, values)
    assert not found.flags.writeable


def test_several_arrays_are_told_apart() -> None:
    found = unpack(pack({"b": [np.arange(3), {"c": np.ones((2, 2))}], "a": np.array(7, np.uint8), "text": "é\ud800"}))
    assert found["b"][0].tolist() == [0, 1, 2]
    assert found["b"][1]["c"].tolist() == [[1, 1], [1, 1]]
    assert (int(found["a"]), found["text"]) == (7, "é\ud800")


@pytest.mark.parametrize("given", [["|u1", [3]], ["<f8", [1]], ["|u1", [2, 2]], ["|u1", [2**40, 2**40]]])
def test_an_array_must_fit(given: list[Any]) -> None:
    with pytest.raises(
        ValueError, match=r"^not an answer of a child process: an array that does not fit into its answer$"
    ):
        unpack(message({"\0array": given}, b"12"))


@pytest.mark.parametrize(
    "given",
    [
        ["|O", [1]],
        ["|V1", [1]],
        ["<M8[ns]", [0]],
        ["i4,(", [0]],  # NumPy evaluates what looks like a list of fields
        ["(2,)u1", [1]],
        ["|S1", [1]],
        ["|u1", [-1, -2]],
        ["|u1", [1.0]],
        ["|u1", [True]],
        ["|u1", [1e999]],
        ["|u1", [1] * 33],
        ["|u1", ["1"]],
    ],
)
def test_only_plain_numbers_are_made_arrays(given: list[Any]) -> None:
    with pytest.raises(ValueError, match=r"^not an answer of a child process: an array of no kind that is sent$"):
        unpack(message({"\0array": given}, b"12"))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 8,
        message(0)[:-1],
        message(0)[:8] + b"\xff",
        message({"\0array": 7}),
        message({"\0array": [1, 2]}),
        message({"\0array": ["|u1"]}),
        message({"\0array": ["|u1", 2]}),
        message({"\0array": ["|u3", [1]]}, b"123"),
        (200_000).to_bytes(8, "little") + b"[" * 200_000,
    ],
)
def test_nonsense_is_a_value_error(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"^not an answer of a child process: "):
        unpack(content)


def test_no_mutant_of_an_answer_does_more_than_be_refused() -> None:
    whole = pack({"result": [{"image": np.arange(24, dtype=np.float32).reshape(2, 4, 3)}, {"a": [1, None, "x"]}]})
    random = np.random.default_rng(5)
    num_refused = 0
    for _ in range(500):
        content = bytearray(whole)
        for _ in range(int(random.integers(1, 4))):
            content[int(random.integers(8 + len(whole) // 2))] = int(random.integers(256))
        try:
            unpack(bytes(content))
        except ValueError:
            num_refused += 1
    assert 150 < num_refused < 500
