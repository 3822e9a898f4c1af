"""Keeps the points drawn from meshes in the user's cache folder: reading a mesh takes far longer than a view of it.

An entry depends on the file as it was (place, size, time of the last change) and on how points were drawn. The folder
may be deleted at any time. Whatever goes wrong with it costs time and nothing else.
"""

import contextlib
import hashlib
import io
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from perceptio.data.point_rows import read_npy
from perceptio.errors import FileError

FORMAT_VERSION = 1
"""Raised whenever the same file and settings give other points than before."""
_HEADER_BYTES = 4096


@dataclass(frozen=True)
class CloudCache:
    """Clouds as .npy files in one folder. Any number of processes may use it at once."""

    folder: Path

    @classmethod
    def of_user(cls) -> "CloudCache | None":
        """Returns the user's cache, `perceptio/clouds` below XDG_CACHE_HOME or ~/.cache; None: there is no home."""
        given = os.environ.get("XDG_CACHE_HOME", "")
        try:
            # A relative path is to be ignored, says the XDG specification.
            base = Path(given) if Path(given).is_absolute() else Path.home() / ".cache"
        except RuntimeError:
            return None
        return cls(base / "perceptio" / "clouds")

    def key(self, path: Path, settings: str) -> str | None:
        """Returns the name of the entry of a file and of how points are drawn from it; None if the file is not there.

        Args:
            settings: everything that the points depend on besides the file.
        """
        try:
            resolved = path.resolve()
            status = resolved.stat()
        except (OSError, RuntimeError):
            return None
        parts = (str(FORMAT_VERSION), os.fspath(resolved), str(status.st_size), str(status.st_mtime_ns), settings)
        text = "\0".join(parts).encode("utf-8", "surrogateescape")
        return hashlib.blake2b(text, digest_size=20).hexdigest()

    def read(self, key: str, max_points: int, channels: int) -> np.ndarray | None:
        """Returns the points of an entry, float32 (1 to `max_points`, `channels`); None: none is sound."""
        try:
            with self._path(key).open("rb") as file:
                content = file.read(max_points * channels * 4 + _HEADER_BYTES)
            points = read_npy(content)
        except (OSError, FileError):
            return None
        is_sound = points.dtype == np.float32 and points.ndim == 2 and points.shape[1] == channels
        if not is_sound or not 1 <= len(points) <= max_points or not np.isfinite(points).all():
            return None
        return points

    def write(self, key: str, points: np.ndarray) -> None:
        """Keeps points, float32 (n, channels). Others see all of an entry or none; a full folder is let be."""
        stream = io.BytesIO()
        np.save(stream, points, allow_pickle=False)
        unfinished: Path | None = None
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            number, name = tempfile.mkstemp(prefix=".unfinished-", dir=self.folder)
            unfinished = Path(name)
            with os.fdopen(number, "wb") as file:
                file.write(stream.getbuffer())
            unfinished.replace(self._path(key))
        except OSError:
            if unfinished is not None:
                with contextlib.suppress(OSError):
                    unfinished.unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.npy"
