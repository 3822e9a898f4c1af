"""Stamps: a picture that drifts over a coloured ground, and its name spoken in one of six languages, in one mp4.

The class is the category of the picture together with the language of the voice, 36 of them: the frames alone tell one
half, the sound alone the other. Pictures and recordings are Tux Paint's; a stamp is on one side of every split, in all
its languages.

Usage: python benchmarks/datasets/stamps.py OUT [--seed 0] [--package tuxpaint-stamps-default_.._all.deb]
"""

import argparse
from functools import partial
from pathlib import Path

import numpy as np
from debian import STAMPS, fetch
from listed_files import Write, make_files, write_table
from PIL import Image

from perceptio.data.audio_files import AudioFile
from perceptio.data.limits import Limits
from perceptio.data.video_writing import write_video
from perceptio.randomness import generator

FOLDER = Path("usr/share/tuxpaint/stamps")
CATEGORIES = ("animals", "food", "plants", "symbols", "town", "vehicles")
LANGUAGES = ("bg", "ca", "es", "fr", "ro", "ru")
MOST_OF_A_CATEGORY = 90
TEST_SHARE = 0.25
SIDE = 64
FRAMES_PER_SECOND = 12.5
SAMPLE_RATE_HZ = 16_000
SECONDS = (1.28, 4.0)
"""Shortest and longest file; a shorter recording is followed by silence, a longer one is cut."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--package", type=Path)
    options = parser.parse_args()
    root = fetch(STAMPS, file=options.package) / FOLDER
    rows = []
    files: dict[str, Write] = {}
    for category in CATEGORIES:
        stamps = [path for path in sorted((root / category).rglob("*.png")) if has_all_languages(path)]
        random = generator(options.seed, "stamps", category)
        chosen = [stamps[number] for number in random.permutation(len(stamps))[:MOST_OF_A_CATEGORY]]
        num_test = round(TEST_SHARE * len(chosen))
        for number, stamp in enumerate(chosen):
            identity = str(stamp.relative_to(root).with_suffix("")).replace("/", "-")
            split = "test" if number < num_test else ""
            for language in LANGUAGES:
                name = f"{category}/{identity}_{language}.mp4"
                clip_random = generator(options.seed, "stamps", identity, language)
                files[name] = partial(write_clip, stamp=stamp, language=language, random=clip_random)
                rows.append((name, f"{category}_{language}", split, identity))
    files["metadata.csv"] = partial(write_table, columns=("file", "label", "split", "group"), rows=rows)
    make_files(options.out, f"stamps of {STAMPS}, seed {options.seed}", files)
    print(f"{len(rows):,} files of {len({row[1] for row in rows})} classes in {options.out}")
    print(f"next: perceptio train stamps --data {options.out}")


def has_all_languages(stamp: Path) -> bool:
    """Returns whether all six languages speak a stamp's name."""
    return all(recording(stamp, language).is_file() for language in LANGUAGES)


def recording(stamp: Path, language: str) -> Path:
    """Returns the file in which a stamp's name is spoken."""
    return stamp.with_name(f"{stamp.stem}_desc_{language}.ogg")


def write_clip(path: Path, *, stamp: Path, language: str, random: np.random.Generator) -> None:
    sound = read_sound(recording(stamp, language))
    num_frames = round(len(sound) / SAMPLE_RATE_HZ * FRAMES_PER_SECOND)
    frames = draw_frames(stamp, num_frames, random)
    write_video(path, frames, FRAMES_PER_SECOND, sound=sound, sample_rate_hz=SAMPLE_RATE_HZ)


def read_sound(path: Path) -> np.ndarray:
    """Returns samples, at least as many as the shortest file needs and at most those of the longest."""
    with AudioFile(path, 1, Limits()) as file:
        seconds = min(max(file.seconds, SECONDS[0]), SECONDS[1])
        samples: np.ndarray = file.read(0.0, round(seconds * SAMPLE_RATE_HZ), SAMPLE_RATE_HZ)
    return samples


def draw_frames(stamp: Path, num_frames: int, random: np.random.Generator) -> np.ndarray:
    """Returns bytes (frames, side, side, 3): the stamp, drifting, on a ground of one colour."""
    with Image.open(stamp) as opened:
        picture = opened.convert("RGBA")
    longest = int(random.integers(SIDE // 2, SIDE))
    picture.thumbnail((longest, longest))
    ground = tuple(int(value) for value in random.integers(256, size=3))
    spare = np.array([SIDE - picture.width, SIDE - picture.height])
    start, end = random.uniform(size=2) * spare, random.uniform(size=2) * spare
    frames = []
    for moment in np.linspace(0.0, 1.0, num_frames):
        frame = Image.new("RGB", (SIDE, SIDE), ground)
        left, top = (round(value) for value in (1 - moment) * start + moment * end)
        frame.paste(picture, (left, top), picture)
        frames.append(np.asarray(frame))
    return np.stack(frames)


if __name__ == "__main__":
    main()
