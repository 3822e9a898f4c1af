import struct

import numpy as np
import pytest
from PIL import Image

from perceptio.data.image_files import decode_image, probe_image
from perceptio.data.limits import Limits
from perceptio.errors import FileError

READERS = ("decode_image", "probe_image")
pytestmark = pytest.mark.usefixtures("either_place")

LOSSLESS = ("PNG", "GIF", "BMP", "TIFF", "PPM", "WEBP")


def decoded(item, channels: int = 3, limits: Limits | None = None) -> np.ndarray:
    image = decode_image(item, channels, limits or Limits())
    assert image.mode == ("RGB" if channels == 3 else "L")
    return np.asarray(image)


@pytest.mark.parametrize("format", LOSSLESS)
def test_lossless_colour(save, picture: np.ndarray, format: str) -> None:
    colours = picture if format != "GIF" else (picture // 128 * 255).astype(np.uint8)  # 8 colours fit a palette
    path = save(Image.fromarray(colours), format=format)
    np.testing.assert_array_equal(decoded(path), colours)
    assert probe_image(path, Limits()) == (23, 37)


def test_jpeg(save) -> None:
    colours = np.full((23, 37, 3), (200, 30, 90), np.uint8)
    np.testing.assert_allclose(decoded(save(Image.fromarray(colours), format="JPEG")), colours, atol=3)


@pytest.mark.parametrize("format", ["PNG", "GIF", "BMP", "TIFF", "PPM"])
def test_grey(save, picture: np.ndarray, format: str) -> None:
    grey = picture[:, :, 2]
    path = save(Image.fromarray(grey), format=format)
    np.testing.assert_array_equal(decoded(path, 1), grey)
    np.testing.assert_array_equal(decoded(path, 3), np.stack([grey] * 3, axis=-1))


def test_grey_from_colour_is_luma(save, image: Image.Image, picture: np.ndarray) -> None:
    luma = picture @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(decoded(save(image), 1), luma, atol=1)


def test_transparent_parts_lie_on_white(save, image: Image.Image, picture: np.ndarray) -> None:
    alpha = np.tile(np.arange(37, dtype=np.uint8) * 7, (23, 1))
    share = alpha[:, :, None] / 255.0
    rgba = np.concatenate([picture, alpha[:, :, None]], axis=-1)
    np.testing.assert_allclose(decoded(save(Image.fromarray(rgba))), picture * share + 255 * (1 - share), atol=1)
    np.testing.assert_allclose(decoded(rgba), picture * share + 255 * (1 - share), atol=1)
    grey_alpha = Image.merge("LA", [Image.fromarray(picture[:, :, 1]), Image.fromarray(alpha)])
    expected = picture[:, :, 1] * share[:, :, 0] + 255 * (1 - share[:, :, 0])
    np.testing.assert_allclose(decoded(save(grey_alpha), 1), expected, atol=1)


def test_palette_with_and_without_transparency(save) -> None:
    indexed = Image.fromarray(np.array([[0, 1, 2], [2, 1, 0]], np.uint8), mode=None).convert("L")
    palette = Image.new("P", indexed.size)
    palette.putdata(list(indexed.get_flattened_data()))
    palette.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    red, green, blue, white = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
    assert decoded(save(palette)).tolist() == [
        [list(red), list(green), list(blue)],
        [list(blue), list(green), list(red)],
    ]
    see_through = decoded(save(palette, transparency=1))
    assert see_through.tolist() == [[list(red), list(white), list(blue)], [list(blue), list(white), list(red)]]
    assert decoded(save(palette, "a.gif", "GIF", transparency=1)).tolist() == see_through.tolist()
    bytes_table = decoded(save(palette, transparency=b"\xff\x00\xff"))
    assert bytes_table.tolist() == see_through.tolist()


def test_a_transparent_colour_key(save) -> None:
    image = Image.fromarray(np.array([[[0, 0, 0], [9, 9, 9]]], np.uint8))
    assert decoded(save(image, transparency=(0, 0, 0))).tolist() == [[[255, 255, 255], [9, 9, 9]]]
    grey = Image.fromarray(np.array([[0, 9]], np.uint8))
    assert decoded(save(grey, transparency=0), 1).tolist() == [[255, 9]]


@pytest.mark.parametrize("format", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_are_scaled_not_cut_off(save, format: str) -> None:
    deep = np.array([[0, 128, 129, 256, 32768, 65535]], np.uint16)
    shallow = np.rint(deep / 257.0)
    path = save(Image.fromarray(deep), format=format)
    assert decoded(path, 1).tolist() == shallow.tolist() == [[0, 0, 1, 1, 128, 255]]
    assert decoded(path, 3)[0, :, 1].tolist() == shallow[0].tolist()


def tiff(bits: int, photometric: int, sample_format: int, values: bytes) -> bytes:
    """A TIFF of one row of grey, which Pillow does not write."""
    fields = [(256, 3), (257, 1), (258, bits), (259, 1), (262, photometric), (273, 0), (277, 1), (278, 1)]
    fields += [(279, len(values)), (339, sample_format)]
    start = 8 + 2 + 12 * len(fields) + 4
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, start if tag == 273 else value) for tag, value in fields)
    return b"II*\0" + struct.pack("<IH", 8, len(fields)) + entries + bytes(4) + values


