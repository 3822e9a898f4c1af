"""The one door to Pillow: imported when first needed, quiet, and with its exceptions translated."""

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from perceptio.errors import MissingExtraError

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
"""The formats that are opened. Pillow knows more, some of which run other programs (EPS) or reach far (FITS, WMF)."""


def pillow_image() -> ModuleType:
    """Returns the module PIL.Image.

    Raises:
        MissingExtraError: Pillow is not installed, or its libraries do not load.
    """
    try:
        import PIL.Image
    except (ImportError, OSError, RuntimeError) as error:
        raise MissingExtraError("reading images", "image") from error
    return PIL.Image


class _Silence:
    """Silences Pillow's warnings, and sets its own limit of pixels, while any thread is inside.

    Both are process-wide state, and threads that leave in another order than they came would leave it changed for ever.
    So the first thread in changes it and the last one out restores it. Of threads with several limits of pixels the
    latest has its way: Pillow's limit is a second wall, at twice as many.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._num_inside = 0
        self._swap = warnings.catch_warnings()
        self._most_pixels: int | None = None

    @contextmanager
    def __call__(self, most_pixels: int) -> Iterator[None]:
        module: Any = pillow_image()
        with self._lock:
            if self._num_inside == 0:
                self._swap = warnings.catch_warnings()
                self._swap.__enter__()
                warnings.filterwarnings("ignore", module=r"PIL(\.|$)")
                self._most_pixels = module.MAX_IMAGE_PIXELS
            self._num_inside += 1
            module.MAX_IMAGE_PIXELS = most_pixels
        try:
            yield
        finally:
            with self._lock:
                self._num_inside -= 1
                if self._num_inside == 0:
                    self._swap.__exit__(None, None, None)
                    module.MAX_IMAGE_PIXELS = self._most_pixels


quiet_pillow = _Silence().__call__
"""Context without Pillow's warnings (bombs, odd EXIF, odd palettes), for images of so many pixels: what matters becomes
a FileError."""
