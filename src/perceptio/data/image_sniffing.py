"""Says in one line why a file is no image that can be read, by looking at its first bytes."""

from perceptio.data.items import File, open_file
from perceptio.data.names import printable

_NUM_BYTES = 64
_NUM_TEXT_CHARACTERS = 24

_READABLE = (
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (0, b"GIF8", "GIF"),
    (0, b"BM", "BMP"),
    (0, b"II*\x00", "TIFF"),
    (0, b"MM\x00*", "TIFF"),
    (8, b"WEBP", "WEBP"),
    (0, b"P4", "PPM"),
    (0, b"P5", "PPM"),
    (0, b"P6", "PPM"),
)
_OTHERS = (
    (4, b"ftypheic", "a HEIC image"),
    (4, b"ftypmif1", "a HEIC image"),
    (4, b"ftypavif", "an AVIF image"),
    (4, b"ftypM4A", "an M4A sound"),
    (4, b"ftypqt", "a QuickTime video"),
    (4, b"ftyp", "an MP4 video"),  # of any other brand
    (0, b"\x1aE\xdf\xa3", "a Matroska or WebM video"),
    (8, b"AIFF", "an AIFF sound"),
    (8, b"AIFC", "an AIFF sound"),
    (0, b"#VRML", "a VRML mesh"),
    (0, b"glTF", "a glTF mesh"),
    (0, b"ply\n", "a PLY mesh"),
    (0, b"\x93NUMPY", "a NumPy array"),
    (0, b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 image"),
    (0, b"8BPS", "a Photoshop file"),
    (0, b"%PDF", "a PDF document"),
    (0, b"%!PS", "a PostScript document"),
    (0, b"PK\x03\x04", "a zip archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"\x00\x00\x01\x00", "an icon"),
    (8, b"WAVE", "a WAV sound"),
    (8, b"AVI ", "an AVI video"),
    (0, b"ID3", "an MP3 sound"),
    (0, b"fLaC", "a FLAC sound"),
    (0, b"OggS", "an Ogg sound"),
)


def declared_format(head: bytes) -> str | None:
    """Returns the readable format that the first bytes announce, or None."""
    return next((name for start, mark, name in _READABLE if head.startswith(mark, start)), None)


def why_not_an_image(head: bytes) -> str:
    """Returns why a file that begins with these bytes could not be opened as an image: one line, without its name."""
    name = declared_format(head)
    if name is not None:
        return f"damaged {name} file: its header cannot be read"
    for start, mark, what in _OTHERS:
        if head.startswith(mark, start):
            return (
                f"{what}, which is not supported; convert it to JPEG or PNG"
                if "image" in what
                else (f"not an image but {what}")
            )
    if not head.strip(b"\0"):
        return "not an image: it begins with zeros"
    try:
        text = head.decode("utf-8").strip()
    except UnicodeDecodeError as error:
        # A character may be cut in two by the end of what was read.
        text = head[: error.start].decode("utf-8").strip() if error.start >= len(head) - 3 else ""
    if text.startswith("<svg"):
        return "an SVG drawing, which is not supported; convert it to PNG"
    if text and all(c.isprintable() or c.isspace() for c in text):
        shown = printable(text.splitlines()[0][:_NUM_TEXT_CHARACTERS].strip())
        return f'not an image: it begins with "{shown}"'
    return f"not an image: it begins with the bytes {head[:8].hex(' ')}"


def read_head(file: File) -> bytes:
    """Returns the first 64 bytes of a file."""
    with open_file(file) as stream:
        return stream.read(_NUM_BYTES)
