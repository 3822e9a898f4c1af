"""A folder that the code has never seen: a few hundred colour pictures of mixed formats and sizes, some of them broken.

Makes the folder from Debian's package tuxpaint-stamps-default (drawings and photos in folders such as animals, food,
vehicles), then types what a newcomer types, `perceptio train --data FOLDER`, and compares the test result with always
answering the largest class and with the list of broken files.

Usage: python benchmarks/unseen_folder.py --stamps /usr/share/tuxpaint/stamps --out runs/unseen [--json]
"""

import argparse
import csv
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("animals", "food", "plants", "symbols", "town", "vehicles")
MOST_PER_CLASS = 120
FORMATS = ("jpg", "png", "webp", "gif", "bmp", "tiff")
NUM_BROKEN = 18


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stamps", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    options.out.mkdir(parents=True)
    folder, run = options.out / "stamps", options.out / "run"
    broken = make_folder(options.stamps, folder, np.random.default_rng(0))
    began = time.monotonic()
    command = [sys.executable, "-m", "perceptio", "train", "--data", str(folder), "--out", str(run), "--json"]
    result = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.splitlines()[-1])
    with (run / "skipped.csv").open() as file:
        skipped = {row["file"]: row["reason"] for row in csv.DictReader(file)}
    with (run / "predictions.csv").open() as file:
        truths = [row["labels"] for row in csv.DictReader(file)]
    summary = {
        "files": sum(1 for path in folder.rglob("*") if path.is_file()),
        "broken": len(broken),
        "named": len(skipped),
        "missed": sorted(broken - set(skipped)),
        "wrongly_named": sorted(set(skipped) - broken),
        "test_files": len(truths),
        "test_accuracy": result["test"]["accuracy"],
        "test_balanced_accuracy": result["test"]["balanced_accuracy"],
        "majority": max(truths.count(name) for name in CLASSES) / len(truths),
        "seconds": time.monotonic() - began,
    }
    if options.json:
        print(json.dumps(summary))
        return
    for name, value in summary.items():
        print(f"{name:<24}{value:.4g}" if isinstance(value, float) else f"{name:<24}{value}")
    for name, reason in skipped.items():
        print(f"  {name}: {reason}")


def make_folder(stamps: Path, folder: Path, random: np.random.Generator) -> set[str]:
    """Writes the pictures in mixed formats and sizes; returns the names of those that were broken on purpose."""
    names = []
    for label in CLASSES:
        (folder / label).mkdir(parents=True)
        found = sorted((stamps / label).rglob("*.png"))
        for index, path in enumerate(found[:MOST_PER_CLASS]):
            name = f"{label}/{index:03d}.{FORMATS[random.integers(len(FORMATS))]}"
            write_picture(path, folder / name, random)
            names.append(name)
    broken = [names[index] for index in random.choice(len(names), NUM_BROKEN, replace=False)]
    for index, name in enumerate(broken):
        break_file(folder / name, index % 6, random)
    return set(broken)


def write_picture(source: Path, target: Path, random: np.random.Generator) -> None:
    with Image.open(source) as opened:
        picture = opened.convert("RGBA")
    side = int(random.integers(60, 500))
    scale = side / max(picture.size)
    picture = picture.resize([max(1, round(length * scale)) for length in picture.size])
    paper = Image.new("RGBA", picture.size, "white")
    flat = Image.alpha_composite(paper, picture)
    kind = {"jpg": "RGB", "bmp": "RGB", "gif": "P", "tiff": "RGB", "webp": "RGBA", "png": "RGBA"}[target.suffix[1:]]
    (picture if kind == "RGBA" else flat.convert("RGB").convert(kind)).save(target)


def break_file(path: Path, how: int, random: np.random.Generator) -> None:
    content = path.read_bytes()
    half = len(content) // 2
    path.write_bytes(
        {
            0: b"",
            1: content[:half],
            2: b"<!DOCTYPE html><html>not found</html>",
            3: bytes(len(content)),
            4: content[: max(20, len(content) // 10)],
            5: random.bytes(len(content)),
        }[how]
    )


if __name__ == "__main__":
    main()
