"""Fixtures for the tests of perceptio.data: small folders and pictures, made on the spot."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from perceptio.data.limits import Limits
from support.shards import through_shard

MakeTree = Callable[..., Path]


@pytest.fixture
def limits() -> Limits:
    return Limits()


@pytest.fixture
def make_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeTree:
    """Makes files below a folder in the current one; the content of each is its name, unless bytes are given."""
    monkeypatch.chdir(tmp_path)

    def make(*names: str, content: bytes | None = None, root: str = "photos") -> Path:
        for name in names:
            path = tmp_path / root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if name.endswith("/"):
                path.mkdir(exist_ok=True)
            else:
                path.write_bytes(name.encode() if content is None else content)
        return tmp_path / root

    return make


@pytest.fixture
def picture() -> np.ndarray:
    """A colour picture of 23 x 37 pixels without symmetry."""
    rows, columns = np.mgrid[0:23, 0:37]
    return np.stack([rows * 11, columns * 6, (rows * 37 + columns) % 251], axis=-1).astype(np.uint8)


@pytest.fixture
def image(picture: np.ndarray) -> Image.Image:
    return Image.fromarray(picture)


def encoded(image: Image.Image, format: str, **options) -> bytes:
    if format == "WEBP":
        options["lossless"] = True
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


@pytest.fixture
def save(tmp_path: Path):
    def save(content: bytes | Image.Image, name: str = "a.png", format: str = "PNG", **options) -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else encoded(content, format, **options))
        return path

    return save


@pytest.fixture(params=["disk", "shard"])
def either_place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path_factory) -> None:
    """Runs a test twice: with files on disk, and with the same files as members of shards.

    The test's module names in `READERS` what it reads files with.
    """
    if request.param == "shard":
        folder = tmp_path_factory.mktemp("shards")
        for name in request.module.READERS:
            monkeypatch.setattr(request.module, name, through_shard(getattr(request.module, name), folder))
