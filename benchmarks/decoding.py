"""Decodes many files of each modality, a tenth of them bad, and measures rate, memory, descriptors and what is left.

    PYTHONPATH=src:tests python benchmarks/decoding.py [--decodes 5000] [--kinds image,audio] [--threads]

Files are read as `perceptio predict` reads them, in child processes; with `--threads` in four threads of this process,
for comparison. The memory and the descriptors are those of this process, from a tenth of the way to the end.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil

from perceptio.data.children import Children
from perceptio.data.limits import Limits
from perceptio.errors import FileError
from perceptio.modalities.registry import find_modality
from perceptio.modalities.streams import StreamReader, single_stream
from perceptio.runs.predict import Views
from support.kinds import MAKERS
from support.pictures import CLASSES

NUM_FILES = 50
BATCH_SIZE = 32
SHARED = Path("/dev/shm")


def main() -> None:
    """Prints a row for each modality."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--decodes", type=int, default=5_000)
    parser.add_argument("--kinds", default=",".join(MAKERS))
    parser.add_argument("--threads", action="store_true")
    arguments = parser.parse_args()
    print("| kind | decodes | refused | files/s | RSS growth MiB | descriptors | children left | /dev/shm left |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
    for kind in arguments.kinds.split(","):
        with tempfile.TemporaryDirectory() as folder:
            print(measured(kind, make_files(kind, Path(folder)), arguments.decodes, arguments.threads), flush=True)


def make_files(kind: str, folder: Path) -> list[Path]:
    """Writes fifty files of a kind, every tenth of them cut to its half."""
    random = np.random.default_rng(0)
    for number in range(NUM_FILES):
        MAKERS[kind](folder / f"{number:02d}", CLASSES[number % len(CLASSES)], random)
    files = sorted(folder.iterdir())
    for path in files[::10]:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] if kind != "points" else b"no points")
    return files


def measured(kind: str, files: list[Path], num_decodes: int, in_threads: bool) -> str:
    """Returns the row of a kind."""
    reader = StreamReader(single_stream(find_modality(kind)()), Limits())
    jobs = [{"": files[number % len(files)]} for number in range(num_decodes)]
    process = psutil.Process()
    shared = set(SHARED.iterdir())
    num_refused = 0
    rss, descriptors = [], []
    began = time.monotonic()
    for number, answer in enumerate(_answers(reader, jobs, in_threads)):
        num_refused += isinstance(answer, FileError)
        if number == num_decodes // 10:
            rss.append(process.memory_info().rss)
            descriptors.append(process.num_fds())
    seconds = time.monotonic() - began
    rss.append(process.memory_info().rss)
    deadline = time.monotonic() + 10
    while len(process.children(recursive=True)) > 1 and time.monotonic() < deadline:
        time.sleep(0.1)
    left = max(0, len(process.children(recursive=True)) - 1)  # the server of child processes stays
    growth = (rss[1] - rss[0]) / 2**20
    return (
        f"| {kind} | {num_decodes:,} | {num_refused:,} | {num_decodes / seconds:,.0f} | {growth:.1f} | "
        f"{descriptors[0]} to {process.num_fds()} | {left} | {len(set(SHARED.iterdir()) - shared)} |"
    )


def _answers(reader: StreamReader, jobs: Iterable[dict[str, Path]], in_threads: bool) -> Iterator[object]:
    if not in_threads:
        with Children(Views(reader), reader.allowance(whole=True)) as children:
            yield from children.map(jobs)
        return

    def read(job: dict[str, Path]) -> object:
        try:
            return reader.evaluation_views(job)
        except FileError as error:
            return error

    jobs = list(jobs)
    with ThreadPoolExecutor(4) as pool:
        for start in range(0, len(jobs), BATCH_SIZE):
            yield from list(pool.map(read, jobs[start : start + BATCH_SIZE]))


if __name__ == "__main__":
    sys.exit(main())
