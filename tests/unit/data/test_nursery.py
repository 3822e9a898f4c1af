"""The server of child processes: what it cannot start, and what becomes of those who ask when it is gone."""

import pickle
import signal
import time
from pathlib import Path

import psutil
import pytest

from perceptio.data import nursery
from perceptio.data.children import Allowance, Children
from perceptio.data.nursery import start_child
from support.harmful import Unloadable, act, serve_bytes, serve_nothing


def gone(pid: int) -> bool:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.02)
    return False


def test_a_child_ends_with_its_connection_and_says_how() -> None:
    child = start_child(serve_nothing, None)
    assert psutil.pid_exists(child.pid)
    child.connection.close()
    end = child.end()
    assert (end.signal, end.exit_code) == (None, 0)
    assert end.peak_bytes > 2**20
    assert gone(child.pid)
    server = nursery._NURSERY._server
    assert server is not None
    deadline = time.monotonic() + 20
    while psutil.Process(server.pid).children(recursive=True) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert psutil.Process(server.pid).children(recursive=True) == []


def test_a_child_that_is_killed_says_so() -> None:
    child = start_child(serve_nothing, None)
    child.kill()
    assert child.end().signal is signal.SIGKILL
    child.kill()  # of no effect: another process may have its number by now


def test_a_task_that_cannot_be_loaded_is_told_with_its_reason() -> None:
    with pytest.raises(RuntimeError, match=r"(?s)^a child process cannot be started:\nTraceback .*KeyError: 'a bug'"):
        start_child(serve_nothing, Unloadable())
    child = start_child(serve_nothing, None)  # the server goes on
    child.connection.close()
    assert child.end().exit_code == 0


def test_whoever_watches_over_a_child_may_be_killed() -> None:
    child = start_child(serve_nothing, None)
    watcher = psutil.Process(child.pid).parent()
    assert watcher is not None
    watcher.kill()
    assert gone(watcher.pid)
    with pytest.raises(RuntimeError, match=r"^the server of child processes is gone; start again$"):
        child.end()
    assert gone(child.pid)


def test_a_server_that_was_killed_is_started_again_and_its_children_live_on() -> None:
    with Children(act, Allowance(), num_children=1) as children:
        answers = children.map(["a", "b", "c", "d"])
        pid = next(answers)[1]
        server = nursery._NURSERY._server
        assert server is not None
        server.kill()
        server.wait()
        assert [answer[1] for answer in answers] == [pid] * 3
    other = start_child(serve_nothing, None)
    assert nursery._NURSERY._server is not server
    other.connection.close()
    assert other.end().exit_code == 0


def test_a_child_does_not_outlive_who_asked() -> None:
    """As far as this process can tell without ending: both ends of everything that the child holds are closed."""
    child = start_child(serve_bytes, None)
    child.connection.send_bytes(b"no pickle")
    with pytest.raises(EOFError):
        child.connection.recv_bytes()
    assert child.end().exit_code == 1
    assert gone(child.pid)


def test_children_hold_no_file_of_who_asked(tmp_path: Path) -> None:
    with (tmp_path / "open").open("wb"):
        child = start_child(serve_bytes, None)
        child.connection.send_bytes(pickle.dumps([b"at work"]))
        assert child.connection.recv_bytes() == b"at work"
        held = {str(link.readlink()) for link in Path(f"/proc/{child.pid}/fd").iterdir()}
        child.connection.close()
        child.end()
    assert not any(str(tmp_path) in name for name in held)
    assert len([name for name in held if name.startswith("socket:")]) == 1
