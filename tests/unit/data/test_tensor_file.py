"""Headers of safetensors files as an attacker writes them: each is refused before memory is taken for a tensor."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from perceptio.data import tensor_file
from perceptio.data.tensor_file import MAX_HEADER_BYTES, read_tensor_header


def tensor(begin: int, end: int, *, kind: Any = "U8", shape: Any = None) -> dict[str, Any]:
    return {"dtype": kind, "shape": [end - begin] if shape is None else shape, "data_offsets": [begin, end]}


def write(folder: Path, header: Any, num_bytes: int = 0) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path = folder / "a.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(num_bytes))
    return path


def refusal(path: Path) -> str:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the caller reads its message)
        read_tensor_header(path)
    return str(caught.value)


def test_what_the_library_writes_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    tensors = {"b": torch.zeros(2, 3), "a": torch.zeros((), dtype=torch.int64), "none": torch.zeros(0, 7)}
    save_file(tensors, path, metadata={"said": "besides"})
    found = read_tensor_header(path)
    assert found.tensors == {"b": ("F32", (2, 3)), "a": ("I64", ()), "none": ("F32", (0, 7))}
    assert found.entries == {"said": "besides"}


@pytest.mark.parametrize("size", [0, 7])
def test_a_file_too_short_for_its_length(tmp_path: Path, size: int) -> None:
    (tmp_path / "a").write_bytes(bytes(size))
    assert (
        refusal(tmp_path / "a")
        == f"no safetensors file, or one that is cut off: {size} bytes, its header alone needs 0"
    )


def test_a_header_that_declares_more_than_the_file_holds(tmp_path: Path) -> None:
    path = write(tmp_path, {})
    path.write_bytes((2**64 - 1).to_bytes(8, "little") + b"{}")
    reason = "no safetensors file, or one that is cut off: 10 bytes, its header alone needs 18,446,744,073,709,551,615"
    assert refusal(path) == reason


def test_a_huge_header_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, b"")
    monkeypatch.setattr(tensor_file, "parse_json", lambda content: pytest.fail("parsed"))
    with path.open("wb") as file:
        file.write((MAX_HEADER_BYTES + 1).to_bytes(8, "little"))
        file.truncate(MAX_HEADER_BYTES + 1_000)  # a hole: nothing is written
    assert refusal(path) == "its header declares 8,388,609 bytes; the limit is 8,388,608"


@pytest.mark.parametrize("header", [b"[]", b"7", b'"text"'])
def test_a_header_of_another_kind(tmp_path: Path, header: bytes) -> None:
    assert refusal(write(tmp_path, header)) == "its header is no JSON object"


@pytest.mark.parametrize("header", [b"", b"{", b'{"a": NaN}', b"\xff" * 9, b'{"a":1,"a":2}', b"[" * 99])
def test_a_header_that_is_no_sound_json(tmp_path: Path, header: bytes) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        read_tensor_header(write(tmp_path, header))


@pytest.mark.parametrize("entries", [[], {"a": 1}, {"a": {"b": "c"}}, "text"])
def test_entries_that_are_no_texts(tmp_path: Path, entries: Any) -> None:
    assert refusal(write(tmp_path, {"__metadata__": entries})) == "its header's entries are no texts"


def test_too_many_tensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensor_file, "MAX_TENSORS", 2)
    names = {name: tensor(0, 0) for name in "abc"}
    assert refusal(write(tmp_path, names)) == "it holds 3 tensors; the limit is 2"
    del names["c"]
    assert len(read_tensor_header(write(tmp_path, names)).tensors) == 2


@pytest.mark.parametrize(
    ("second", "size"),
    [((3, 8), 8), ((0, 4), 4), ((5, 8), 8), ((2, 3), 4)],
    ids=["overlap", "the same bytes", "gap", "inside the other"],
)
def test_tensors_must_lie_one_behind_the_other(tmp_path: Path, second: tuple[int, int], size: int) -> None:
    path = write(tmp_path, {"first": tensor(0, 4), "second": tensor(*second)}, size)
    assert refusal(path) == "the bytes of the tensor 'second' overlap with others or leave a gap"


def test_bytes_before_the_first_tensor(tmp_path: Path) -> None:
    path = write(tmp_path, {"late\n\x1b[31m": tensor(1, 4)}, 4)
    assert refusal(path) == r"the bytes of the tensor 'late\n\x1b[31m' overlap with others or leave a gap"


@pytest.mark.parametrize("size", [3, 5])
def test_tensors_must_fill_the_file(tmp_path: Path, size: int) -> None:
    assert (
        refusal(write(tmp_path, {"a": tensor(0, 4)}, size))
        == f"it holds {size} bytes of tensors; its header declares 4"
    )


@pytest.mark.parametrize(
    "entry",
    [
        tensor(0, 4, kind="F32", shape=[2]),
        tensor(0, 4, kind="F32", shape=[1.0]),
        tensor(0, 4, kind="O"),
        tensor(0, 4, kind=["U8"]),
        tensor(0, 4, shape=[-4, -1]),
        tensor(0, 4, shape=[True] * 4),
        tensor(0, 4, shape=4),
        tensor(4, 0),
        tensor(-4, 0),
        {"dtype": "U8", "shape": [4], "data_offsets": [0, 4, 4]},
        {"dtype": "U8", "shape": [4], "data_offsets": [0.0, 4]},
        {"dtype": "U8", "shape": [4]},
        [],
        None,
    ],
)
def test_an_entry_that_makes_no_sense(tmp_path: Path, entry: Any) -> None:
    assert refusal(write(tmp_path, {"a": entry}, 4)) == "the header's entry of the tensor 'a' makes no sense"


def test_a_shape_of_very_many_axes_is_refused_before_it_is_multiplied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The product of all lengths that a header has room for would take minutes."""
    monkeypatch.setattr("perceptio.data.tensor_file.math.prod", lambda shape: pytest.fail("multiplied"))
    path = write(tmp_path, {"a": tensor(0, 4, shape=[10**17] * 65)}, 4)
    assert refusal(path) == "the header's entry of the tensor 'a' makes no sense"


def test_a_long_name_is_shown_in_part(tmp_path: Path) -> None:
    assert refusal(write(tmp_path, {"n" * 999: 0})) == f"the header's entry of the tensor '{'n' * 80}' makes no sense"
