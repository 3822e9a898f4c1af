"""A server that answers a request for a part of a file with the whole file, as Python's own http.server does."""

import re
from pathlib import Path

import pytest

from perceptio.data.limits import Limits
from perceptio.data.shards import remote
from perceptio.data.shards.index import index_bytes
from perceptio.data.shards.patterns import find_shards
from perceptio.data.shards.tables import read_tables
from perceptio.errors import DataError
from perceptio.runs.config import SourceConfig
from perceptio.runs.data import survey_data
from support.shards import read, write_tar
from support.web import served

MEMBERS = {
    f"{number:02d}.{extension}": content
    for number in range(8)
    for extension, content in (("jpg", bytes([number]) * 3001), ("cls", b"%d" % (number % 2)))
}


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Two shards without an index."""
    for number in range(2):
        write_tar(tmp_path / f"a-{number}.tar", {f"{number}{name}": content for name, content in MEMBERS.items()})
    return tmp_path


def write_index(folder: Path) -> None:
    tables = read_tables(find_shards(str(folder), Limits()), Limits())
    (folder / "index.jsonl").write_bytes(index_bytes([table for _, table in tables.shards]))


@pytest.mark.parametrize("indexed", [True, False])
def test_it_is_said_once_and_before_any_sample(shards: Path, indexed: bool) -> None:
    if indexed:
        write_index(shards)
    with served(shards, parts=False) as url:
        message = (
            f"{url[:-1]} does not serve parts of files (HTTP Range), without which no sample of a shard can be read; "
            "copy the shards to a disk or to another server"
        )
        place = url if indexed else f"{url}a-{{0..1}}.tar"
        with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
            survey_data(place, SourceConfig(remember=False))


def test_a_server_that_serves_parts_is_known_and_read(shards: Path) -> None:
    write_index(shards)
    with served(shards) as url:
        assert len(read(url).records) == 16
        assert url[:-1] in remote._SERVING_PARTS
        assert len(read(f"{url}a-{{0..1}}.tar").records) == 16
