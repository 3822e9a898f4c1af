"""Starts child processes in which a file may kill its decoder without harm to anybody else.

One server for each process that asks: it imports the decoders once and forks a child on request, in a few
milliseconds. The server runs no thread and no kernel, so that its forks are sound; it starts as a plain program, so
that a script which asks needs no `if __name__ == "__main__"`. Children live as long as who asked: at the end of its
connection a child ends, and so does the server.
"""

import atexit
import contextlib
import json
import os
import pickle
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, NoReturn

_PID, _END, _FAILED = b"p", b"e", b"f"
_REPORT = struct.Struct("<cqq")
_MESSAGE_BYTES = 2**16
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
_COMMAND = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[2]); from perceptio.data.nursery import serve; serve({})"
)

Serve = Callable[[Any, Connection], None]
"""What a child does: given the task that it was started for and its connection, work until that ends."""


@dataclass(frozen=True)
class End:
    """How a child ended.

    Attributes:
        signal: what killed it; None: it ended by itself.
        exit_code: of one that ended by itself.
        peak_bytes: the most memory that it ever held.
    """

    signal: signal.Signals | None
    exit_code: int
    peak_bytes: int


class Child:
    """A running child and the connection to it.

    Attributes:
        connection: sends and receives bytes; closed at the child's end when it is gone.
        pid: its process id.
    """

    def __init__(self, connection: Connection, reports: socket.socket) -> None:
        self.connection = connection
        self._reports = reports
        self._ended = False
        try:
            kind, self.pid, _ = self._report()
            if kind == _FAILED:
                raise RuntimeError(f"a child process cannot be started:\n{self._rest()}")
        except BaseException:
            self._close()
            raise

    def kill(self) -> None:
        """Ends the child wherever it is."""
        if not self._ended:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def end(self) -> End:
        """Waits until the child is gone and returns how it went; call once, after its connection has ended.

        Raises:
            RuntimeError: nobody can tell any more.
        """
        try:
            _, status, peak = self._report()
        finally:
            self._close()
        self._ended = True
        code = os.waitstatus_to_exitcode(status)
        return End(signal.Signals(-code) if code < 0 else None, max(0, code), peak)

    def _close(self) -> None:
        self.connection.close()
        self._reports.close()

    def _report(self) -> tuple[bytes, int, int]:
        content = self._reports.recv(_REPORT.size, socket.MSG_WAITALL)
        if len(content) < _REPORT.size:
            raise RuntimeError("the server of child processes is gone; start again")
        return _REPORT.unpack(content)

    def _rest(self) -> str:
        parts = []
        while part := self._reports.recv(_MESSAGE_BYTES):
            parts.append(part)
        return b"".join(parts).decode("utf-8", "replace")


class _Nursery:
    """The server of this process, started when the first child is asked for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self._owner = 0

    def start_child(self, serve: Serve, task: Any) -> Child:
        """Returns a new child that runs `serve(task, connection)`; both are sent by pickle.

        Raises:
            RuntimeError: the server cannot load them, or is gone.
        """
        content = pickle.dumps((serve, task))
        ours, theirs = socket.socketpair()
        reports, for_reports = socket.socketpair()
        with self._lock:
            self._ensure_server()
            assert self._socket is not None
            header = struct.pack("<q", len(content))
            socket.send_fds(self._socket, [header], [theirs.fileno(), for_reports.fileno()])
            self._socket.sendall(content)
        theirs.close()
        for_reports.close()
        return Child(Connection(ours.detach()), reports)

    def close(self) -> None:
        """Ends the server; children that still work go on until their connections end."""
        if self._socket is not None and self._owner == os.getpid():
            self._socket.close()
            assert self._server is not None
            self._server.wait()
        self._socket = self._server = None

    def _ensure_server(self) -> None:
        # A fork of this process inherits the object, but the server belongs to its parent.
        if self._server is not None and self._owner == os.getpid() and self._server.poll() is None:
            return
        if self._socket is not None:
            self._socket.close()
        ours, theirs = socket.socketpair()
        self._server = subprocess.Popen(
            [sys.executable, "-c", _COMMAND.format(theirs.fileno()), "nursery", json.dumps(sys.path)],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            # What a C library has to say when it dies is said once, by us.
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **_ONE_THREAD},
        )
        theirs.close()
        self._socket, self._owner = ours, os.getpid()


_NURSERY = _Nursery()
atexit.register(_NURSERY.close)
start_child = _NURSERY.start_child


def serve(descriptor: int) -> None:
    """Runs the server on a connected socket until it is closed: forks a child for each request."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C asks the main process, which ends us
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # those who watch leave nothing behind when they end
    requests = socket.socket(fileno=descriptor)
    while True:
        header, descriptors, _, _ = socket.recv_fds(requests, 8, 2)
        if not header:
            return
        size = struct.unpack("<q", header)[0]
        content = requests.recv(size, socket.MSG_WAITALL)
        try:
            # Here and not in the child: what this imports is there for all later children.
            work, task = pickle.loads(content)  # noqa: S301 (from the process that started us)
            if os.fork() == 0:
                requests.close()
                _watch(work, task, *descriptors)
        except Exception:
            # Whatever an import or a pickle raises: who asked raises it, and the server goes on for the others.
            report = _REPORT.pack(_FAILED, 0, 0) + traceback.format_exc().encode()
            with contextlib.suppress(OSError):
                os.write(descriptors[1], report)
        for number in descriptors:
            os.close(number)


def _watch(work: Serve, task: Any, connection: int, reports: int) -> NoReturn:
    """Forks the child proper, waits for it and tells how it ended."""
    status = peak = 0
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        child = os.fork()
        if child == 0:
            os.close(reports)
            _run(work, task, connection)
        os.close(connection)
        os.write(reports, _REPORT.pack(_PID, child, 0))
        _, status, usage = os.wait4(child, 0)
        peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        with contextlib.suppress(OSError):
            os.write(reports, _REPORT.pack(_END, status, peak))
    finally:
        os._exit(0)


def _run(work: Serve, task: Any, connection: int) -> NoReturn:
    code = 1
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        work(task, Connection(connection))
        code = 0
    except (EOFError, BrokenPipeError, ConnectionResetError):
        code = 0  # whoever asked is gone
    finally:
        os._exit(code)
