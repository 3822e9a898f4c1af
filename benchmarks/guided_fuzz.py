"""Fuzzes what is parsed in Python itself, guided by coverage (atheris, libFuzzer): the readers of text and of tar.

    pip install atheris
    python benchmarks/guided_fuzz.py vrml --minutes 10

A text must be read or refused with the error that its reader promises; anything else ends the campaign with the input
in a file. 10 s or 2 GiB for one input count as well. Targets: see TARGETS.
"""

import argparse
import io
import sys
import tarfile
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

try:
    import atheris
except ImportError:  # main() says how to install it; --help needs none
    atheris = None

with nullcontext() if atheris is None else atheris.instrument_imports(include=["perceptio"]):
    from perceptio.data.limits import Limits
    from perceptio.data.manifest import read_manifest
    from perceptio.data.shards.index import read_index, shard_names
    from perceptio.data.shards.scan import scan_shard
    from perceptio.data.vrml import read_vrml
    from perceptio.json_values import parse_json

from perceptio.errors import DataError, FileError, UsageError
from support.fuzz_seeds import FORMATS, seed_of

SHARED = Path("/dev/shm")
MOST_BYTES = 65_536
_TAR_WORDS = (b"ustar", b"00", b"././@LongLink", b"path=", b"size=", b"GNU.sparse.", b"../")


@dataclass(frozen=True)
class Target:
    """What reads the bytes, which errors it may raise, and what the campaign begins with."""

    read: Callable[[bytes], object]
    errors: tuple[type[Exception], ...]
    seeds: Callable[[], list[bytes]]
    words: tuple[bytes, ...] = ()


def _known(name: str) -> tuple[Callable[[], list[bytes]], tuple[bytes, ...]]:
    """Returns seeds and words of a format whose mutants are read as well (`benchmarks/fuzz.py`)."""
    return lambda: [seed_of(name)], FORMATS[name].words


def _table(suffix: str) -> Callable[[bytes], object]:
    path = SHARED / f"guided-fuzz-{suffix[1:]}{suffix}"

    def read(content: bytes) -> object:
        path.write_bytes(content)
        return read_manifest(path, Limits())

    return read


def _tar() -> list[bytes]:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in ("a/0.png", "a/0.cls", "ü" * 60 + ".png"):
            member = tarfile.TarInfo(name)
            member.size = 5
            archive.addfile(member, io.BytesIO(b"12345"))
    return [stream.getvalue()]


def _index() -> list[bytes]:
    from perceptio.data.shards.index import index_bytes

    (tar,) = _tar()
    return [index_bytes([scan_shard(io.BytesIO(tar), "a.tar", len(tar), Limits())])]


def _both_readers_of_an_index(content: bytes) -> object:
    return shard_names(content, Limits()), read_index(content, Limits())


TARGETS = {
    "vrml": Target(lambda content: read_vrml(content, Limits()), (FileError,), *_known("wrl")),
    "csv": Target(_table(".csv"), (DataError, UsageError), *_known("csv")),
    "jsonl": Target(_table(".jsonl"), (DataError, UsageError), *_known("jsonl")),
    "json": Target(parse_json, (ValueError,), *_known("json")),
    "tar": Target(
        lambda content: scan_shard(io.BytesIO(content), "a.tar", len(content), Limits()), (FileError,), _tar, _TAR_WORDS
    ),
    "index": Target(_both_readers_of_an_index, (FileError,), _index, FORMATS["jsonl"].words),
}


def main() -> None:
    """Runs one campaign; libFuzzer ends the process, with 0 if nothing was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if atheris is None:
        parser.error("this campaign needs atheris: pip install atheris")
    target = TARGETS[arguments.target]
    folder = Path(tempfile.mkdtemp(prefix="guided-fuzz-"))
    for number, seed in enumerate(target.seeds()):
        (folder / f"seed-{number}").write_bytes(seed)
    words = folder.with_suffix(".words")
    words.write_text("".join('"' + "".join(f"\\x{byte:02x}" for byte in word) + '"\n' for word in target.words))

    def read(content: bytes) -> None:
        try:
            target.read(content)
        except target.errors as error:
            if len(str(error).splitlines()) != 1:
                raise RuntimeError(f"not one line: {error}") from error

    options = [
        f"-max_total_time={round(60 * arguments.minutes)}",
        f"-seed={arguments.seed}",
        f"-max_len={MOST_BYTES}",
        *([f"-dict={words}"] if target.words else []),
        "-timeout=10",
        "-rss_limit_mb=2048",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *options, str(folder)], read)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
