"""Small sets of shards."""

from collections.abc import Callable
from pathlib import Path

import pytest

from support.shards import write_tar


@pytest.fixture
def make_shards(tmp_path: Path) -> Callable[..., Path]:
    """Writes shards, given members by shard, into a folder."""

    def make(shards: dict[str, dict[str, bytes]], classes: str = "") -> Path:
        folder = tmp_path / "set"
        folder.mkdir(exist_ok=True)
        for name, members in shards.items():
            write_tar(folder / name, members)
        if classes:
            (folder / "classes.txt").write_text(classes, encoding="utf-8")
        return folder

    return make
