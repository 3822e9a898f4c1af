"""A web server on loopback that serves a folder, in parts or in whole files only."""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread


@contextmanager
def served(folder: Path, *, parts: bool = True) -> Iterator[str]:
    """Serves a folder and gives its URL; `parts`: whether requests for parts of files (HTTP Range) are answered so."""
    server = _Server(("127.0.0.1", 0), partial(_Handler, folder, parts))
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that has read enough goes; nobody needs to read about it."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, folder: Path, parts: bool, *connection: object) -> None:
        self.folder, self.parts = folder, parts
        super().__init__(*connection)  # type: ignore[arg-type]

    def do_HEAD(self) -> None:
        self._answer(with_content=False)

    def do_GET(self) -> None:
        self._answer(with_content=True)

    def _answer(self, *, with_content: bool) -> None:
        path = self.folder / self.path.lstrip("/")
        content = path.read_bytes() if path.is_file() else b""
        total = len(content)
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", "")) if self.parts else None
        if wanted:
            content = content[int(wanted[1]) : int(wanted[2]) + 1]
        self.send_response(404 if not path.is_file() else 206 if wanted else 200)
        self.send_header("Content-Length", str(len(content)))
        if wanted:
            self.send_header("Content-Range", f"bytes {wanted[1]}-{wanted[2]}/{total}")
        self.end_headers()
        if with_content:
            with suppress(ConnectionError):  # a client that asks for the size alone does not wait for the content
                self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:
        """Says nothing."""