def test_a_tiff_whose_white_is_zero_is_no_negative(save) -> None:
    values = struct.pack("<3H", 0, 0x8000, 0xFFFF)
    assert decoded(save(tiff(16, 1, 1, values), "a.tif"), 1).tolist() == [[0, 128, 255]]
    assert decoded(save(tiff(16, 0, 1, values), "b.tif"), 1).tolist() == [[255, 127, 0]]
    assert decoded(save(tiff(8, 0, 1, b"\0\x80\xff"), "c.tif"), 1).tolist() == [[255, 127, 0]]
    floats = struct.pack("<3f", 0.0, 0.5, 1.0)
    assert decoded(save(tiff(32, 0, 3, floats), "d.tif"), 1).tolist() == [[255, 128, 0]]


def test_twelve_bits_are_scaled_by_what_they_can_hold(save) -> None:
    packed = bytes([0xFF, 0xF8, 0x00, 0x00, 0x00])  # 4095, 2048, 0: twelve bits each, the highest first
    assert decoded(save(tiff(12, 1, 1, packed), "a.tif"), 1).tolist() == [[255, 128, 0]]


def test_signed_pixels_are_refused(save) -> None:
    message = r"^its pixels are signed numbers, which have no known meaning; convert it to unsigned ones$"
    with pytest.raises(FileError, match=message):
        decoded(save(tiff(8, 1, 2, b"\0\x80\xff"), "a.tif"))


def test_sixteen_bits_big_endian(save) -> None:
    header = b"P5 2 1 65535\n"
    assert decoded(save(header + struct.pack(">2H", 0x8000, 0xFFFF), "a.pgm"), 1).tolist() == [[128, 255]]


def test_floats_in_zero_to_one(save) -> None:
    path = save(Image.fromarray(np.array([[0.0, 0.5, 1.0]], np.float32)), format="TIFF")
    assert decoded(path, 1).tolist() == [[0, 128, 255]]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            np.array([[0.0, 2.5]], np.float32),
            r"^its floating-point pixels go from 0 to 2\.5; only \[0, 1\] has a known meaning$",
        ),
        (np.array([[0.0, np.nan]], np.float32), r"floating-point pixels go from nan to nan; only"),
        (
            np.array([[0, 70_000]], np.int32),
            "^its 32-bit pixels go from 0 to 70,000; only 0 to 65,535 has a known meaning$",
        ),
        (np.array([[-1, 7]], np.int32), "32-bit pixels go from -1 to 7; only"),
    ],
)
def test_numbers_without_a_known_range(save, values: np.ndarray, message: str) -> None:
    path = save(Image.fromarray(values), format="TIFF")
    with pytest.raises(FileError, match=message):
        decode_image(path, 3, Limits())


