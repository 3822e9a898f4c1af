"""Child processes that work on files: what a file that harms its process costs, and what it does not."""

import os
import re
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from perceptio.data import children as children_module
from perceptio.data.answers import pack, unpack
from perceptio.data.children import Allowance, Children
from perceptio.errors import AbsentError, DataError, FileError, HarmfulFileError, MissingExtraError
from support.harmful import MEMORY_BYTES, act, serve_bytes

ALLOWANCE = Allowance(seconds=1, memory_bytes=MEMORY_BYTES)


def run(jobs: list[str], **options) -> list:
    with Children(act, ALLOWANCE, **options) as children:
        return list(children.map(jobs))


def test_answers_come_in_order_from_several_processes() -> None:
    names = [f"{number}.x" for number in range(101)]
    answers = run(names, num_children=3, jobs_a_message=4)
    assert [answer[0] for answer in answers] == names
    pids = {answer[1] for answer in answers}
    assert 1 < len(pids) <= 3
    assert os.getpid() not in pids


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("segfault", r"^kills its decoder \(SIGSEGV\)$"),
        ("abort", r"^kills its decoder \(SIGABRT\)$"),
        ("quit", r"^ends its decoder \(exit code 3\)$"),
        ("killed", r"^its decoder was killed, as systems do when memory runs out$"),
        ("eat", r"^needs more than 209,715,200 bytes \(--source.limits.max-decode-bytes\)$"),
        ("spin", r"^took more than 1 s of processor time \(--source.limits.max-clip-seconds\)$"),
    ],
)
def test_a_harmful_file_costs_itself_and_nothing_else(name: str, reason: str) -> None:
    names = [f"{number}.x" for number in range(9)]
    answers = run([*names[:5], name, *names[5:]], num_children=2, jobs_a_message=3)
    blamed = answers.pop(5)
    assert isinstance(blamed, HarmfulFileError)
    assert re.search(reason, str(blamed)), str(blamed)
    assert [answer[0] for answer in answers] == names


def test_a_child_that_waits_for_ever_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children_module, "_PATIENCE", 1)
    monkeypatch.setattr(children_module, "_LEAST_PATIENCE_SECONDS", 1)
    began = time.monotonic()
    first, blamed, last = run(["a", "sleep", "b"], num_children=2)
    assert str(blamed) == "took more than 1 s (--source.limits.max-clip-seconds)"
    assert (first[0], last[0]) == ("a", "b")
    assert time.monotonic() - began < 20


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nobody tells who computes and who waits")
def test_a_child_that_computes_is_not_taken_for_one_that_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """However little of a busy machine it gets: what it may compute has a limit of its own."""
    monkeypatch.setattr(children_module, "_PATIENCE", 0.05)
    monkeypatch.setattr(children_module, "_LEAST_PATIENCE_SECONDS", 0.5)
    with Children(act, Allowance(seconds=10), num_children=1) as children:
        assert list(children.map(["busy"])) == ["done"]


def test_many_harmful_files_are_each_found() -> None:
    names = ["segfault" if number % 3 == 0 else f"{number}.x" for number in range(30)]
    answers = run(names, num_children=2, jobs_a_message=5)
    assert [isinstance(answer, HarmfulFileError) for answer in answers] == [name == "segfault" for name in names]


def test_what_a_file_is_refused_for_comes_back_as_it_was() -> None:
    refused, absent = run(["refuse", "absent"])
    assert (type(refused), str(refused)) == (FileError, "broken on purpose")
    assert (type(absent), str(absent)) == (AbsentError, "has no sound")


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("missing", MissingExtraError, r"pip install 'perceptio\[media\]'"),
        ("data", DataError, r"^the disk failed 3 times$"),
        ("system", OSError, r"Input/output error"),
        ("bug", RuntimeError, r"(?s)^reading a file failed in a way that it never should:\n.*KeyError: 'a bug'"),
    ],
)
def test_what_is_not_the_files_fault_is_raised_in_its_turn(name: str, kind: type[Exception], message: str) -> None:
    with Children(act, ALLOWANCE) as children:
        answers = children.map(["a", name, "b"])
        assert next(answers)[0] == "a"
        with pytest.raises(kind, match=message):
            next(answers)


def test_views_come_back_without_pickle(monkeypatch: pytest.MonkeyPatch) -> None:
    def bomb(*given, **options):
        raise AssertionError("unpickled what a child sent")

    monkeypatch.setattr("pickle.loads", bomb)
    monkeypatch.setattr("pickle.load", bomb)
    (views,) = run(["views"])
    np.testing.assert_array_equal(views[0]["image"], np.arange(12, dtype=np.uint8).reshape(2, 2, 3))
    assert views[0]["image"].dtype == np.uint8
    assert (views[1]["audio"].shape, views[1]["audio"].dtype) == ((0, 1), np.float32)


def test_answers_that_do_not_fit_are_refused() -> None:
    content = pack({"result": [np.arange(6.0).reshape(2, 3), (1, "a", None)]})
    found = unpack(content)["result"]
    np.testing.assert_array_equal(found[0], np.arange(6.0).reshape(2, 3))
    assert found[1] == [1, "a", None]
    for broken in (
        content[:-1],
        content.replace(b"[2, 3]", b"[9, 9]"),
        content.replace(b"<f8", b"|O8"),
        b"",
        b"\xff" * 20,
    ):
        with pytest.raises(ValueError, match=r"^not an answer of a child process: "):
            unpack(broken)
    with pytest.raises(TypeError, match=r"^object cannot be sent from a child process$"):
        pack(object())


def test_leaving_in_the_middle_ends_the_children() -> None:
    with Children(act, ALLOWANCE, num_children=2) as children:
        answers = children.map(f"{number}.x" for number in range(1000))
        pid = next(answers)[1]
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{pid}").exists()


def nonsense() -> list[bytes]:
    told = (7, [], {}, {"error": ["SystemExit", "x"]}, {"error": ["FileError"]}, {"memory": 3}, {"system": ["a", "b"]})
    return [b"", b"\x80\x04N.", *(pack(value) for value in told)]


def test_a_child_that_answers_nonsense_is_a_bad_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children_module, "_serve", serve_bytes)
    jobs = [*nonsense(), pack({"result": "good"})]
    answers = run(jobs, num_children=2)
    assert answers.pop() == "good"
    assert [(type(answer), str(answer)) for answer in answers] == [
        (FileError, "its decoder answers nonsense") for _ in answers
    ]


def test_an_answer_without_end_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children_module, "_serve", serve_bytes)
    endless, good = run(["endless", pack({"result": "good"})], num_children=1)
    assert isinstance(endless, HarmfulFileError)
    assert good == "good"
