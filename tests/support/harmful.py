"""Work that harms the process that does it, and a decoder that does so on files of certain names."""

import ctypes
import multiprocessing
import os
import pickle
import signal
import struct
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from perceptio.errors import AbsentError, DataError, FileError, MissingExtraError

MEMORY_BYTES = 200 * 2**20


def act(job: str) -> Any:
    """Does what a job's name says before its first dot; any other name comes back with this process's id."""
    word = job.partition(".")[0]
    if word in _ACTIONS:
        return _ACTIONS[word]()
    return [job, os.getpid()]


def _segfault() -> None:
    ctypes.string_at(0)


def _abort() -> None:
    os.abort()


def _spin() -> None:
    while True:
        pass


def _busy() -> str:
    end = time.process_time() + 3
    while time.process_time() < end:
        pass
    return "done"


def _sleep() -> None:
    time.sleep(3600)


def _eat() -> int:
    return len(np.ones(2 * MEMORY_BYTES, np.uint8))


def _killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _quit() -> None:
    os._exit(3)


def _worker() -> None:
    if multiprocessing.parent_process() is not None:  # a loader's worker, and no child of ours
        os._exit(1)


def _refuse() -> None:
    raise FileError("broken on purpose")


def _absent() -> None:
    raise AbsentError("has no sound")


def _missing() -> None:
    raise MissingExtraError("reading sound", "media")


def _data() -> None:
    raise DataError("the disk failed 3 times")


def _system() -> None:
    raise OSError(5, "Input/output error")


def _bug() -> None:
    raise KeyError("a bug")


def _views() -> list[dict[str, np.ndarray]]:
    return [{"image": np.arange(12, dtype=np.uint8).reshape(2, 2, 3)}, {"audio": np.zeros((0, 1), np.float32)}]


def _modules() -> list[str]:
    return sorted(name for name in sys.modules if name.partition(".")[0] == name)


_ACTIONS = {
    "segfault": _segfault,
    "abort": _abort,
    "spin": _spin,
    "busy": _busy,
    "sleep": _sleep,
    "eat": _eat,
    "killed": _killed,
    "quit": _quit,
    "worker": _worker,
    "refuse": _refuse,
    "absent": _absent,
    "missing": _missing,
    "data": _data,
    "system": _system,
    "bug": _bug,
    "views": _views,
    "modules": _modules,
}


@dataclass(frozen=True)
class HarmfulReader:
    """Shows each picture as it is, except for those whose path says what harm they do: `a/segfault.7.png`."""

    def training_view(self, items: Mapping[str, Any], random: np.random.Generator) -> dict[str, np.ndarray]:
        (view,) = self.evaluation_views(items)
        noise = random.integers(0, 2, view["image"].shape, dtype=np.uint8)
        return {"image": view["image"] ^ noise}

    def evaluation_views(self, items: Mapping[str, Any]) -> Sequence[dict[str, np.ndarray]]:
        (path,) = items.values()
        act(path.name)
        content = np.frombuffer(path.read_bytes().ljust(12, b"\0")[:12], np.uint8)
        return [{"image": content.reshape(2, 2, 3)}]


def look(items: Mapping[str, Any], full: bool) -> dict[str, bool]:
    """Does what the file's name says, and tells whether to decode it whole."""
    (path,) = items.values()
    act(path.name)
    return {"full": full}


def look_at_picture(items: Mapping[str, Any], full: bool) -> list[int]:
    """Returns the size of the only part; decodes it if asked to."""
    from perceptio.data.image_files import decode_image, probe_image
    from perceptio.data.limits import Limits

    (path,) = items.values()
    size = probe_image(path, Limits())
    if full:
        decode_image(path, 3, Limits())
    return list(size)


def name_parts(items: Mapping[str, Any], full: bool) -> dict[str, str]:
    """Returns the path of each part."""
    return {part: str(path) for part, path in items.items()}


@dataclass(frozen=True)
class Noting:
    """Looks at a file as `look` does, and notes that it did."""

    notes: Path

    def __call__(self, items: Mapping[str, Any], full: bool) -> dict[str, bool]:
        (path,) = items.values()
        with self.notes.open("a") as file:
            file.write(f"{path.name}\n")
        return look(items, full)


def serve_bytes(task: Any, connection: Connection) -> None:
    """Answers each message as no honest child does: with bytes, or with the announcement of more than fits anywhere."""
    while True:
        for job in pickle.loads(connection.recv_bytes()):  # noqa: S301 (from the test)
            if job == "endless":
                os.write(connection.fileno(), struct.pack("!iQ", -1, 2**62))
            else:
                connection.send_bytes(job)


class Unloadable:
    """A task that cannot be loaded in another process."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _bug, ()


@dataclass(frozen=True)
class HarmfulViews:
    """Shows a file as `predict` does, except for those whose name says what harm they do."""

    reader: Any

    def __call__(self, items: Mapping[str, Any]) -> dict[str, Any]:
        from perceptio.runs.predict import Views

        for path in items.values():
            act(path.name)
        return Views(self.reader)(items)


def serve_nothing(task: Any, connection: Connection) -> None:
    """Waits until the connection ends."""
    while True:
        connection.recv_bytes()
