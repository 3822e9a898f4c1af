import errno
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from perceptio import disk
from perceptio.disk import DISK, Disk, FolderLock, make_folder
from perceptio.errors import PerceptioError


def test_a_second_process_is_told_who_is_there_and_let_in_when_it_has_gone(tmp_path: Path):
    hold = "import sys; from pathlib import Path; from perceptio.disk import FolderLock; "
    hold += "lock = FolderLock(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    other = subprocess.Popen(
        [sys.executable, "-c", hold, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"
    with pytest.raises(PerceptioError) as refused:
        FolderLock(tmp_path)
    other.kill()
    other.communicate()
    holder = f"process {other.pid} on {socket.gethostname()}"
    assert str(refused.value) == (
        f"{tmp_path} is in use by {holder}; two runs in one folder would spoil each other. Wait for it, or end it"
    )
    lock = FolderLock(tmp_path)
    assert (tmp_path / ".lock").read_text() == f"process {os.getpid()} on {socket.gethostname()}\n"
    lock.release()
    FolderLock(tmp_path).release()


def test_a_holder_that_has_not_said_its_name_is_another_process(tmp_path: Path):
    lock = FolderLock(tmp_path)
    (tmp_path / ".lock").write_text("")
    with pytest.raises(PerceptioError, match=r"is in use by another process; two runs in one folder would spoil each"):
        FolderLock(tmp_path)
    lock.release()


def test_a_disk_without_locks_is_refused(tmp_path: Path, monkeypatch):
    def refuse(file: int, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(disk.fcntl, "flock", refuse)
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(
        PerceptioError,
        match=r"cannot be locked against a second run: No locks available. Choose a folder on another disk",
    ):
        FolderLock(tmp_path)
    assert len(list(Path("/proc/self/fd").iterdir())) == before, "no descriptor is left open"


def test_a_folder_is_made_once(tmp_path: Path):
    class Counting(Disk):
        made = 0

        def mkdir(self, folder: Path) -> None:
            self.made += 1
            super().mkdir(folder)

    counting = Counting()
    make_folder(tmp_path / "a", counting)
    make_folder(tmp_path / "a", counting)
    assert (counting.made, (tmp_path / "a").is_dir()) == (1, True)


def test_a_link_is_removed_and_what_it_points_to_stays(tmp_path: Path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    DISK.remove(tmp_path / "link")
    assert (tmp_path / "folder" / "file").exists()
    assert not DISK.exists(tmp_path / "link")
