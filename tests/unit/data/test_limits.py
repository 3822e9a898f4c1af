import errno
import os
import re
from pathlib import Path

import pytest

from perceptio.data.failures import as_file_error, patiently
from perceptio.data.limits import Limits, check_file
from perceptio.errors import DataError, FileError, UsageError


def test_a_regular_file_gives_its_size(tmp_path: Path, limits: Limits) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"12345")
    assert check_file(path, tmp_path, limits) == 5
    assert check_file(path, None, limits) == 5


def _fifo(folder: Path) -> Path:
    os.mkfifo(folder / "pipe")
    return folder / "pipe"


def _link_out(folder: Path) -> Path:
    (folder.parent / "secret").write_bytes(b"secret")
    (folder / "link").symlink_to(folder.parent / "secret")
    return folder / "link"


def _link_in_a_circle(folder: Path) -> Path:
    (folder / "circle").symlink_to(folder / "circle")
    return folder / "circle"


def _empty(folder: Path) -> Path:
    (folder / "empty").touch()
    return folder / "empty"


def _folder(folder: Path) -> Path:
    (folder / "sub").mkdir()
    return folder / "sub"


def _large(folder: Path) -> Path:
    (folder / "large").write_bytes(b"1" * 101)
    return folder / "large"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_fifo, "^not a regular file but a pipe$"),
        (_link_out, "^leads out of the data folder"),
        (_link_in_a_circle, "^is a link that leads in a circle$"),
        (_empty, r"^empty file \(0 bytes\)$"),
        (_folder, "^not a regular file but a folder$"),
        (_large, r"^has 101 bytes; the limit is 100 \(--source.limits.max-file-bytes\)$"),
        (lambda folder: folder / "gone", "^no such file$"),
        (lambda folder: folder / ("n" * 300), "^its name is longer than the system allows$"),
    ],
)
def test_what_is_no_usable_file_is_refused_without_opening_it(tmp_path: Path, make, message: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    path = make(root)
    with pytest.raises(FileError, match=message):
        check_file(path, root, Limits(max_file_bytes=100))


def test_just_inside_the_limit_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1" * 100)
    assert check_file(tmp_path / "a", tmp_path, Limits(max_file_bytes=100)) == 100


def test_a_link_inside_the_root_is_followed(tmp_path: Path, limits: Limits) -> None:
    (tmp_path / "a").write_bytes(b"123")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert check_file(tmp_path / "b", tmp_path, limits) == 3


def test_a_root_that_is_a_link_is_fine(tmp_path: Path, limits: Limits) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a").write_bytes(b"123")
    (tmp_path / "root").symlink_to(tmp_path / "real")
    assert check_file(tmp_path / "root" / "a", tmp_path / "root", limits) == 3


def test_limits_must_be_positive() -> None:
    with pytest.raises(UsageError, match=r"^max_image_pixels must be at least 1: got 0$"):
        Limits(max_image_pixels=0)


def test_a_failing_disk_is_not_a_bad_file() -> None:
    with pytest.raises(OSError, match=r"Input/output"):
        as_file_error(OSError(errno.EIO, "Input/output error"))
    assert str(as_file_error(OSError(errno.EACCES, "x"))) == "may not be read (permission denied)"
    assert str(as_file_error(OSError(errno.EINVAL, "Invalid argument"))) == "cannot be read (Invalid argument)"


def test_a_failing_disk_is_tried_again() -> None:
    calls = []

    def work() -> str:
        calls.append(1)
        if len(calls) < 3:
            raise OSError(errno.EIO, "Input/output error")
        return "read"

    assert patiently(work, "a.jpg", wait_seconds=0.0) == "read"
    assert len(calls) == 3


def test_a_disk_that_keeps_failing_stops_everything() -> None:
    def work() -> str:
        raise OSError(errno.ESTALE, "Stale file handle")

    message = (
        "a.jpg: the disk or network failed 3 times (Stale file handle). That is not the file's fault, so nothing was "
        "skipped; start again once it works"
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        patiently(work, "a.jpg", wait_seconds=0.0)
