"""A maker of small labelled files for each kind, and folders of them for whatever a config reads."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from perceptio.modalities.registry import find_modality
from perceptio.modalities.streams import Streams
from support.pictures import CLASSES, draw_picture

Maker = Callable[[Path, str, np.random.Generator], None]
"""Writes a file of a class; takes its path without a suffix."""


def make_image(stem: Path, label: str, random: np.random.Generator) -> None:
    from PIL import Image

    Image.fromarray(draw_picture(label, random)).save(stem.with_suffix(".png"))


def make_audio(stem: Path, label: str, random: np.random.Generator) -> None:
    """A third of a second of a tone whose pitch is the class's."""
    from support.sounds import wav_bytes

    time = np.arange(2_003) / 6_007
    pitch = 200.0 * 2 ** CLASSES.index(label) * random.uniform(0.97, 1.03)
    samples = np.rint(9_000 * np.sin(2 * np.pi * pitch * time) + random.normal(0, 300, len(time)))
    stem.with_suffix(".wav").write_bytes(wav_bytes(samples[:, None].astype(np.int64), 6_007, bits=16))


def make_video(stem: Path, label: str, random: np.random.Generator) -> None:
    """Seven frames of a picture that fades in, with sound."""
    from support.videos import write_frames

    picture = draw_picture(label, random, side=34)
    frames = [(picture * (step + 1) / 7).astype(np.uint8) for step in range(7)]
    write_frames(stem.with_suffix(".mp4"), frames, sound=True)


def make_points(stem: Path, label: str, random: np.random.Generator) -> None:
    """A cloud of 53 points with their normals, stretched along the axis of its class."""
    normals = random.normal(size=(53, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    points = normals.copy()
    points[:, CLASSES.index(label)] *= 4
    rows = "\n".join(" ".join(f"{value:.5f}" for value in row) for row in np.hstack([points, normals]))
    stem.with_suffix(".xyz").write_text(f"{rows}\n")


def make_array(stem: Path, label: str, random: np.random.Generator) -> None:
    """A signal of 67 values that oscillates as its class does."""
    time = np.arange(67.0) + random.uniform(0, 10)
    np.save(stem.with_suffix(".npy"), np.sin(time / (1 + CLASSES.index(label))).astype(np.float32))


MAKERS: Mapping[str, Maker] = {
    "image": make_image,
    "audio": make_audio,
    "video": make_video,
    "points": make_points,
    "array": make_array,
}


def make_folder(root: Path, streams: Streams, *, per_class: int = 12, seed: int = 0) -> Path:
    """Writes `root/CLASS/NN.suffix` files that hold all streams, and returns the root.

    Raises:
        AssertionError: there is no maker for a kind, or no file of one kind holds the others.
    """
    kinds = {modality.kind for modality in streams.by_name.values()}
    missing = sorted(kinds - set(MAKERS))
    assert not missing, f"no maker in support.kinds for {missing}: give each kind one"
    whole = [kind for kind in kinds if kinds <= {kind, *find_modality(kind).companions}]
    assert whole, f"no single file holds {sorted(kinds)}"
    random = np.random.default_rng(seed)
    for label in CLASSES:
        (root / label).mkdir(parents=True, exist_ok=True)
        for number in range(per_class):
            MAKERS[whole[0]](root / label / f"{number:02d}", label, random)
    return root
