"""Decodes image files of every common kind into grey or RGB pictures, and refuses all others in one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import numpy as np

from perceptio.data.failures import as_file_error
from perceptio.data.image_modes import to_channels
from perceptio.data.image_sniffing import declared_format, read_head, why_not_an_image
from perceptio.data.items import File, Item, open_file
from perceptio.data.limits import Limits, check_file
from perceptio.data.names import printable
from perceptio.data.pillow import FORMATS, pillow_image, quiet_pillow
from perceptio.errors import FileError

if TYPE_CHECKING:
    import PIL.Image

_ORIENTATION = 0x0112
_SIDEWAYS = frozenset({5, 6, 7, 8})
_SHOWN = 120


def decode_image(item: Item, channels: Literal[1, 3], limits: Limits) -> "PIL.Image.Image":
    """Decodes a picture to 8 bits a channel, mode "L" (1 channel) or "RGB" (3 channels).

    The EXIF orientation is applied, the first frame of an animation or of several pages is taken, transparent parts
    are laid on white, 16-bit values are scaled to 8 bits and not cut off (see `image_modes`).

    Args:
        item: a file, or bytes (height, width), (height, width, 1), (height, width, 3) or (height, width, 4).
        channels: 1 for grey, 3 for red, green, blue.

    Raises:
        FileError: the file is no image, damaged, truncated, or larger than the limits allow. One line, without a path.
        MissingExtraError: Pillow is not installed.
        OSError: the disk or the network failed, which says nothing about the file.
    """
    if isinstance(item, np.ndarray):
        return to_channels(_from_array(item), channels)
    with _opened(item, limits) as image:
        image.load()
        # A frame may declare another size than the file did, and a TIFF is turned while it loads.
        _check_size(image, limits)
        return _turned(to_channels(image, channels), _orientation(image))


def probe_image(file: File, limits: Limits) -> tuple[int, int]:
    """Returns (height, width) in pixels, upright, from the header alone: quick, and it proves little about the rest.

    Raises:
        FileError, MissingExtraError, OSError: as `decode_image`.
    """
    with _opened(file, limits) as image:
        width, height = image.size
        return (width, height) if _declared_orientation(image) in _SIDEWAYS else (height, width)


def is_animated(file: File, limits: Limits) -> bool:
    """Returns whether an image has frames beyond the first, which is read; raises as `probe_image`."""
    with _opened(file, limits) as image:
        return bool(getattr(image, "is_animated", False))


@contextmanager
def _opened(file: File, limits: Limits) -> Iterator["PIL.Image.Image"]:
    """Opens an image whose file and declared size have been checked, and turns every failure into a FileError."""
    module = pillow_image()
    num_bytes = check_file(file, None, limits)
    if num_bytes > limits.max_image_file_bytes:
        raise FileError(
            f"image file of {num_bytes:,} bytes; the limit is {limits.max_image_file_bytes:,} "
            "(--source.limits.max-image-file-bytes)"
        )
    with quiet_pillow(limits.max_image_pixels):
        try:
            with open_file(file) as stream, module.open(stream, formats=FORMATS) as image:
                _check_size(image, limits)
                yield image
        except FileError:
            raise
        except module.DecompressionBombError as error:
            raise FileError(
                f"declares more pixels than the limit of {limits.max_image_pixels:,} (--source.limits.max-image-pixels)"
            ) from error
        except Exception as error:
            # What a decoder raises depends on the bytes of the file; any kind has been seen (Pillow's own fuzzing
            # lists eight). Only what the system says about the disk is not the file's fault.
            if isinstance(error, OSError) and error.errno is not None:
                raise as_file_error(error) from error
            raise FileError(_reason(error, file, num_bytes)) from error


def _check_size(image: "PIL.Image.Image", limits: Limits) -> None:
    width, height = image.size
    if max(width, height) > limits.max_image_side:
        raise FileError(
            f"declares {width:,} x {height:,} pixels; the limit is {limits.max_image_side:,} a side "
            "(--source.limits.max-image-side)"
        )
    if width * height > limits.max_image_pixels:
        raise FileError(
            f"declares {width:,} x {height:,} = {width * height:,} pixels; the limit is {limits.max_image_pixels:,} "
            "(--source.limits.max-image-pixels)"
        )


def _reason(error: Exception, file: File, num_bytes: int) -> str:
    """Returns why Pillow gave up, in one line without the path."""
    head = read_head(file)
    name = declared_format(head)
    if name is None:
        return why_not_an_image(head)
    cut_short = name == "WEBP" and num_bytes < 8 + int.from_bytes(head[4:8], "little")
    if cut_short or isinstance(error, EOFError) or "truncated" in str(error).lower():
        return f"truncated {name} file: it ends after {num_bytes:,} bytes"
    if type(error).__name__ == "UnidentifiedImageError":
        return why_not_an_image(head)
    message = printable(" ".join(str(error).split()))[:_SHOWN]
    return f"damaged {name} file: {message or type(error).__name__}"


def _from_array(array: np.ndarray) -> "PIL.Image.Image":
    if array.dtype != np.uint8:
        raise FileError(f"an image array must hold bytes (uint8), not {array.dtype}; scale it to 0 to 255 first")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.size == 0 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))):
        raise FileError(
            f"an image array must be (height, width) or (height, width, 1, 3 or 4), not {array.shape}; channels come "
            "last"
        )
    image: PIL.Image.Image = pillow_image().fromarray(np.ascontiguousarray(array))
    return image


def _orientation(image: "PIL.Image.Image") -> int:
    """Returns the EXIF orientation, 1 to 8. Damaged EXIF is no reason to refuse a picture: it counts as upright."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # of any kind, as in `_opened`: EXIF is parsed from the file's own bytes
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _declared_orientation(image: "PIL.Image.Image") -> int:
    """Returns the orientation that `image.size` does not show yet, without decoding anything."""
    if image.format == "TIFF":
        return 1  # Pillow swaps the size of a sideways TIFF when it opens it.
    if image.format == "PNG" and "exif" not in image.info:
        return 1  # getexif() would decode the whole file to look behind the pixels.
    return _orientation(image)


def _turned(image: "PIL.Image.Image", orientation: int) -> "PIL.Image.Image":
    if orientation == 1:
        return image
    transpose = pillow_image().Transpose
    turn = (
        transpose.FLIP_LEFT_RIGHT,
        transpose.ROTATE_180,
        transpose.FLIP_TOP_BOTTOM,
        transpose.TRANSPOSE,
        transpose.ROTATE_270,
        transpose.TRANSVERSE,
        transpose.ROTATE_90,
    )[orientation - 2]
    return image.transpose(turn)
