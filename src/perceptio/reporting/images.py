"""Pictures of samples: checked, brought to RGB, scaled without blur, and put into a page."""

import base64
import io

import numpy as np

from perceptio.errors import MissingExtraError

_EXACT_PIXELS = 96
_JPEG_QUALITY = 88
_SIGNATURES = {
    b"\x89PNG": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF8": "image/gif",
    b"RIFF": "image/webp",
}


def to_rgb(image: np.ndarray) -> np.ndarray:
    """Returns a (height, width, 3) uint8 picture of a (height, width, 1 or 3) one.

    Raises:
        ValueError: another shape or dtype.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in (1, 3) or 0 in image.shape:
        raise ValueError(
            f"a picture must be uint8 (height, width, 1 or 3): got {image.dtype} {image.shape}. "
            "Undo the normalisation, scale to 0..255 and put the channels last."
        )
    return np.broadcast_to(image, (*image.shape[:2], 3))


def scale_nearest(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Returns the first two axes resampled to height x width by repeating or dropping whole pixels."""
    rows = np.arange(height) * image.shape[0] // height
    columns = np.arange(width) * image.shape[1] // width
    scaled: np.ndarray = image[rows][:, columns]
    return scaled


def encode_picture(image: np.ndarray, longest: int) -> bytes:
    """Returns a uint8 (height, width, 1 or 3) picture as a file, its longer side reduced to at most `longest` pixels.

    Small ones are PNG, so that every pixel the model sees stays what it is; others PNG or JPEG, whichever is smaller.

    Raises:
        MissingExtraError: Pillow is not installed or cannot be loaded.
    """
    try:
        from PIL import Image
    except (ImportError, OSError, RuntimeError) as error:
        raise MissingExtraError("writing pictures", "report") from error
    picture = Image.fromarray(np.ascontiguousarray(to_rgb(image)))
    picture.thumbnail((longest, longest), Image.Resampling.BOX)
    exact, lossy = io.BytesIO(), io.BytesIO()
    picture.save(exact, format="PNG", optimize=True)
    if max(picture.size) <= _EXACT_PIXELS:
        return exact.getvalue()
    picture.save(lossy, format="JPEG", quality=_JPEG_QUALITY, optimize=True)
    return min(exact.getvalue(), lossy.getvalue(), key=len)


def data_uri(content: bytes) -> str:
    """Returns an image file as a data URI, its kind taken from its first bytes.

    Raises:
        ValueError: not a PNG, JPEG, GIF or WebP file.
    """
    for signature, kind in _SIGNATURES.items():
        if content.startswith(signature):
            return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
    raise ValueError(
        f"a picture of the report must be PNG, JPEG, GIF or WebP: it begins with {content[:8]!r}. Save it as PNG."
    )
