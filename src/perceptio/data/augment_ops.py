"""The sixteen operations of RandAugment on pictures of bytes, mode "L" or "RGB".

They do what those of tensorflow/tpu's autoaugment.py do, which the official Perceiver code uses, with Pillow's means.
Pixels that come into view from outside are grey (128). An operation gets its argument in its own unit.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import PIL.Image

FILL = 128
_SOLARIZE_ADD_BELOW = 128


def auto_contrast(image: "PIL.Image.Image") -> "PIL.Image.Image":
    """Stretches each channel so that its darkest value becomes 0 and its brightest 255."""
    from PIL import ImageOps

    return ImageOps.autocontrast(image)


def equalize(image: "PIL.Image.Image") -> "PIL.Image.Image":
    """Spreads the values of each channel so that all are about as frequent."""
    from PIL import ImageOps

    return ImageOps.equalize(image)


def invert(image: "PIL.Image.Image") -> "PIL.Image.Image":
    """Turns each value v into 255 - v."""
    from PIL import ImageOps

    return ImageOps.invert(image)


def posterize(image: "PIL.Image.Image", num_bits: int) -> "PIL.Image.Image":
    """Keeps the highest bits of each value, 0 to 8; the others become 0."""
    mask = 256 - (1 << (8 - num_bits))
    return _mapped(image, [value & mask for value in range(256)])


def solarize(image: "PIL.Image.Image", threshold: int) -> "PIL.Image.Image":
    """Inverts values at or above the threshold, 0 to 256."""
    return _mapped(image, [value if value < threshold else 255 - value for value in range(256)])


def solarize_add(image: "PIL.Image.Image", addition: int) -> "PIL.Image.Image":
    """Adds to values below 128, up to 255."""
    return _mapped(
        image,
        [min(255, max(0, value + addition)) if value < _SOLARIZE_ADD_BELOW else value for value in range(256)],
    )


def color(image: "PIL.Image.Image", factor: float) -> "PIL.Image.Image":
    """Mixes with the grey version: 0 is grey, 1 unchanged, above 1 more colourful."""
    from PIL import ImageEnhance

    return ImageEnhance.Color(image).enhance(factor)


def contrast(image: "PIL.Image.Image", factor: float) -> "PIL.Image.Image":
    """Mixes with a uniform picture of the mean grey value: 0 is uniform, 1 unchanged, above 1 more contrast.

    Differs from the official code, which takes the number of pixels divided by 256 for the mean (a slip that makes
    large pictures white). At the paper's magnitude 5 the factor is 1 and both change nothing.
    """
    from PIL import ImageEnhance

    return ImageEnhance.Contrast(image).enhance(factor)


def brightness(image: "PIL.Image.Image", factor: float) -> "PIL.Image.Image":
    """Mixes with black: 0 is black, 1 unchanged, above 1 brighter."""
    from PIL import ImageEnhance

    return ImageEnhance.Brightness(image).enhance(factor)


def sharpness(image: "PIL.Image.Image", factor: float) -> "PIL.Image.Image":
    """Mixes with a smoothed version (3 x 3, centre 5): 0 is smooth, 1 unchanged, above 1 sharper. Edges stay."""
    from PIL import ImageEnhance

    return ImageEnhance.Sharpness(image).enhance(factor)


def rotate(image: "PIL.Image.Image", degrees: float) -> "PIL.Image.Image":
    """Turns the picture about its centre, counter-clockwise; the nearest pixel counts."""
    return image.rotate(degrees, fillcolor=_grey(image))


def shear_x(image: "PIL.Image.Image", level: float) -> "PIL.Image.Image":
    """Shifts each row to the left, by `level` pixels more than the row above it."""
    return _moved(image, (1.0, level, 0.0, 0.0, 1.0, 0.0))


def shear_y(image: "PIL.Image.Image", level: float) -> "PIL.Image.Image":
    """Shifts each column upwards, by `level` pixels more than the column left of it."""
    return _moved(image, (1.0, 0.0, 0.0, level, 1.0, 0.0))


def translate_x(image: "PIL.Image.Image", pixels: float) -> "PIL.Image.Image":
    """Shifts the picture to the left."""
    return _moved(image, (1.0, 0.0, pixels, 0.0, 1.0, 0.0))


def translate_y(image: "PIL.Image.Image", pixels: float) -> "PIL.Image.Image":
    """Shifts the picture upwards."""
    return _moved(image, (1.0, 0.0, 0.0, 0.0, 1.0, pixels))


def cutout(image: "PIL.Image.Image", reach: int, centre: tuple[int, int]) -> "PIL.Image.Image":
    """Puts a grey square over the picture that reaches so many pixels from (row, column) to each side."""
    row, column = centre
    left, top = max(0, column - reach), max(0, row - reach)
    right, bottom = min(image.width, column + reach), min(image.height, row + reach)
    image = image.copy()
    if right > left and bottom > top:
        image.paste(_grey(image), (left, top, right, bottom))
    return image


def _grey(image: "PIL.Image.Image") -> int | tuple[int, ...]:
    return FILL if image.mode == "L" else (FILL,) * 3


def _mapped(image: "PIL.Image.Image", table: list[int]) -> "PIL.Image.Image":
    return image.point(table * len(image.getbands()))


def _moved(image: "PIL.Image.Image", matrix: tuple[float, ...]) -> "PIL.Image.Image":
    """Fetches output pixel (x, y) from (a x + b y + c, d x + e y + f) of the input, from the nearest pixel there."""
    return image.transform(image.size, _affine(), matrix, fillcolor=_grey(image))


def _affine() -> "PIL.Image.Transform":
    from PIL import Image

    return Image.Transform.AFFINE
