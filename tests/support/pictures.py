"""Small pictures of three classes that differ in colour and shape, drawn on the spot from a seed."""

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("disc", "frame", "stripes")
COLOURS = {"disc": (220, 60, 50), "frame": (60, 200, 80), "stripes": (60, 90, 230)}
SIDE = 16


def draw_picture(name: str, random: np.random.Generator, side: int = SIDE) -> np.ndarray:
    """Returns a picture of a class: its shape in about its colour, somewhere on a noisy dark ground."""
    picture = random.integers(0, 60, (side, side, 3))
    rows, columns = np.mgrid[0:side, 0:side]
    centre = random.uniform(0.35 * side, 0.65 * side, 2)
    radius = random.uniform(0.25 * side, 0.4 * side)
    down, right = np.abs(rows - centre[0]), np.abs(columns - centre[1])
    shapes = {
        "disc": down**2 + right**2 <= radius**2,
        "frame": (np.maximum(down, right) <= radius) & (np.maximum(down, right) > radius - 2),
        "stripes": (np.maximum(down, right) <= radius) & (rows % 3 == 0),
    }
    picture[shapes[name]] = np.clip(np.array(COLOURS[name]) + random.integers(-25, 26, 3), 0, 255)
    return picture.astype(np.uint8)


def make_picture_folder(root: Path, *, per_class: int = 12, seed: int = 0, side: int = SIDE) -> Path:
    """Writes `root/CLASS/NN.png` and returns the root."""
    random = np.random.default_rng(seed)
    for name in CLASSES:
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(per_class):
            Image.fromarray(draw_picture(name, random, side)).save(root / name / f"{number:02d}.png")
    return root


def grey_png(width: int, height: int, *, cut: bool = False) -> bytes:
    """A black PNG of any size, made without a picture in memory; `cut`: its header, and next to no pixels."""
    packer = zlib.compressobj(1)
    row = bytes(1 + width)
    pixels = b"".join([*(packer.compress(row) for _ in range(0 if cut else height)), packer.flush()])
    header = struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
