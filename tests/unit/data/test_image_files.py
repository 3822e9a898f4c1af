import io
import logging
import os
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from perceptio.data.image_files import decode_image, probe_image
from perceptio.data.limits import Limits
from perceptio.errors import FileError

LOSSLESS = ("PNG", "GIF", "BMP", "TIFF", "PPM", "WEBP")


def encoded(image: Image.Image, format: str, **options) -> bytes:
    if format == "WEBP":
        options["lossless"] = True
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


@pytest.fixture
def save(tmp_path: Path):
    def save(content: bytes | Image.Image, name: str = "a.png", format: str = "PNG", **options) -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else encoded(content, format, **options))
        return path

    return save


def refusal(path: Path, limits: Limits | None = None) -> str | None:
    """Returns why a file is refused, or None; anything but a FileError ends the test."""
    try:
        probe_image(path, limits or Limits())
        decode_image(path, 3, limits or Limits())
    except FileError as error:
        return str(error)
    return None


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


def test_sixteen_bits_big_endian(save) -> None:
    header = b"P5 2 1 65535\n"
    assert decoded(save(header + struct.pack(">2H", 0x8000, 0xFFFF), "a.pgm"), 1).tolist() == [[128, 255]]


def test_floats_in_zero_to_one(save) -> None:
    path = save(Image.fromarray(np.array([[0.0, 0.5, 1.0]], np.float32)), format="TIFF")
    assert decoded(path, 1).tolist() == [[0, 128, 255]]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([[0.0, 2.5]], np.float32), r"floating-point pixels go from 0 to 2\.5; only \[0, 1\] has a known"),
        (np.array([[0.0, np.nan]], np.float32), r"floating-point pixels go from nan to nan; only"),
        (np.array([[0, 70_000]], np.int32), "32-bit pixels go from 0 to 70,000; only 0 to 65,535 has a known"),
        (np.array([[-1, 7]], np.int32), "32-bit pixels go from -1 to 7; only"),
    ],
)
def test_numbers_without_a_known_range(save, values: np.ndarray, message: str) -> None:
    path = save(Image.fromarray(values), format="TIFF")
    with pytest.raises(FileError, match=message):
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
        (np.zeros((3, 4), np.float32), "must hold bytes .uint8., not float32; scale it to 0 to 255 first"),
        (np.zeros((3, 4, 5), np.uint8), r"must be \(height, width\) or .*, not \(3, 4, 5\); channels come last"),
        (np.zeros((0, 4), np.uint8), r"not \(0, 4\)"),
    ],
)
def test_bad_arrays(array: np.ndarray, message: str) -> None:
    with pytest.raises(FileError, match=message):
        decode_image(array, 3, Limits())


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.99])
def test_truncated_files(save, format: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    whole = encoded(Image.fromarray(noise), format)
    cut = whole[: int(len(whole) * share)]
    with pytest.raises(FileError, match=f"^truncated {format} file: it ends after {len(cut):,} bytes$"):
        decode_image(save(cut), 3, Limits())


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM"])
def test_any_cut_is_a_file_error_in_one_line(save, image: Image.Image, tmp_path: Path, format: str) -> None:
    whole = encoded(image, format)
    for end in [*range(1, 40), *range(40, len(whole) - 1, 97)]:
        reason = refusal(save(whole[:end]))
        if reason is None:  # Only the mark at the end is missing: every pixel was there.
            np.testing.assert_array_equal(decoded(save(whole[:end])), decoded(save(whole)))
            assert end > 0.9 * len(whole)
        else:
            assert reason.isprintable()
            assert str(tmp_path) not in reason


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM"])
def test_flipped_bytes_raise_nothing_but_file_errors(save, image: Image.Image, format: str) -> None:
    whole = encoded(image, format)
    random = np.random.default_rng(1)
    for _ in range(60):
        bad = np.frombuffer(whole, np.uint8).copy()
        places = random.integers(len(bad), size=3)
        bad[places] = random.integers(256, size=3)
        reason = refusal(save(bad.tobytes()), Limits(max_image_pixels=10**6))
        assert reason is None or reason.isprintable()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<!DOCTYPE html>\n<html>404</html>", '^not an image: it begins with "<!DOCTYPE html>"$'),
        (b"", r"^empty file \(0 bytes\)$"),
        (b"\0" * 5000, "^not an image: it begins with zeros$"),
        (b"\x13\x37\xfe\xed\xfa\xce\0\0\x01", "^not an image: it begins with the bytes 13 37 fe ed fa ce 00 00$"),
        ("été".encode() * 30, '^not an image: it begins with "étéété'),
        (b"%PDF-1.7\n", "^not an image but a PDF document$"),
        (b"PK\x03\x04....", "^not an image but a zip archive$"),
        (b"RIFF....WAVEfmt ", "^not an image but a WAV sound$"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "^a HEIC image, which is not supported; convert it to JPEG or PNG$"),
        (b"<svg xmlns='x'/>", "^an SVG drawing, which is not supported; convert it to PNG$"),
        (b"\xff\xd8\xff\xe0", "^(truncated JPEG file: it ends after 4 bytes|damaged JPEG file: .*)$"),
        (b"\x89PNG\r\n\x1a\n garbage garbage", "^(damaged|truncated) PNG file: "),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "^not an image but a PostScript document$"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("read", [lambda p: decode_image(p, 3, Limits()), lambda p: probe_image(p, Limits())])
def test_what_is_no_image(save, content: bytes, message: str, read) -> None:
    with pytest.raises(FileError, match=message):
        read(save(content, "misnamed.jpg"))


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that declares any size."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("width", "height", "message"),
    [
        (65_535, 65_535, "^declares more pixels than the limit of 64,000,000$"),
        (10_000, 10_000, "^declares 10,000 x 10,000 = 100,000,000 pixels; the limit is 64,000,000"),
        (66_000, 2, r"^declares 66,000 x 2 pixels; the limit is 65,535 a side \(limit max_image_side\)$"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("read", [lambda p: decode_image(p, 3, Limits()), lambda p: probe_image(p, Limits())])
def test_bombs_are_refused_by_their_header(save, width: int, height: int, message: str, read) -> None:
    with pytest.raises(FileError, match=message):
        read(save(bomb(width, height)))


def test_pixels_just_inside_and_just_outside_the_limit(save, image: Image.Image) -> None:
    assert probe_image(save(image), Limits(max_image_pixels=23 * 37)) == (23, 37)
    with pytest.raises(FileError, match=r"declares 37 x 23 = 851 pixels; the limit is 850"):
        probe_image(save(image), Limits(max_image_pixels=850))
    with pytest.raises(FileError, match=r"image file of [\d,]+ bytes; the limit is 100 \(limit max_image_file_bytes\)"):
        probe_image(save(image), Limits(max_image_file_bytes=100))


def test_a_pipe_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    with pytest.raises(FileError, match=r"^not a regular file but a pipe$"):
        decode_image(tmp_path / "a.jpg", 3, Limits())


def test_names_do_not_matter_to_the_decoder(tmp_path: Path, image: Image.Image) -> None:
    path = tmp_path / "猫 \x1b[31m\n.png"
    path.write_bytes(encoded(image, "PNG"))
    assert decoded(path).shape == (23, 37, 3)


def test_pillows_warnings_stay_inside_and_filters_survive_threads(save) -> None:
    """A bomb makes Pillow warn; many threads at once must leave the process's filters as they were."""
    path = save(bomb(10_000, 10_000))
    before = list(warnings.filters)

    def read(_: int) -> str:
        with pytest.raises(FileError, match=r"limit"):
            probe_image(path, Limits())
        return "refused"

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(read, range(200))) == ["refused"] * 200
    assert list(warnings.filters) == before


def test_nothing_is_logged_above_debug(save, image: Image.Image, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        decode_image(save(image, format="TIFF"), 3, Limits())
    assert not caplog.records
