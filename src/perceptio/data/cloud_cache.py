"""Keeps the points drawn from meshes in the user's cache folder: reading a mesh takes far longer than a view of it.

An entry depends on the file as it was (place, size, time of the last change) and on how points were drawn. The folder
may be deleted at any time. Whatever goes wrong with it costs time and nothing else.
"""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from perceptio.data.items import File, version_of
from perceptio.data.point_rows import read_npy
from perceptio.data.user_cache import keep, user_cache
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
        folder = user_cache("clouds")
        return None if folder is None else cls(folder)

    def key(self, file: File, settings: str) -> str | None:
        """Returns the name of the entry of a file and of how points are drawn from it; None if the file is not there.

        Args:
            settings: everything that the points depend on besides the file.
        """
        try:
            version = version_of(file)
        except (OSError, RuntimeError):
            return None
        text = "\0".join((str(FORMAT_VERSION), version, settings)).encode("utf-8", "surrogateescape")
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
        keep(self._path(key), stream.getbuffer())

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.npy"
