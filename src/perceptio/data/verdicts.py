"""Remembers in the user's cache folder which files were found to be good, so that a second start need not look again.

An entry depends on the files as they were (place, size, time of the last change) and on how they were looked at. Bad
files are not remembered: what was wrong may have been the machine's fault. The folder may be deleted at any time, and
whatever goes wrong with it costs time and nothing else.
"""

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perceptio.data.user_cache import keep, user_cache
from perceptio.json_values import parse_json

FORMAT_VERSION = 2
"""Raised whenever looking at the same file may tell something else than before."""
_MAX_BYTES = 2**30
_KEPT_SECONDS = 90 * 24 * 3600


@dataclass(frozen=True)
class VerdictCache:
    """Facts about good samples, one file for each set of samples and way of looking at them."""

    folder: Path

    @classmethod
    def of_user(cls) -> "VerdictCache | None":
        """Returns the user's cache, `perceptio/verdicts` below XDG_CACHE_HOME or ~/.cache; None: there is no home."""
        folder = user_cache("verdicts")
        return None if folder is None else cls(folder)

    def read(self, key: str) -> dict[str, Any]:
        """Returns the facts of good samples by their version; nothing where there is no sound entry."""
        found: dict[str, Any] = {}
        try:
            with self._path(key).open("rb") as file:
                if os.fstat(file.fileno()).st_size > _MAX_BYTES:
                    return {}
                for line in file:
                    version, facts = parse_json(line)
                    found[str(version)] = facts
        except (OSError, ValueError, TypeError):
            return {}
        return found

    def write(self, key: str, facts: Mapping[str, Any]) -> None:
        """Keeps the facts of good samples by version. Others see all of it or none; a full folder is let be."""
        keep(self._path(key), "".join(json.dumps(entry) + "\n" for entry in facts.items()).encode())
        with contextlib.suppress(OSError):
            self._forget_old()

    def _forget_old(self) -> None:
        for path in self.folder.iterdir():
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > _KEPT_SECONDS:
                    path.unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self.folder / f"{digest(str(FORMAT_VERSION), key)}.jsonl"


def digest(*parts: str) -> str:
    """Returns a name for some texts."""
    return hashlib.blake2b("\0".join(parts).encode("utf-8", "surrogateescape"), digest_size=20).hexdigest()
