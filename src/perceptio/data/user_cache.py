"""The user's cache folder: what may be lost at any time, and costs no more than time."""

import contextlib
import os
import tempfile
from pathlib import Path


def user_cache(name: str) -> Path | None:
    """Returns the folder `perceptio/NAME` below XDG_CACHE_HOME or ~/.cache, made or not; None: there is no home."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    try:
        # A relative path is to be ignored, says the XDG specification.
        base = Path(given) if Path(given).is_absolute() else Path.home() / ".cache"
    except RuntimeError:
        return None
    return base / "perceptio" / name


def keep(path: Path, content: bytes | memoryview) -> None:
    """Writes an entry. Others see all of it or none; a folder that is full or may not be written is let be."""
    unfinished: Path | None = None
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        number, name = tempfile.mkstemp(prefix=".unfinished-", dir=path.parent)
        unfinished = Path(name)
        with os.fdopen(number, "wb") as file:
            file.write(content)
        unfinished.replace(path)
    except OSError:
        if unfinished is not None:
            with contextlib.suppress(OSError):
                unfinished.unlink(missing_ok=True)
