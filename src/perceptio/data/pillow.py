"""The one door to Pillow: imported when first needed, quiet, and with its exceptions translated."""

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

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
    """Silences Pillow's warnings while any thread is inside.

    `warnings.catch_warnings` alone is not enough: it swaps process-wide state, and threads that leave in another order
    than they came would leave it swapped for ever. So the first thread in swaps and the last one out restores.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._num_inside = 0
        self._swap = warnings.catch_warnings()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            if self._num_inside == 0:
                self._swap = warnings.catch_warnings()
                self._swap.__enter__()
                warnings.filterwarnings("ignore", module=r"PIL(\.|$)")
            self._num_inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._num_inside -= 1
                if self._num_inside == 0:
                    self._swap.__exit__(None, None, None)


quiet_pillow = _Silence().__call__
"""Context without Pillow's warnings (bombs, odd EXIF, odd palettes): what matters becomes a FileError."""
