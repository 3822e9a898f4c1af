"""Makes the embedded sample (src/perceptio/data/fashion_sample) from the whole of Fashion-MNIST.

    python scripts/make_fashion_sample.py FOLDER

FOLDER holds the four IDX files as Debian's package dataset-fashion-mnist installs them (train-images-idx3-ubyte.gz and
so on, in usr/share/datasets/fashion-mnist). The rule: of each half, the first 1,200 (train) and 200 (test) images of
each class in file order; what is kept stays in file order. No chance is involved, and no name or time is written into
the gzip headers, so that two runs with the same zlib give the same bytes.
"""

import gzip
import struct
import sys
from pathlib import Path

import numpy as np

TARGET = Path(__file__).resolve().parent.parent / "src" / "perceptio" / "data" / "fashion_sample"
PER_CLASS = {"train": 1200, "t10k": 200}
NUM_CLASSES = 10


def read(path: Path, num_axes: int) -> np.ndarray:
    content = gzip.decompress(path.read_bytes())
    magic, *sizes = struct.unpack(f">{1 + num_axes}I", content[: 4 * (1 + num_axes)])
    if magic != 0x0800 + num_axes:
        raise SystemExit(f"{path.name} must be an IDX file of bytes with {num_axes} axes; its magic is {magic:#x}")
    return np.frombuffer(content, np.uint8, offset=4 * (1 + num_axes)).reshape(sizes)


def write(path: Path, values: np.ndarray) -> None:
    header = struct.pack(f">{1 + values.ndim}I", 0x0800 + values.ndim, *values.shape)
    path.write_bytes(gzip.compress(header + values.tobytes(), compresslevel=9, mtime=0))


def first_of_each_class(labels: np.ndarray, per_class: int) -> np.ndarray:
    kept = [np.flatnonzero(labels == label)[:per_class] for label in range(NUM_CLASSES)]
    short = [label for label, rows in enumerate(kept) if len(rows) < per_class]
    if short:
        raise SystemExit(f"classes {short} have fewer than {per_class} images: this is not the whole Fashion-MNIST")
    return np.sort(np.concatenate(kept))


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    folder = Path(sys.argv[1])
    TARGET.mkdir(parents=True, exist_ok=True)
    for part, per_class in PER_CLASS.items():
        images = read(folder / f"{part}-images-idx3-ubyte.gz", 3)
        labels = read(folder / f"{part}-labels-idx1-ubyte.gz", 1)
        rows = first_of_each_class(labels, per_class)
        write(TARGET / f"{part}-images-idx3-ubyte.gz", images[rows])
        write(TARGET / f"{part}-labels-idx1-ubyte.gz", labels[rows])
        print(f"{part}: {len(rows)} of {len(labels)} images")
    size = sum(file.stat().st_size for file in TARGET.iterdir())
    print(f"{TARGET}: {size:,} bytes")


if __name__ == "__main__":
    main()
