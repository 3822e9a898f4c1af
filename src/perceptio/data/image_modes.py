"""Turns pictures of any mode into grey or RGB with 8 bits a channel."""

from typing import TYPE_CHECKING, Literal

import numpy as np

from perceptio.errors import FileError

if TYPE_CHECKING:
    import PIL.Image

_FULL_16 = 65_535
# Fields of a TIFF, and the values that matter.
_BITS_PER_SAMPLE, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339
_WHITE_IS_ZERO, _SIGNED = 0, 2
_DIRECT = frozenset({"L", "RGB"})
_VIA_RGB = frozenset({"CMYK", "YCbCr", "HSV", "RGBX", "P", "1"})


def to_channels(image: "PIL.Image.Image", channels: Literal[1, 3]) -> "PIL.Image.Image":
    """Returns the picture in mode "L" (1 channel) or "RGB" (3 channels); always a new picture or an already fit one.

    Transparent parts are laid on white, as a page or a browser shows them: logos and drawings on transparent ground
    are usually black, and would vanish on black. Values of 16 bits (of a TIFF: of 9 to 16) are scaled and rounded,
    floats are taken to lie in [0, 1]. Grey from colour is ITU-R 601 luma, as in Pillow.

    Raises:
        FileError: the pixels have no known range, or the mode is none that a picture file holds.
    """
    target = "L" if channels == 1 else "RGB"
    if image.mode in _DIRECT and _tiff_tag(image, _SAMPLE_FORMAT) == _SIGNED:  # Pillow takes -1 for 255
        raise FileError("its pixels are signed numbers, which have no known meaning; convert it to unsigned ones")
    if image.mode == target and "transparency" not in image.info:
        return image
    if image.mode.startswith("I") or image.mode == "F":
        image = _deep_to_bytes(image)
    elif image.has_transparency_data:
        image = _on_white(image)
    elif image.mode in _VIA_RGB:
        # Straight from CMYK or a palette to grey would skip the colour conversion that both need.
        image = image.convert("L" if image.mode == "1" else "RGB")
    elif image.mode not in _DIRECT:
        raise FileError(f"its pixels are in mode {image.mode}, which is not supported; convert it to RGB")
    return image if image.mode == target else image.convert(target)


def _on_white(image: "PIL.Image.Image") -> "PIL.Image.Image":
    from PIL import Image

    layered = image.convert("RGBA")
    ground = Image.new("RGBA", layered.size, (255, 255, 255, 255))
    return Image.alpha_composite(ground, layered).convert("RGB")


def _deep_to_bytes(image: "PIL.Image.Image") -> "PIL.Image.Image":
    """Scales 16-bit whole numbers or floats in [0, 1] to bytes. Pillow's own conversion cuts off at 255."""
    from PIL import Image

    values = np.asarray(image)
    # Pillow turns white-is-zero round where pixels have 8 bits, and nowhere else.
    white_is_zero = _tiff_tag(image, _PHOTOMETRIC) == _WHITE_IS_ZERO
    if image.mode == "F":
        low, high = float(values.min()), float(values.max())
        if not (low >= 0.0 and high <= 1.0):
            raise FileError(f"its floating-point pixels go from {low:g} to {high:g}; only [0, 1] has a known meaning")
        return Image.fromarray(np.rint((1.0 - values if white_is_zero else values) * 255.0).astype(np.uint8))
    lowest, highest = int(values.min()), int(values.max())
    if lowest < 0 or highest > _FULL_16:
        raise FileError(f"its 32-bit pixels go from {lowest:,} to {highest:,}; only 0 to 65,535 has a known meaning")
    bits = _tiff_tag(image, _BITS_PER_SAMPLE)
    full = 2**bits - 1 if bits is not None and 8 < bits < 16 else _FULL_16
    shares = np.minimum(values.astype(np.uint32), full)
    return Image.fromarray((((full - shares if white_is_zero else shares) * 255 + full // 2) // full).astype(np.uint8))


def _tiff_tag(image: "PIL.Image.Image", tag: int) -> int | None:
    """Returns the first value of a TIFF's field; None of other pictures, and where it has no such field."""
    value = getattr(image, "tag_v2", {}).get(tag)
    first = value[0] if isinstance(value, tuple) and value else value
    return first if isinstance(first, int) else None
