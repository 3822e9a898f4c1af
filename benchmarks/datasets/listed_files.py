"""Writes a folder of files together with a list of their SHA-256, by which a rerun finds what is missing or damaged.

The list is FOLDER/SHA256SUMS, as `sha256sum -c` reads it. Its first line says what the files are made of, so that files
of another seed are not taken for those that are asked for.
"""

import csv
import hashlib
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeAlias

LIST = "SHA256SUMS"
Write: TypeAlias = Callable[[Path], object]
"""Writes a file to the path that it is given."""


def make_files(out: Path, origin: str, files: Mapping[str, Write]) -> None:
    """Writes the files that are not there yet, several at a time, and anew those that are not as the list says.

    Args:
        origin: what all of them are made of, in one line: package, version, seed.
        files: by name, below `out`. They are written in threads, and the path that each is given ends as its name does.
    """
    listed = {name: digest for name, digest in _listed_in(out, origin).items() if name in files}
    damaged = damaged_files(out, listed)
    if damaged:
        print(
            f"{len(damaged):,} of {len(listed):,} files in {out} are missing or damaged and are made anew "
            f"(first: {damaged[0]})",
            file=sys.stderr,
        )
    whole = listed.copy()
    for name in damaged:
        del whole[name]
    waiting = [name for name in files if name not in whole]
    for folder in {(out / name).parent for name in waiting}:
        folder.mkdir(parents=True, exist_ok=True)
    # Written anew, since a killed run may have left half a line; then line by line, so that it may be killed again.
    write_list(out, origin, whole)
    # In threads, not processes: those would live on, and write on, after a kill.
    with ThreadPoolExecutor() as pool, (out / LIST).open("a", buffering=1, encoding="utf-8") as file:
        paths, writes = [out / name for name in waiting], [files[name] for name in waiting]
        for name, digest in zip(waiting, pool.map(_write_whole, paths, writes), strict=True):
            file.write(f"{digest}  {name}\n")


def write_list(folder: Path, origin: str, digests: Mapping[str, str]) -> None:
    """Writes the list of a folder: what its files are made of, then the digest of each."""
    lines = [f"# {origin}", *(f"{digest}  {name}" for name, digest in digests.items())]
    folder.mkdir(parents=True, exist_ok=True)
    _write_whole(folder / LIST, lambda path: path.write_text("\n".join(lines) + "\n", encoding="utf-8"))


def read_list(folder: Path) -> tuple[str, dict[str, str]]:
    """Returns what the files of a folder are made of, and the digest of each."""
    first, *lines = (folder / LIST).read_text(encoding="utf-8").split("\n")
    found = [re.fullmatch(r"([0-9a-f]{64})  (.+)", line) for line in lines]
    return first.removeprefix("# "), {match[2]: match[1] for match in found if match}


def damaged_files(folder: Path, listed: Mapping[str, str]) -> list[str]:
    """Returns the files that are missing, or whose content is not the listed one."""
    return [
        name for name, digest in listed.items() if not (folder / name).is_file() or sha256_of(folder / name) != digest
    ]


def sha256_of(path: Path) -> str:
    """Returns the SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Writes a table of files, as Perceptio reads it."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)


def _listed_in(out: Path, origin: str) -> dict[str, str]:
    """Returns what an earlier run has written; ends the program where that is something else, or nobody knows what."""
    if (out / LIST).is_file():
        found, listed = read_list(out)
        if found != origin:
            sys.exit(f"{out} holds {found!r}; asked for is {origin!r}. Give another folder, or remove this one.")
        return listed
    if out.is_dir() and any(out.iterdir()):
        sys.exit(f"{out} holds files, but no {LIST} that says what they are. Give another folder, or remove this one.")
    return {}


def _write_whole(path: Path, write: Write) -> str:
    """Writes a file beside its place and renames it, so that its name never means a part of it; returns its digest."""
    beside = path.with_name(f".part-{path.name}")
    write(beside)
    digest = sha256_of(beside)
    beside.replace(path)
    return digest
