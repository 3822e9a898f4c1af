"""Moving garments: a garment that moves over a canvas in one direction and then in another, as real mp4 files.

The class is the pair of directions in their order, such as "right_up": twelve of them. The canvas has no edge: what
leaves on one side comes back on the other, and the garment starts anywhere. So each single frame is equally likely in
every class, and only the order of frames tells. Garments of the training half of Fashion-MNIST move in the training
and validation files, those of the test half in the test files.

Usage: python benchmarks/datasets/moving_garments.py OUT [--train 6000] [--test 1200] [--seed 0] [--package FILE.deb]
"""

import argparse
from functools import partial
from itertools import permutations
from pathlib import Path

import numpy as np
from debian import FASHION, fetch
from listed_files import Write, make_files, write_table

from perceptio.data.idx_format import find_idx, read_array
from perceptio.data.limits import Limits
from perceptio.data.video_writing import write_video
from perceptio.randomness import generator

SIDE = 48
NUM_FRAMES = 16
FRAMES_PER_SECOND = 12.5
SPEED = (2, 5)
"""Pixels a frame, from and below."""
DIRECTIONS = {"right": (0, 1), "left": (0, -1), "down": (1, 0), "up": (-1, 0)}
CLASSES = tuple(f"{first}_{second}" for first, second in permutations(DIRECTIONS, 2))
IDX = Path("usr/share/datasets/fashion-mnist")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--train", type=int, default=6000)
    parser.add_argument("--test", type=int, default=1200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--package", type=Path)
    options = parser.parse_args()
    folder = fetch(FASHION, file=options.package) / IDX
    rows = []
    files: dict[str, Write] = {}
    for split, part, count in (("train", "train", options.train), ("test", "t10k", options.test)):
        path = find_idx(folder, f"{part}-images-idx3-ubyte")
        assert path is not None, f"{folder} lacks {part}-images-idx3-ubyte"
        garments = read_array(path, 3, Limits())
        for number in range(count):
            random = generator(options.seed, "moving garments", split, number)
            label = CLASSES[number % len(CLASSES)]
            garment = int(random.integers(len(garments)))
            name = f"{split}/{number:05d}.mp4"
            files[name] = partial(write_clip, garment=garments[garment], label=label, random=random)
            # One garment may move in several files: as a group it stays on one side of the validation split.
            rows.append((name, label, "test" if split == "test" else "", f"{split}-{garment}"))
    files["metadata.csv"] = partial(write_table, columns=("file", "label", "split", "group"), rows=rows)
    counts = f"{options.train} and {options.test} files"
    make_files(options.out, f"moving garments of {FASHION}, {counts}, seed {options.seed}", files)
    print(f"{len(rows):,} files of {len(CLASSES)} classes in {options.out}")
    print(f"next: perceptio train moving-garments --data {options.out}")


def write_clip(path: Path, *, garment: np.ndarray, label: str, random: np.random.Generator) -> None:
    write_video(path, draw_frames(garment, label, random), FRAMES_PER_SECOND)


def draw_frames(garment: np.ndarray, label: str, random: np.random.Generator) -> np.ndarray:
    """Returns bytes (frames, side, side, 1): the garment on a black canvas whose edges are joined."""
    canvas = np.zeros((SIDE, SIDE), dtype=np.uint8)
    canvas[: garment.shape[0], : garment.shape[1]] = garment
    place = random.integers(SIDE, size=2)
    frames = []
    turn = int(random.integers(NUM_FRAMES // 3, NUM_FRAMES - NUM_FRAMES // 3))
    speed = int(random.integers(*SPEED))
    first, second = (np.array(DIRECTIONS[name]) for name in label.split("_"))
    for number in range(NUM_FRAMES):
        frames.append(np.roll(canvas, tuple(place), axis=(0, 1)))
        place = place + speed * (first if number < turn else second)
    return np.stack(frames)[..., None]


if __name__ == "__main__":
    main()
