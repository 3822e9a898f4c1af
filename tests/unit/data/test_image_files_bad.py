"""What decode_image and probe_image do with files that are broken, hostile or no images at all."""

import io
import logging
import os
import struct
import sys
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from perceptio.data.image_files import decode_image, probe_image
from perceptio.data.limits import Limits
from perceptio.errors import FileError, MissingExtraError

READERS = ("decode_image", "probe_image")
pytestmark = pytest.mark.usefixtures("either_place")


def encoded(image: Image.Image, format: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format)
    return buffer.getvalue()


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
        (b"\0\0\0\x1cftypM4A \0\0", "^not an image but an M4A sound$"),
        (b"\0\0\0\x1cftypqt  \0\0", "^not an image but a QuickTime video$"),
        (b"\0\0\0\x1cftypdash\0\0", "^not an image but an MP4 video$"),
        (b"\0\0\0\x1cftypheic\0\0", "^a HEIC image, which is not supported"),
        (b"\x1aE\xdf\xa3\0", "^not an image but a Matroska or WebM video$"),
        (b"FORM\0\1\2\3AIFF", "^not an image but an AIFF sound$"),
        (b"#VRML V2.0 utf8\n", "^not an image but a VRML mesh$"),
        (b"glTF\2\0\0\0", "^not an image but a glTF mesh$"),
        (b"ply\nformat ascii 1.0\n", "^not an image but a PLY mesh$"),
        (b"\x93NUMPY\1\0", "^not an image but a NumPy array$"),
        (b"PK\x03\x04....", "^not an image but a zip archive$"),
        (b"RIFF....WAVEfmt ", "^not an image but a WAV sound$"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "^a HEIC image, which is not supported; convert it to JPEG or PNG$"),
        (b"<svg xmlns='x'/>", "^an SVG drawing, which is not supported; convert it to PNG$"),
        (b"\xff\xd8\xff\xe0", "^(truncated JPEG file: it ends after 4 bytes|damaged JPEG file: .*)$"),
        (b"\x89PNG\r\n\x1a\n garbage garbage", "^(damaged|truncated) PNG file: "),
        (b"GIF89a\0\0\5\0\0\0\0;", "^damaged GIF file: its header cannot be read$"),
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
        (
            65_535,
            65_535,
            r"^declares more pixels than the limit of 64,000,000 \(--source.limits.max-image-pixels\)$",
        ),
        (
            10_000,
            10_000,
            r"^declares 10,000 x 10,000 = 100,000,000 pixels; the limit is 64,000,000 "
            r"\(--source.limits.max-image-pixels\)$",
        ),
        (66_000, 2, r"^declares 66,000 x 2 pixels; the limit is 65,535 a side \(--source.limits.max-image-side\)$"),
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
    with pytest.raises(
        FileError, match=r"image file of [\d,]+ bytes; the limit is 100 \(--source.limits.max-image-file-bytes\)"
    ):
        probe_image(save(image), Limits(max_image_file_bytes=100))


def test_a_limit_beyond_pillows_own_holds(save) -> None:
    """Pillow refuses more than 178,956,970 pixels, whatever ours says."""
    assert probe_image(save(bomb(20_000, 10_000)), Limits(max_image_pixels=200_000_000)) == (10_000, 20_000)
    message = r"^declares 20,000 x 10,000 = 200,000,000 pixels; the limit is 199,999,999 "
    with pytest.raises(FileError, match=message):
        probe_image(save(bomb(20_000, 10_000)), Limits(max_image_pixels=199_999_999))


def test_without_pillow_the_way_out_is_said(save, image: Image.Image, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(image)
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(MissingExtraError, match=r"^reading images needs an .*: pip install 'perceptio\[image\]'$"):
        decode_image(path, 3, Limits())


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
    before, most = list(warnings.filters), Image.MAX_IMAGE_PIXELS

    def read(_: int) -> str:
        with pytest.raises(FileError, match=r"limit"):
            probe_image(path, Limits())
        return "refused"

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(read, range(200))) == ["refused"] * 200
    assert list(warnings.filters) == before
    assert most == Image.MAX_IMAGE_PIXELS


def test_nothing_is_logged_above_debug(save, image: Image.Image, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        decode_image(save(image, format="TIFF"), 3, Limits())
    assert not caplog.records
