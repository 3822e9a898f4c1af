"""The demo behind `make demo`: trains on the embedded pictures, evaluates, predicts files, draws attention maps.

Every step is the command that anyone can type; it is printed before it runs. All output goes to demo-out/.
"""

import shutil
import subprocess
import sys
import time
from pathlib import Path

from PIL import Image

from perceptio.data.fashion_sample import read_fashion_sample
from perceptio.data.records import MAIN

OUT = Path("demo-out")
RUN = OUT / "run"
PICTURES = OUT / "pictures"
SHOWN = {"sneaker": 0, "dress": 1, "bag": 2, "trouser": 3}


def main() -> None:
    began = time.monotonic()
    if OUT.exists():
        shutil.rmtree(OUT)
    files = write_pictures()
    perceptio("train", "fashion-sample", "--out", str(RUN))
    perceptio("evaluate", str(RUN))
    perceptio("predict", str(RUN), *files, "--top", "2")
    attention = OUT / "attention.png"
    perceptio("attend", str(RUN), files[0], "--out", str(attention))
    print(f"\nDone in {time.monotonic() - began:.0f} s. What there is to look at:")
    for path, what in (
        (RUN / "report.html", "the report: result, curves, confusion, surest mistakes; opens in any browser"),
        (attention, "what eight latents attend to in a picture, at the first and the second cross-attend"),
        (RUN / "plots", "all pictures of the report"),
        (RUN / "model.safetensors", "the model; it predicts alone: perceptio predict THIS FILE .."),
        (PICTURES, "four test pictures as files, to try `perceptio predict` and `attend` on"),
    ):
        print(f"  {path}\n      {what}")
    print("\nYour own pictures: .venv/bin/perceptio train --data FOLDER   (one sub-folder a class)")


def write_pictures() -> list[str]:
    """Writes a few test pictures as PNG files, so that the demo predicts files and not arrays."""
    PICTURES.mkdir(parents=True)
    source = read_fashion_sample()
    files = []
    for label, position in SHOWN.items():
        records = [record for record in source.records if record.split == "test" and record.labels == (label,)]
        path = PICTURES / f"{label}.png"
        Image.fromarray(source.load(records[position])[MAIN]).save(path)
        files.append(str(path))
    return files


def perceptio(*arguments: str) -> None:
    """Runs a command as a user would, after printing it."""
    print(f"\n$ perceptio {' '.join(arguments)}", flush=True)
    subprocess.run([sys.executable, "-m", "perceptio", *arguments], check=True)


if __name__ == "__main__":
    main()
