"""Small samples in shards against the same files in folders: index, order, memory and rate of two epochs.

    python benchmarks/shards.py --samples 100000 --workers 4 --out /somewhere/with/space

Every sample is decoded as training decodes it. The folder and the shards are made on the first call and kept.
"""

import argparse
import io
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from perceptio.data.batches import make_loader
from perceptio.data.dataset import TrainingSamples
from perceptio.data.limits import Limits
from perceptio.data.order import ShardBlocks, TrainingOrder
from perceptio.data.records import Source
from perceptio.data.shards.packing import pack
from perceptio.data.shards.source import ShardSource
from perceptio.data.sources import open_source
from perceptio.modalities.image import ImageModality
from perceptio.modalities.streams import StreamReader, single_stream

BATCH_SIZE = 250  # at most
CLASSES = 10
EPOCHS = 2
SIDE = 32
LIMITS = Limits()


def make_folder(folder: Path, count: int) -> None:
    """Writes small noisy JPEGs of ten classes."""
    draw = np.random.default_rng(0)
    pictures = []
    for _ in range(256):
        buffer = io.BytesIO()
        Image.fromarray(draw.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)).save(buffer, "JPEG")
        pictures.append(buffer.getvalue())
    for label in range(CLASSES):
        (folder / str(label)).mkdir(parents=True)
    for number in range(count):
        (folder / str(number % CLASSES) / f"{number:07d}.jpg").write_bytes(pictures[number % len(pictures)])


def opened(place: Path, what: str) -> Source:
    begin = time.monotonic()
    source = open_source(str(place), "auto", LIMITS)
    print(f"{what}: {len(source.records):,} samples listed in {time.monotonic() - begin:.2f} s", flush=True)
    return source


def memory() -> Iterator[tuple[str, float]]:
    """Yields name and resident memory, in MB, of this process and each loader worker."""
    own = psutil.Process()
    yield "main", own.memory_info().rss / 1e6
    children = [child for child in own.children(recursive=True) if child.memory_info().rss > 5e7]
    for number, child in enumerate(sorted(children, key=lambda child: child.pid)):
        yield f"worker {number}", child.memory_info().rss / 1e6


def two_epochs(source: Source, workers: int, blocks: ShardBlocks | None, what: str) -> None:
    reader = StreamReader(single_stream(ImageModality(size=(SIDE, SIDE), randaugment_layers=0)), LIMITS)
    samples = TrainingSamples(source, source.records, reader, seed=0)
    # One that divides their number: an epoch then shows each of them once.
    batch_size = next(size for size in range(min(BATCH_SIZE, len(samples)), 0, -1) if len(samples) % size == 0)
    per_epoch = len(samples) // batch_size
    order = TrainingOrder(
        seed=0, num_samples=len(samples), batch_size=batch_size, num_micro_batches=1, first_step=0,
        num_steps=EPOCHS * per_epoch, blocks=blocks,
    )  # fmt: skip
    seen = np.zeros((EPOCHS, len(samples)), np.int64)
    shown = max(1, EPOCHS * per_epoch // 8)
    begin = time.monotonic()
    for step, batch in enumerate(make_loader(samples, order, num_workers=workers)):
        if step == 0:
            began, first = time.monotonic(), len(batch)
        assert not batch.failures
        seen[step // per_epoch, batch.indices.numpy()] += 1
        if step % shown == shown - 1 or step == 0:
            shares = ", ".join(f"{name} {size:.0f}" for name, size in memory())
            print(f"  {what}, step {step + 1:,} of {EPOCHS * per_epoch:,}: MB {shares}", flush=True)
    total = EPOCHS * per_epoch * batch_size - first
    rate = total / (time.monotonic() - began)
    once = bool((seen == 1).all())
    print(f"{what}: {rate:,.0f} samples/s; first batch after {began - begin:.1f} s; each sample once an epoch: {once}")
    assert once


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--shard-bytes", type=int, default=16 * 2**20)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    if arguments.samples < 2 * CLASSES:
        parser.error(f"--samples must be at least {2 * CLASSES}, two a class: got {arguments.samples}")
    os.environ["XDG_CACHE_HOME"] = str(arguments.out / "cache")
    folder, shards = arguments.out / "folder", arguments.out / "shards"
    if not folder.exists():
        make_folder(folder, arguments.samples)
    source = opened(folder, "folder")
    if not shards.exists():
        begin = time.monotonic()
        done = pack(source, shards, name="small", shard_bytes=arguments.shard_bytes)
        print(f"packed {len(done.shards)} shards, {done.num_bytes / 1e6:,.0f} MB, in {time.monotonic() - begin:.0f} s")
    packed = opened(shards, "shards with their index")
    (shards / "index.jsonl").rename(shards / "kept")
    try:
        opened(shards, "shards walked anew")
        opened(shards, "shards from the user's cache")
    finally:
        (shards / "kept").rename(shards / "index.jsonl")
    assert packed.records == source.records
    assert isinstance(packed, ShardSource)
    blocks = ShardBlocks(packed.shards_of(packed.records), 4)
    two_epochs(packed, arguments.workers, None, "shards, all shuffled")
    two_epochs(packed, arguments.workers, blocks, "shards, four together")
    two_epochs(source, arguments.workers, None, "folder")


if __name__ == "__main__":
    main()