def test_a_mode_that_no_screen_shows_is_refused(save) -> None:
    path = save(Image.new("LAB", (3, 2)), format="TIFF")
    with pytest.raises(FileError, match=r"^its pixels are in mode LAB, which is not supported; convert it to RGB$"):
        decode_image(path, 3, Limits())


def test_one_bit(save) -> None:
    image = Image.fromarray(np.array([[0, 255, 255]], np.uint8)).convert("1")
    for format in ("PNG", "TIFF", "PPM", "BMP"):
        assert decoded(save(image, format=format), 1).tolist() == [[0, 255, 255]]
        assert decoded(save(image, format=format), 3)[0, :, 0].tolist() == [0, 255, 255]


def test_cmyk(save) -> None:
    image = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    np.testing.assert_allclose(decoded(save(image, format="TIFF"))[3, 3], [255, 0, 0], atol=2)
    np.testing.assert_allclose(decoded(save(image, "a.jpg", "JPEG"))[3, 3], [255, 0, 0], atol=8)
    np.testing.assert_allclose(decoded(save(image, format="TIFF"), 1)[3, 3], 76, atol=2)


# What a viewer shows for each EXIF orientation, in numpy's words.
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a.swapaxes(0, 1)[::-1, ::-1],
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP"])
def test_exif_orientation(save, image: Image.Image, picture: np.ndarray, format: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(image, format=format, exif=exif)
    upright = UPRIGHT[orientation](picture)
    np.testing.assert_array_equal(decoded(path), upright)
    assert probe_image(path, Limits()) == upright.shape[:2]


@pytest.mark.parametrize("orientation", [6, 3])
def test_exif_orientation_of_jpeg(save, image: Image.Image, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    plain, turned = save(image, "p.jpg", "JPEG"), save(image, "t.jpg", "JPEG", exif=exif)
    np.testing.assert_array_equal(decoded(turned), UPRIGHT[orientation](decoded(plain)))
    assert probe_image(turned, Limits()) == decoded(turned).shape[:2]


def test_damaged_exif_counts_as_upright(save, image: Image.Image) -> None:
    path = save(image, "a.jpg", "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12\0\x03")
    assert decoded(path).shape == (23, 37, 3)
    assert probe_image(path, Limits()) == (23, 37)


@pytest.mark.parametrize(
    ("format", "name"), [("GIF", "a.gif"), ("TIFF", "a.tif"), ("WEBP", "a.webp"), ("PNG", "a.png")]
)
def test_the_first_frame_counts(save, format: str, name: str) -> None:
    frames = [Image.new("RGB", (5, 3), colour) for colour in ("red", "lime", "blue")]
    path = save(frames[0], name, format, save_all=True, append_images=frames[1:])
    assert decoded(path)[1, 2].tolist() == [255, 0, 0]


def test_the_name_does_not_matter(save, image: Image.Image, picture: np.ndarray) -> None:
    np.testing.assert_array_equal(decoded(save(image, "wrong.jpg")), picture)
    np.testing.assert_array_equal(decoded(save(image, "no_suffix")), picture)


def test_arrays(picture: np.ndarray) -> None:
    np.testing.assert_array_equal(decoded(picture), picture)
    np.testing.assert_array_equal(decoded(picture[:, :, :1], 1), picture[:, :, 0])
    np.testing.assert_array_equal(decoded(picture[:, ::-1, 0], 1), picture[:, ::-1, 0])


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (
            np.zeros((3, 4), np.float32),
            r"^an image array must hold bytes \(uint8\), not float32; scale it to 0 to 255 first$",
        ),
        (
            np.zeros((3, 4, 5), np.uint8),
            r"^an image array must be \(height, width\) or \(height, width, 1, 3 or 4\), not \(3, 4, 5\); channels "
            r"come last$",
        ),
        (np.zeros((0, 4), np.uint8), r"not \(0, 4\)"),
    ],
)
def test_bad_arrays(array: np.ndarray, message: str) -> None:
    with pytest.raises(FileError, match=message):
        decode_image(array, 3, Limits())
