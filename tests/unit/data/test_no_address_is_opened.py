"""A file that names an address is read or refused, and nobody calls there: a server on loopback is the trap."""

import json
import socket
import threading
import urllib.request
from collections.abc import Iterator

import pytest

from support.fuzzing import read_as_the_product_does


@pytest.fixture
def trap() -> Iterator[tuple[str, list[object]]]:
    """Yields an address and a list that grows with each connection to it."""
    visits: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, caller = server.accept()
                except OSError:
                    return
                visits.append(caller)
                with connection:
                    connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", visits
        server.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def atom(kind: bytes, *parts: bytes) -> bytes:
    content = b"".join(parts)
    return (len(content) + 8).to_bytes(4, "big") + kind + content


def reference_movie(address: str) -> bytes:
    """A QuickTime file whose film lies elsewhere."""
    place = f"{address}/a.mov\0".encode()
    reference = atom(b"rdrf", bytes(4), b"url ", len(place).to_bytes(4, "big"), place)
    return atom(b"ftyp", b"qt  ", bytes(4)) + atom(b"moov", atom(b"rmra", atom(b"rmda", reference)))


def scene(address: str) -> bytes:
    return json.dumps(
        {
            "asset": {"version": "2.0"},
            "buffers": [{"uri": f"{address}/a.bin", "byteLength": 36}],
            "bufferViews": [{"buffer": 0, "byteLength": 36}],
            "accessors": [{"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"}],
            "images": [{"uri": f"{address}/a.png"}],
            "meshes": [{"primitives": [{"attributes": {"POSITION": 0}}]}],
            "nodes": [{"mesh": 0}],
            "scenes": [{"nodes": [0]}],
        }
    ).encode()


TEXTS = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{}/a.ts\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile {}/a.mp4\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period>'
    '<BaseURL>{}/</BaseURL><AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1">'
    "<BaseURL>a.mp4</BaseURL></Representation></AdaptationSet></Period></MPD>",
    "asx": '<asx version="3.0"><entry><ref href="{}/a.mp3"/></entry></asx>',
    "svg": '<svg xmlns="http://www.w3.org/2000/svg"><image href="{}/a.png"/></svg>',
    "vrml": '#VRML V2.0 utf8\nInline {{ url "{0}/a.wrl" }}\nShape {{ appearance Appearance {{ texture ImageTexture {{ '
    'url "{0}/a.png" }} }} geometry Box {{ }} }}\n',
    "obj": "mtllib {}/a.mtl\nusemtl m\nv 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n",
    "table": "file,label\n{}/a.png,x\n",
}


@pytest.mark.parametrize(
    ("format", "text"),
    [
        *((media, text) for media in ("mp4", "mkv", "mp3", "wav") for text in ("hls", "concat", "dash", "asx")),
        *((format, "svg") for format in ("png", "jpeg", "webp", "gif")),
        ("wrl", "vrml"),
        ("obj", "obj"),
        ("csv", "table"),
    ],
)  # fmt: skip
def test_a_text_that_names_an_address(trap: tuple[str, list[object]], format: str, text: str) -> None:
    address, visits = trap
    assert read_as_the_product_does(format, TEXTS[text].format(address).encode())["fault"] == ""
    assert visits == []


@pytest.mark.parametrize(("format", "make"), [("mov", reference_movie), ("mp4", reference_movie), ("gltf", scene)])
def test_a_file_whose_content_lies_at_an_address(trap: tuple[str, list[object]], format: str, make) -> None:
    address, visits = trap
    answer = read_as_the_product_does(format, make(address))
    assert answer["fault"] == ""
    assert answer["reason"]
    assert visits == []


def test_the_trap_notices_who_calls(trap: tuple[str, list[object]]) -> None:
    address, visits = trap
    with urllib.request.urlopen(f"{address}/a.png") as answer:
        assert answer.status == 200
    assert len(visits) == 1
