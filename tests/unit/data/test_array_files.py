import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from perceptio.data.array_files import read_array, read_array_header
from perceptio.data.limits import Limits
from perceptio.errors import FileError

READERS = ("read_array", "read_array_header")
pytestmark = pytest.mark.usefixtures("either_place")

LIMITS = Limits()


def save(path: Path, **arrays: np.ndarray) -> Path:
    with path.open("wb") as file:
        if path.suffix == ".npy":
            np.save(file, arrays["values"])
        else:
            np.savez(file, **arrays)
    return path


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float16, np.float64, np.bool_, ">f4"])
def test_numbers_of_every_kind_become_float32(tmp_path: Path, suffix: str, dtype):
    values = (np.arange(7 * 3) % 2 * 5).reshape(7, 3).astype(dtype)
    path = save(tmp_path / f"a{suffix}", values=values)
    header = read_array_header(path, LIMITS)
    assert (header.shape, header.axis_names) == ((7, 3), ())
    found = read_array(path, LIMITS)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, values.astype(np.float32))


def test_fortran_order_is_turned(tmp_path: Path):
    values = np.asfortranarray(np.arange(15.0).reshape(5, 3))
    np.testing.assert_array_equal(read_array(save(tmp_path / "a.npy", values=values), LIMITS), values)


def test_the_only_array_needs_no_name_and_axes_are_names(tmp_path: Path):
    path = save(tmp_path / "a.npz", signal=np.ones((5, 2)), axes=np.array(["time", "sensor"]))
    assert read_array_header(path, LIMITS).axis_names == ("time", "sensor")
    assert read_array(path, LIMITS).shape == (5, 2)


def test_values_is_taken_among_several(tmp_path: Path):
    path = save(tmp_path / "a.npz", other=np.zeros(3), values=np.ones(2))
    assert read_array(path, LIMITS).tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"a": np.ones(2), "b": np.ones(3)}, r'must hold one array, or one called "values"; it holds 2: a, b'),
        ({"axes": np.array(["t"])}, r'must hold one array, or one called "values"; it holds 0: none'),
        ({"values": np.ones(2), "axes": np.ones(1)}, r'"axes" must be a list of names, one an axis; it is float64'),
        (
            {"values": np.ones(2), "axes": np.array(["t" * 257])},
            r'"axes" must be a list of names, one an axis; it is <U257',
        ),
        ({"values": np.ones(2), "axes": np.array(["t", "x"])}, r'"axes" names 2 axes, but the array has 1'),
        ({"values": np.array([1j])}, r"holds complex numbers; store real and imaginary parts as two channels"),
        ({"values": np.array(["a"])}, r"holds <U1, not numbers"),
        ({"values": np.ones((2, 0))}, r"must have 1 to 8 axes of at least one value; its shape is \(2, 0\)"),
        ({"values": np.array(3.0)}, r"must have 1 to 8 axes of at least one value; its shape is \(\)"),
        ({"values": np.ones((1,) * 9)}, r"must have 1 to 8 axes of at least one value"),
    ],
)
def test_what_is_no_array_of_numbers_says_why(tmp_path: Path, arrays: dict[str, np.ndarray], reason: str):
    path = save(tmp_path / "a.npz", **arrays)
    with pytest.raises(FileError, match=f"^{reason}"):
        read_array_header(path, LIMITS)
    with pytest.raises(FileError, match=f"^{reason}"):
        read_array(path, LIMITS)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_no_numbers_are_refused(tmp_path: Path, bad: float):
    path = save(tmp_path / "a.npy", values=np.array([1.0, bad]))
    message = r"^holds values that are not a number or infinite; replace them, or leave the sample out$"
    with pytest.raises(FileError, match=message):
        read_array(path, LIMITS)


def test_objects_are_never_unpickled(tmp_path: Path):
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return pytest.fail, ("unpickled",)

    path = tmp_path / "a.npy"
    with path.open("wb") as file:
        np.save(file, np.array([Trap()], dtype=object), allow_pickle=True)
    with pytest.raises(FileError, match=r"^holds Python objects, which are not read for safety; store plain numbers$"):
        read_array(path, LIMITS)


def test_the_limit_is_checked_before_anything_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A header that promises a petabyte, followed by nothing."""
    path = tmp_path / "a.npy"
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (2**40, 2**10)})
    path.write_bytes(header.getvalue())
    with pytest.raises(FileError, match=r"^takes 4,503,599,627,370,496 bytes as float32; the limit is 1,073,741,824"):
        read_array(path, LIMITS)
    small = save(tmp_path / "b.npy", values=np.ones(11))
    message = r"^takes 44 bytes as float32; the limit is 43 \(--source.limits.max-array-bytes\)$"
    with pytest.raises(FileError, match=message):
        read_array(small, Limits(max_array_bytes=43))


def test_a_bomb_of_zeros_is_cut_off_by_its_header(tmp_path: Path):
    path = tmp_path / "a.npz"
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (2**32,)})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("values.npy", header.getvalue() + bytes(2**20))
    with pytest.raises(FileError, match=r"^takes 17,179,869,184 bytes as float32"):
        read_array(path, LIMITS)


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_no_cut_and_no_flipped_byte_gets_past_a_file_error(tmp_path: Path, suffix: str):
    whole = save(tmp_path / f"a{suffix}", values=np.arange(29.0)).read_bytes()
    random, path = np.random.default_rng(0), tmp_path / f"b{suffix}"
    for _ in range(150):
        content = bytearray(whole[: int(random.integers(1, len(whole) + 1))])
        for place in random.integers(len(content), size=3):
            content[place] = int(random.integers(256))
        path.write_bytes(bytes(content))
        reason = ""
        try:
            read_array(path, LIMITS)
        except FileError as error:
            reason = str(error)
        assert "\n" not in reason
        assert str(tmp_path) not in reason


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_arrays_packed_in_ways_that_have_no_bounds_are_refused(tmp_path: Path, method: int):
    """A hundred bytes of bzip2 may hold gigabytes, all of which zipfile unpacks at once."""
    npy = io.BytesIO()
    np.save(npy, np.arange(5000.0))
    with zipfile.ZipFile(tmp_path / "a.npz", "w", method) as archive:
        archive.writestr("values.npy", npy.getvalue())
    message = r"^packs values\.npy in a way that is not read; write it with np\.savez or np\.savez_compressed$"
    for read in (read_array, read_array_header):
        with pytest.raises(FileError, match=message):
            read(tmp_path / "a.npz", LIMITS)


def test_text_is_no_array(tmp_path: Path):
    path = tmp_path / "a.npy"
    path.write_text("1 2 3")
    with pytest.raises(FileError, match=r"^damaged, or no .npy or .npz file: File is not a zip file"):
        read_array(path, LIMITS)


@pytest.mark.parametrize(("version", "length"), [(1, 10_001), (1, 2**16 - 1), (2, 2**32 - 1)])
def test_a_header_that_declares_much_is_not_read(tmp_path: Path, version: int, length: int):
    field = length.to_bytes(2 if version == 1 else 4, "little")
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY" + bytes([version, 0]) + field + b" " * 64)
    with pytest.raises(FileError, match=rf"^declares a header of {length:,} bytes; 10,000 suffice$"):
        read_array_header(tmp_path / "a.npy", LIMITS)
