"""Two processes that talk to each other; what they find is in `support.two_ranks`."""

import json
import os
import socket
import subprocess
import sys
from typing import Any

import pytest
import torch

from perceptio.errors import DataError, PerceptioError, SharedError, UsageError
from perceptio.runs.machine import connect
from perceptio.training.processes import Processes
from support.processes import ROOT

Found = list[dict[str, Any]]


@pytest.fixture(scope="module")
def found() -> Found:
    """What each of two processes finds."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {
        **os.environ,
        "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT / 'tests'}",
        "OMP_NUM_THREADS": "1",
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "support.two_ranks"],
            env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    ended = [process.communicate(timeout=200) for process in running]
    assert [process.returncode for process in running] == [0, 0], ended
    return [json.loads(stdout) for stdout, _ in ended]


@pytest.mark.slow
def test_an_error_of_one_process_is_raised_in_all(found: Found):
    first, second = (process["errors"] for process in found)
    assert first["first fails"] == ["OSError", 1, "No space left on device"]
    assert second["first fails"] == ["SharedError", 1, "No space left on device"]
    assert first["second fails"] == second["second fails"] == ["SharedError", 4, "process 1: unreadable"]
    assert first["first does"] == ["DataError", 4, "no file there"]
    assert second["first does"] == ["SharedError", 4, "no file there"]


@pytest.mark.slow
def test_values_reach_every_process(found: Found):
    first, second = (process["values"] for process in found)
    assert (first.pop("gather to first"), second.pop("gather to first")) == ([0, 1], [])
    assert first == second
    assert first["mean"] == 0.75
    assert first["any"] == [True, False]
    assert first["gather"] == ["from 0", "from 1"]
    assert first["first does"] == "by 0"
    assert first["share"] == {"a": [0.0, 1.0, 2.0], "b": [[1, 1], [1, 1]]}


@pytest.mark.slow
def test_a_file_that_one_process_lost_is_known_to_all(found: Found):
    first, second = (process["lost files"] for process in found)
    message = "3 of 10 samples cannot be used, 3 of them since training began"
    for told in (first, second):
        assert told[:3] == [[False, True, True], ["b", "a", "c"], ["b"]]
        assert told[3][1] == 4
        assert told[3][2].startswith(message)
    assert (first[3][0], second[3][0]) == ("DataError", "SharedError")


@pytest.mark.slow
def test_gradients_are_averaged_each_in_its_place(found: Found):
    means = [[0.0, 4.0, 2.0, 6.0], [10.0, 10.0, 10.0], [2.0, 2.0, 2.0, 2.0]]
    assert [process["averages"] for process in found] == [means, means]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["lamb", "adamw"])
def test_sharded_weights_move_as_whole_ones(found: Found, kind: str):
    """Three steps on equal samples: what differs is the order of sums. LAMB's norms are those of whole tensors.

    A gradient that is noise of 1e-9, as a key bias's is, moves its weight by lr x 1e-9 / eps = 1e-5 a step.
    """
    for process in found:
        result = process["sharding"][kind]
        assert result["moved"] > 0.02
        assert result["apart"] < 3e-5
        assert result["moments"] < 1e-6
        assert result["norms"] < 1e-6


@pytest.mark.slow
def test_each_process_holds_its_share_of_the_weights(found: Found):
    assert all(0.45 < process["sharding"]["share"] < 0.55 for process in found)


@pytest.mark.slow
def test_who_waits_for_a_process_that_failed_says_what_that_one_says(found: Found):
    assert found[0]["lost"] == ["SharedError", 4, "process 1: gone bad"]
    assert found[1]["lost"] == ["DataError", 4, "gone bad"]


def test_one_process_talks_to_nobody():
    alone = Processes()
    tensors = {"a": torch.ones(2)}
    assert (alone.rank, alone.count, alone.is_first) == (0, 1, True)
    assert alone.gather("x") == alone.gather_to_first("x") == ["x"]
    assert (alone.mean(2.5), alone.any(True), alone.any(False), alone.first_does(lambda: 3)) == (2.5, True, False, 3)
    assert alone.share(tensors)["a"] is tensors["a"]
    with pytest.raises(DataError, match="as it is"), alone.connected(), alone.agreed():
        raise DataError("as it is")


class DeadGroup:
    """Stands in for a group whose other process is gone."""

    def rank(self) -> int:
        """Returns 1."""
        return 1

    def size(self) -> int:
        """Returns 2."""
        return 2


class Board:
    """Stands in for a store; holds nothing, or is out of reach."""

    def __init__(self, reachable: bool) -> None:
        self.reachable = reachable

    def check(self, keys: list[str]) -> bool:
        """Returns False."""
        if not self.reachable:
            raise RuntimeError("Connection refused")
        return False


@pytest.mark.parametrize("reachable", [True, False])
@pytest.mark.parametrize("words", ["Connection closed by peer [127.0.0.1]:1", "Timed out waiting 1000ms for recv"])
def test_a_process_that_was_killed_is_said_to_be_gone(reachable: bool, words: str):
    processes = object.__new__(Processes)
    processes.group, processes.board, processes.rank, processes.count = DeadGroup(), Board(reachable), 1, 2  # type: ignore[assignment]
    message = (
        r"process 1 waited in vain for another one, which was killed or hangs \((Connection closed by peer|Timed out "
        r"waiting)\). The last checkpoint is untouched: go on with --resume. If nothing hangs and the disk is slow: "
        r"--timeout-minutes"
    )
    with pytest.raises(PerceptioError, match=message), processes.connected():
        raise RuntimeError(words)
    with pytest.raises(SharedError, match="said already"), processes.connected():
        raise SharedError("said already", 4)


def test_a_time_that_is_none_is_refused():
    with pytest.raises(UsageError, match=r"--timeout-minutes must be greater than 0, got 0"):
        connect("cpu", timeout_minutes=0.0)
