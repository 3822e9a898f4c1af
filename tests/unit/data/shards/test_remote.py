"""Shards on a web server that misbehaves, on loopback."""

import re
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from perceptio.data.items import Member, open_file
from perceptio.data.limits import Limits
from perceptio.data.shards import remote
from perceptio.data.shards.index import index_bytes
from perceptio.data.shards.patterns import find_shards
from perceptio.data.shards.source import read_shards
from perceptio.data.shards.tables import read_tables
from perceptio.errors import DataError, FileError, MissingExtraError, UsageError
from support.shards import content_of, labels_of, read, write_tar

LIMITS = Limits()
MEMBERS = {
    f"{number:02d}.{extension}": content
    for number in range(8)
    for extension, content in (("jpg", bytes([number]) * 3001), ("cls", b"%d" % (number % 2)))
}


class Server(ThreadingHTTPServer):
    """Serves a folder; `faults` says what befalls the next requests for parts of files."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder = folder
        self.faults: list[str] = []
        self.requests: list[tuple[str, str]] = []
        self.ranges = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_HEAD(self) -> None:
        self._answer(with_content=False)

    def do_GET(self) -> None:
        self._answer(with_content=True)

    def _answer(self, *, with_content: bool) -> None:
        wanted = self.headers.get("Range", "")
        self.server.requests.append((self.command, f"{self.path} {wanted}".strip()))
        fault = self.server.faults.pop(0) if self.server.faults else ""
        path = self.server.folder / self.path.lstrip("/")
        if fault.isdigit():
            return self._status(int(fault))
        if fault == "stall":
            time.sleep(1.0)
        if not path.is_file():
            return self._status(404)
        content = path.read_bytes()
        total, tag = len(content), f'"{path.stat().st_mtime_ns}"'
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", wanted) if self.server.ranges else None
        if found:
            content = content[int(found[1]) : int(found[2]) + 1]
        self.send_response(206 if found else 200)
        self.send_header("Content-Length", str(len(content) if fault != "short" else len(content) // 2))
        self.send_header("ETag", tag)
        if found:
            self.send_header("Content-Range", f"bytes {found[1]}-{found[2]}/{total}")
        self.end_headers()
        if with_content:
            with suppress(ConnectionError):  # a client that asks for the size alone does not wait for the content
                self.wfile.write(content[: len(content) // 2] if fault in ("cut", "short") else content)
        if fault in ("cut", "stall"):
            self.close_connection = True

    def _status(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Says nothing."""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(remote, "FIRST_WAIT_SECONDS", 0.001)
    monkeypatch.setattr(remote, "SILENCE_SECONDS", 0.3)
    remote._filesystem.cache_clear()
    folder = tmp_path / "web"
    folder.mkdir()
    write_tar(folder / "a-0.tar", MEMBERS)
    write_tar(folder / "a-1.tar", {f"x{name}": content for name, content in MEMBERS.items()})
    server = Server(folder)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()
    remote._filesystem.cache_clear()


def with_index(server: Server) -> str:
    tables = read_tables(find_shards(str(server.folder), LIMITS), LIMITS)
    (server.folder / "index.jsonl").write_bytes(index_bytes([table for _, table in tables.shards]))
    (server.folder / "classes.txt").write_text("cat\ndog\n")
    return f"{server.url}/"


def test_the_same_samples_as_from_the_disk(server: Server) -> None:
    disk, web = read(server.folder), read(f"{server.url}/a-{{0..1}}.tar")
    assert web.records == disk.records
    for name in labels_of(disk):
        assert content_of(web, name) == content_of(disk, name)


def test_an_index_beside_the_shards_spares_reading_them(server: Server) -> None:
    place = with_index(server)
    server.requests.clear()
    source = read(place)
    assert len(source.records) == 16
    assert source.classes == ("cat", "dog")
    assert not [request for request in server.requests if request[1].startswith("/a-") and request[0] == "GET"]
    server.requests.clear()
    assert content_of(source, "03.jpg") == MEMBERS["03.jpg"]
    ((_, asked),) = server.requests
    start, end = map(int, re.findall(r"\d+", asked)[1:])
    assert end - start + 1 == 3001 + 512  # the member and its header, in one request


