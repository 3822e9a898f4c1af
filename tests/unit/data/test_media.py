import builtins
import errno
from pathlib import Path
from typing import Any

import pytest

from perceptio.data import media
from perceptio.data.limits import Limits
from perceptio.data.media import check_disk, media_errors, open_media
from perceptio.errors import FileError, MissingExtraError
from support.pictures import grey_png
from support.videos import quarters, write_frames

READERS = ("open_media",)
pytestmark = pytest.mark.usefixtures("either_place")


def test_without_pyav_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def refuse(name: str, *arguments: Any, **named: Any) -> Any:
        if name == "av":
            raise ImportError("no av")
        return original(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(
        MissingExtraError, match=r"^reading sound and video needs an .*: pip install 'perceptio\[media\]'$"
    ):
        open_media(tmp_path / "a.mp3", Limits())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"only text\n", r"no sound or video file: it begins with 'only text\\n'"),
        (b"#EXTM3U\nother.mp3\n", r"no sound or video file: it begins with '#EXTM3U\\nother.mp'"),
        (b"ffconcat version 1.0\nfile other.mp3\n", r"no sound or video file: it begins with 'ffconcat version'"),
        (bytes(range(256)) * 9, "damaged, or no sound or video file of a known kind"),
        (grey_png(8, 8), "damaged, or no sound or video file of a known kind"),
    ],
)
def test_what_is_no_recording_is_refused_and_no_playlist_is_followed(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    (tmp_path / "other.mp3").write_bytes(b"\xff\xfb\x90\x00" + bytes(413))
    path = tmp_path / "list.mp3"
    path.write_bytes(content)
    with pytest.raises(FileError, match=f"^{reason}$"):
        open_media(path, Limits())


def test_a_member_of_a_shard_opens_nothing_else() -> None:
    with pytest.raises(PermissionError, match=r"^a member of a shard may not open other files$"):
        media._refuse("file:/etc/passwd", 1, {})


def test_a_name_that_looks_like_an_address_is_only_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileError, match=r"^no such file$"):
        open_media(Path("concat:a.mp3|b.mp3"), Limits())


def test_an_input_error_is_the_files_fault_where_the_disk_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    path.write_bytes(b"damaged")
    check_disk(OSError(errno.EIO, "Input/output error"), path)
    with pytest.raises(FileError, match=r"^may not be read"):
        check_disk(OSError(errno.EACCES, "Permission denied"), path)
    with pytest.raises(OSError, match="No such file"):
        check_disk(OSError(errno.EIO, "Input/output error"), tmp_path / "gone.mkv")


def test_other_failures_of_the_decoder_become_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    path.write_bytes(b"\xff\xfb")
    with pytest.raises(FileError, match=r"^damaged sound or video file: two lines$"), media_errors(path):
        raise ValueError("two\nlines")


def test_too_many_streams_are_refused_and_the_file_is_let_go(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_frames(path, [quarters(34, 50)] * 3, sound=True)
    open_media(path, Limits(max_media_streams=2)).close()
    with pytest.raises(FileError, match=r"^holds 2 streams; the limit is 1 \(--source\.limits\.max-media-streams\)$"):
        open_media(path, Limits(max_media_streams=1))
