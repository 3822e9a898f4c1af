"""A report content with every part filled, and pictures to read back."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from perceptio.reporting.content import (
    Cost,
    DataSummary,
    Headline,
    JudgedFile,
    Origin,
    Picture,
    Range,
    ReportContent,
    SeenSample,
    SkippedFile,
)
from perceptio.tasks.metrics import per_class_table

CLASSES = ("cat", "dog <script>alert(1)</script>", "bell\x07\u202e & 犬")
HISTORY = [
    {"epoch": 1, "step": 13, "train_loss": 1.5, "learning_rate": 1e-3},
    {"epoch": 2, "step": 26, "train_loss": 0.75, "validation_loss": 0.9, "validation_accuracy": 0.5},
    {
        "epoch": 3,
        "step": 39,
        "train_loss": 0.5,
        "validation_loss": float("nan"),
        "validation_accuracy": 0.8125,
    },
]
CONFUSION = np.array([[50, 9, 1], [2, 60, 0], [20, 0, 37]])


@pytest.fixture
def read_png() -> Callable[[Path | bytes], np.ndarray]:
    """Decodes a PNG to (height, width, 3) and refuses one that is of a single colour."""

    def read(source: Path | bytes) -> np.ndarray:
        content = source if isinstance(source, bytes) else source.read_bytes()
        with Image.open(io.BytesIO(content)) as picture:
            assert picture.format == "PNG"
            pixels = np.array(picture.convert("RGB"))
        assert (pixels != pixels[0, 0]).any(), "a blank picture"
        return pixels

    return read


@pytest.fixture
def content(tmp_path: Path) -> ReportContent:
    """All sections, hostile names in every place where a name can stand."""
    picture = tmp_path / "picture.png"
    Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3)).save(picture)
    return ReportContent(
        run="photos-001",
        recipe="images-small",
        headline=Headline(
            metric="accuracy",
            value=0.82123,
            split="test",
            num_samples=179,
            interval=(0.7584, 0.8702),
            chance=0.3352,
            chance_class=CLASSES[1],
        ),
        history=HISTORY,
        best_epoch=2,
        has_model=True,
        classes=CLASSES,
        confusion=CONFUSION,
        per_class=per_class_table(CONFUSION, CLASSES),
        mistakes=(
            JudgedFile(
                file='horse/"><img src=x>.png',
                split="test",
                image=np.full((5, 7, 1), 9, np.uint8),
                labelled=CLASSES[1],
                answers=((CLASSES[0], 0.9876), (CLASSES[2], 0.01)),
            ),
            JudgedFile(
                file="cat/none.png", split="test", image=None, labelled=CLASSES[0], answers=((CLASSES[2], 0.5),)
            ),
        ),
        unsure=(
            JudgedFile(
                file="cat/<b>7.png",
                split="test",
                image=np.full((40, 120, 3), 9, np.uint8),
                labelled=CLASSES[0],
                answers=((CLASSES[0], 0.41), (CLASSES[1], 0.405)),
            ),
        ),
        suspects=(
            JudgedFile(
                file="dog/8.png",
                split="validation",
                image=np.arange(200 * 300, dtype=np.uint64).astype(np.uint8).reshape(200, 300, 1),
                labelled=CLASSES[1],
                answers=((CLASSES[0], 0.97),),
            ),
        ),
        num_suspects=3,
        input_size="64 x 64 x 3",
        samples=(
            SeenSample(image=np.arange(48, dtype=np.uint8).reshape(4, 4, 3), labels="cat"),
            SeenSample(image=np.arange(48, dtype=np.uint8).reshape(2, 24, 1), labels=CLASSES[1]),
        ),
        attention=(Picture(path=picture, caption="Attention of a.jpg."),),
        data=DataSummary(
            source="photos/<i>",
            counts={"train": dict.fromkeys(CLASSES, 834), "test": {CLASSES[0]: 60, "late class": 7}},
            num_samples={"train": 2502, "test": 67},
            how_split="The split was drawn by class with seed 0: 15 % for validation and 15 % for test.",
            sizes=(Range(name="height (pixels)", smallest=120, median=768.5, largest=4000),),
            skipped=(SkippedFile(file="bad\udce9\n\x1b[31m.jpg", reason="truncated after 20,480 bytes"),),
            duplicates=(("a/1.jpg", "a/2.jpg"),),
            leaks=(("a/3.jpg", "b/<u>4.jpg"),),
            parted=(("a/6.jpg", "b/<i>6.jpg"),),
            mislabelled=(("a/5.jpg (a)", "b/<s>5.jpg (b)"),),
            notes=("12 files were grey.",),
        ),
        cost=Cost(
            seconds=843.2,
            samples_per_second=35.4,
            peak_memory_bytes=1_900_000_000,
            num_parameters=4_123_456,
            flops_per_sample=707.2e9,
            waiting_share=0.031,
        ),
        origin=Origin(
            command="perceptio train --data 'a</code><script>b'",
            folder="runs/photos 001",
            config={"model": {"num_latents": 128, "name": "</pre>\x9b"}, "source": Path("photos")},
            seed=7,
            machine="2 CPU cores",
            versions={"torch": "2.13.0"},
            created="2026-09-01 12:30",
        ),
        notes=("Stopped: no better validation loss since epoch 2.",),
    )