def test_a_member_larger_than_one_fetch_is_read_in_pieces(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    content = bytes(range(256)) * 100
    write_tar(server.folder / "a-0.tar", {"1.jpg": content, "1.cls": b"0", "2.jpg": b"2", "2.cls": b"1"})
    source = read(f"{server.url}/a-0.tar")
    monkeypatch.setattr(remote, "FETCH_BYTES", 1000)
    (member,) = source.load(source.records[0]).values()
    assert isinstance(member, Member)
    with open_file(member) as stream:
        assert stream.read() == content
        assert (stream.seek(-7, 2), stream.read()) == (len(content) - 7, content[-7:])
        assert (stream.seek(0), stream.read(3)) == (0, content[:3])
        with pytest.raises(OSError, match=r"cannot go 1 bytes before the beginning$"):
            stream.seek(-1)
    ranges = remote.Ranges(member.shard.url, member.shard.size, member.offset, member.size, 1000)  # type: ignore[attr-defined]
    server.requests.clear()
    assert (ranges.read(500), ranges.read(1), len(server.requests)) == (content[:500], content[500:501], 1)


@pytest.mark.parametrize("fault", ["500", "503", "429", "stall", "cut", "short"])
def test_what_passes_is_tried_again(server: Server, fault: str) -> None:
    source = read(with_index(server))
    server.faults = [fault] * 2
    server.requests.clear()
    assert content_of(source, "03.jpg") == MEMBERS["03.jpg"]
    assert len(server.requests) >= 3


def test_what_does_not_pass_stops_with_a_reason_that_is_not_the_files(server: Server) -> None:
    source = read(with_index(server))
    server.faults = ["500"] * remote.TRIES
    with pytest.raises(OSError, match=r"a-0\.tar, tried 6 times: the server answers 500$"):
        content_of(source, "03.jpg")
    server.faults = ["stall"] * remote.TRIES
    with pytest.raises(OSError, match=r"a-0\.tar, tried 6 times: the server says nothing$"):
        content_of(source, "03.jpg")
    server.faults = ["short"] * remote.TRIES
    message = r"a-0\.tar, tried 6 times: the server sends 1,756 bytes where there are 3,513$"
    with pytest.raises(OSError, match=message):
        content_of(source, "03.jpg")


def test_a_silent_server_is_waited_for_once_a_try(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "TRIES", 2)
    server.faults = ["stall"] * 1000
    began = time.monotonic()
    with pytest.raises(OSError, match=r"a-0\.tar, tried 2 times: the server says nothing$"):
        remote.look_at(f"{server.url}/a-0.tar")
    assert time.monotonic() - began < 4 * remote.SILENCE_SECONDS  # HEAD and GET would take as long each


def test_at_the_start_a_failing_server_refuses_the_run(server: Server) -> None:
    server.faults = ["500"] * 1000
    message = (
        r"^index\.jsonl: the disk or network failed \(index\.jsonl, tried 6 times: the server answers 500\)\. "
        r"That is not the file's fault, so nothing was skipped; start again once it works$"
    )
    with pytest.raises(DataError, match=message):
        read(f"{server.url}/a-0.tar")


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("404", "no such file (the server answers 404)"),
        ("403", "may not be read (the server answers 403)"),
        ("418", "cannot be read (the server answers 418)"),
    ],
)
def test_what_is_not_there_is_no_failing_server(server: Server, status: str, reason: str) -> None:
    source = read(with_index(server))
    server.faults = [status]
    with pytest.raises(FileError) as error:
        content_of(source, "03.jpg")
    assert str(error.value) == reason


def test_a_shard_that_is_not_there_is_counted_and_skipped(server: Server) -> None:
    source = read(f"{server.url}/a-{{0..2}}.tar")
    ((name, reason, cost),) = [(entry.name, entry.reason, entry.num_samples) for entry in source.skipped]
    assert (name, reason, cost) == ("a-2.tar", "no such file (the server answers 404)", 8)


