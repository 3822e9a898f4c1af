"""Files that no test was written for: what a model answers to each, and what reading sound, films and meshes costs.

    PYTHONPATH=src:tests python benchmarks/odd_files.py SCRATCH [--rounds 10] [--meshes parts/]

SCRATCH keeps the files, which take some minutes to make. Three small models (sound, film with sound, points) are
trained for an epoch, so that their labels mean nothing: each file must get one, or one line that says why not. Rates
are processor seconds of this process, at the sizes of the paper's recipes.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import trimesh
from measure import print_surroundings, print_table

import perceptio
from perceptio.data.limits import Limits
from perceptio.modalities.contract import Modality
from perceptio.recipes.registry import find_recipe
from support.kinds import MAKERS
from support.pictures import CLASSES
from support.sounds import encode, tones, wav_bytes
from support.videos import write_frames

HOURS = 2
SOUND_RATE = 44_100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scratch", type=Path)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--meshes", type=Path, help="a folder of meshes whose reading is timed as well")
    options = parser.parse_args()
    files = options.scratch / "odd"
    files.mkdir(parents=True, exist_ok=True)
    for name, make in FILES.items():
        if not (files / name).exists():
            make(files / f"unfinished-{name}").rename(files / name)
    print_table(["file", "model", "answer", "seconds"], list(answers(files, options.scratch)))
    print()
    print_table(["what", "processor time", "rate"], list(rates(files, options.meshes, options.rounds)))
    print_surroundings("cpu")


# The files


def long_sound(path: Path) -> Path:
    """An mp3 of two hours."""
    minute = tones(60.0, SOUND_RATE)
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libmp3lame", rate=SOUND_RATE, layout="mono")
        stream.bit_rate = 64_000
        stream.codec_context.format = "fltp"
        for number in range(60 * HOURS):
            frame = av.AudioFrame.from_ndarray(np.float32(minute.T), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = SOUND_RATE, number * len(minute)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


def film(path: Path, *, height: int, width: int, seconds: int, rotation: int | None = None) -> Path:
    """A silent H.264 film of a drifting texture."""
    texture = np.random.default_rng(0).integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    picture = texture.repeat(8, axis=0).repeat(8, axis=1)
    steps = range(0, 25 * seconds)
    write_frames(path, _Drifting(picture, len(steps)), rotation=rotation, group=50, options={"preset": "veryfast"})
    return path


class _Drifting:
    """Frames made when they are asked for: ten minutes of them do not fit into memory."""

    def __init__(self, picture: np.ndarray, count: int) -> None:
        self.picture, self.count = picture, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> np.ndarray:
        if number >= self.count:
            raise IndexError(number)
        return np.roll(self.picture, 2 * number, axis=1)


def cloud(path: Path, encoding: str) -> Path:
    """The same points, as text or as bytes."""
    points = np.random.default_rng(0).normal(size=(500, 3)).astype(np.float32)
    path.write_bytes(trimesh.PointCloud(points).export(file_type="ply", encoding=encoding))
    return path


def film_without_frames(path: Path) -> Path:
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        file.start_encoding()
    return path


def text(path: Path, content: str) -> Path:
    path.write_text(content)
    return path


def samples(path: Path, count: int) -> Path:
    values = np.rint(9_000 * tones(count / SOUND_RATE, SOUND_RATE)).astype(np.int64)
    path.write_bytes(wav_bytes(values, SOUND_RATE, bits=16))
    return path


FILES: dict[str, Callable[[Path], Path]] = {
    "two-hours.mp3": long_sound,
    "24-bit-96-kHz.flac": lambda path: encode(path, tones(3.0, 96_000, 2), 96_000, "flac", sample_format="s32"),
    "one-sample.wav": lambda path: samples(path, 1),
    "second.wav": lambda path: samples(path, SOUND_RATE),
    "4k.mp4": lambda path: film(path, height=2160, width=3840, seconds=4),
    "phone-upright.mp4": lambda path: film(path, height=360, width=640, seconds=4, rotation=90),
    "ten-seconds.mp4": lambda path: film(path, height=360, width=640, seconds=10),
    "ten-minutes.mp4": lambda path: film(path, height=360, width=640, seconds=600),
    "no-frames.mp4": film_without_frames,
    "text.mp4": lambda path: text(path, "this is only text\n"),
    "page.mp3": lambda path: text(path, "<!DOCTYPE html><title>Not found</title>\n"),
    "ascii.ply": lambda path: cloud(path, "ascii"),
    "binary.ply": lambda path: cloud(path, "binary"),
}

# What models answer

ASKED = {
    "audio": ("two-hours.mp3", "24-bit-96-kHz.flac", "one-sample.wav", "4k.mp4", "no-frames.mp4", "page.mp3"),
    "video": ("4k.mp4", "phone-upright.mp4", "ten-minutes.mp4", "no-frames.mp4", "text.mp4", "two-hours.mp3"),
    "points": ("ascii.ply", "binary.ply", "text.mp4"),
}


def answers(files: Path, scratch: Path) -> Iterator[list[str]]:
    """Trains a model a kind and asks it about the files, each in a call of its own."""
    for kind, names in ASKED.items():
        run = perceptio.train(data=training_folder(kind, scratch), epochs=1, out=_new(scratch / f"run-{kind}"))
        for name in names:
            began = time.perf_counter()
            (answer,) = run.predict([files / name])
            seconds = time.perf_counter() - began
            shown = answer.error or f"{answer.label}, {answer.probabilities[answer.label]:.6f}"
            yield [name, kind, shown, f"{seconds:.1f}"]


def training_folder(kind: str, scratch: Path) -> Path:
    """Twelve small files of each class."""
    folder = scratch / kind
    random = np.random.default_rng(0)
    for label in CLASSES:
        (folder / label).mkdir(parents=True, exist_ok=True)
        for number in range(12):
            MAKERS[kind](folder / label / f"{number:02d}", label, random)
    return folder


def _new(folder: Path) -> Path:
    """The first of these names that is not taken."""
    return next(path for path in (folder.with_name(f"{folder.name}-{n}") for n in range(1, 1000)) if not path.exists())


# What reading costs


def rates(files: Path, meshes: Path | None, rounds: int) -> Iterator[list[str]]:
    """Reads views as training does, from a file that is opened anew each time."""
    sound = find_recipe("audioset-mel").streams.by_name["audio"]
    pictures = find_recipe("audioset-video").streams.by_name["video"]
    plain = np.random.default_rng(0)
    hour = 3600.0 * HOURS / 2
    yield row("1 s of wav to a log-mel clip at 48 kHz", rounds, lambda n: view(sound, files / "second.wav", 0.0, plain))
    yield row(
        "1.28 s from the middle of two hours of mp3",
        rounds,
        lambda n: view(sound, files / "two-hours.mp3", hour + n, plain),
    )
    for name, start in (("ten-seconds", 4.0), ("ten-minutes", 1.0), ("ten-minutes", 300.0), ("4k", 1.0)):
        path = files / f"{name}.mp4"
        what = f"32 frames of 224 pixels from {name}.mp4, from second {start:g}"
        yield row(what, rounds, lambda n, path=path, start=start: view(pictures, path, start + n / 10, plain))
    if meshes is not None:
        points = find_recipe("modelnet40").streams.by_name["points"]
        found = sorted(path for path in meshes.rglob("*") if path.suffix in points.suffixes)[: 20 * rounds]
        for cache, how in ((False, "read and points drawn"), (True, "points from the cache")):
            modality = replace(points, cache=cache)
            for path in found if cache else ():
                view(modality, path, 0.0, plain)
            what = f"a training view of a mesh, {how}; median of {len(found)}"
            yield row(what, len(found), lambda n, modality=modality: view(modality, found[n % len(found)], 0.0, plain))


def view(modality: Modality, path: Path, start: float, random: np.random.Generator) -> np.ndarray:
    content = modality.open(path, Limits())
    try:
        return content.view(start, random)
    finally:
        content.close()


def row(what: str, rounds: int, read: Callable[[int], object]) -> list[str]:
    """Returns the median of so many reads; one more before them is not counted."""
    read(0)
    seconds = []
    for number in range(rounds):
        began = time.process_time()
        read(number)
        seconds.append(time.process_time() - began)
    median = statistics.median(seconds)
    return [what, f"{1000 * median:.1f} ms", f"{1 / median:,.1f} a second"]


if __name__ == "__main__":
    main()