def test_a_server_that_sends_whole_files_only_is_told_apart(server: Server) -> None:
    place = with_index(server)
    source = read(place)
    server.ranges = False
    reason = "its server sends whole files only (no Range requests); copy the shards to a disk or to another server"
    with pytest.raises(FileError, match=f"^{re.escape(reason)}$"):
        content_of(source, "03.jpg")


def test_a_web_folder_without_an_index_cannot_be_listed(server: Server) -> None:
    message = (
        r"^http://127\.0\.0\.1:\d+/ holds no index\.jsonl, and a web server cannot be asked for its files; name the "
        r"shards, as in http://127\.0\.0\.1:\d+/photos-\{000000\.\.000099\}\.tar, or put index\.jsonl beside them "
        r"\(perceptio data pack writes it\)$"
    )
    with pytest.raises(UsageError, match=message):
        read(f"{server.url}/")


def test_an_index_that_is_out_of_date_is_noticed(server: Server) -> None:
    place = with_index(server)
    write_tar(server.folder / "a-1.tar", {"new.jpg": b"n", "new.cls": b"0"})
    source = read(place)
    assert "new.jpg" in labels_of(source)
    assert "index.jsonl is out of date for 1 shards, which were read anew" in source.notes


def test_a_shard_that_changes_under_a_run_gives_no_wrong_bytes(server: Server) -> None:
    source = read(with_index(server))
    write_tar(server.folder / "a-0.tar", {f"y{name}": content for name, content in MEMBERS.items()})
    with pytest.raises(FileError, match=r"^its shard is another one than was indexed"):
        content_of(source, "03.jpg")


def test_a_server_that_does_not_say_how_large_a_file_is(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"{server.url}/a-0.tar"
    monkeypatch.setattr(remote.filesystem(url), "info", lambda url, timeout: {"size": None})
    message = r"^the server does not say how large it is, so that no part of it can be asked for$"
    with pytest.raises(FileError, match=message):
        remote.look_at(url)
    monkeypatch.setattr(remote.filesystem(url), "info", lambda url, timeout: {"size": 7, "partial": False})
    with pytest.raises(DataError, match=r"^http://127\.0\.0\.1:\d+ does not serve parts of files \(HTTP Range\)"):
        remote.look_at(url)


def test_an_index_that_is_too_large_is_not_fetched(server: Server) -> None:
    place = with_index(server)
    size = (server.folder / "index.jsonl").stat().st_size
    reason = f"has {size:,} bytes; the limit is {size - 1:,} (--source.limits.max-shard-index-bytes)"
    small = Limits(max_shard_index_bytes=size - 1)
    assert len(read_shards(place, Limits(max_shard_index_bytes=size)).records) == 16
    with pytest.raises(DataError, match=f"^{re.escape(f'index.jsonl {reason}')}$"):
        read_shards(place, small)
    source = read_shards(f"{server.url}/a-{{0..1}}.tar", small)
    assert len(source.records) == 16
    assert f"index.jsonl is not used: {reason}" in source.notes


def test_class_names_that_are_too_large_are_not_fetched(server: Server) -> None:
    place = with_index(server)
    limits = Limits(max_classes=2, max_name_characters=4)
    assert read_shards(place, limits).classes == ("cat", "dog")
    (server.folder / "classes.txt").write_text("cat\ndog\n" + "\n" * 40)
    message = (
        r"^classes\.txt has 48 bytes; the limit is 36 \(--source\.limits\.max-classes times max-name-characters\)$"
    )
    with pytest.raises(DataError, match=message):
        read_shards(place, limits)


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    remote._filesystem.cache_clear()
    with pytest.raises(UsageError, match=r"^reading s3:// needs one more package: .*s3fs"):
        remote.filesystem("s3://bucket/a.tar")
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(MissingExtraError, match=r"^reading shards by URL needs .*: pip install 'perceptio\[remote\]'$"):
        remote.filesystem("http://host/a.tar")
