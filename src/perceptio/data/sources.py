"""Opens whatever a user points at: class folders, a manifest, shards, IDX files, or the embedded sample."""

import difflib
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

from perceptio.data.audioset import is_audioset_folder, read_audioset
from perceptio.data.fashion_sample import read_fashion_sample
from perceptio.data.folder import read_folder
from perceptio.data.idx import is_idx_folder, read_idx
from perceptio.data.limits import Limits
from perceptio.data.manifest import MANIFEST_SUFFIXES, read_manifest
from perceptio.data.names import printable, suffix_of
from perceptio.data.records import Source
from perceptio.data.shards.patterns import looks_like_shards
from perceptio.data.shards.remote import scheme_of
from perceptio.data.shards.source import read_shards
from perceptio.data.shards.tables import Progress
from perceptio.errors import UsageError, nearest

SourceFormat: TypeAlias = Literal["auto", "folder", "manifest", "idx", "audioset", "shards", "sample"]

SAMPLE_NAME = "fashion-sample"


def open_source(
    path: str,
    format: SourceFormat,
    limits: Limits,
    part_columns: Sequence[str] = (),
    progress: Progress | None = None,
    *,
    asked: Collection[str] = (),
    media: Sequence[frozenset[str]] = (),
) -> Source:
    """Opens a source of samples.

    Args:
        path: a folder or a manifest; for the format "sample" empty or "fashion-sample", as there is only that one.
        format: "auto" looks: a URL, a .tar or a folder of them is shards, a table or a folder with metadata.csv
            (.jsonl, .parquet) is a manifest, a folder with train-images-idx3-ubyte is IDX, one with AudioSet's lists
            is AudioSet, any other folder holds class folders. The others insist on what they say.
        part_columns: names of columns by which a manifest lists several files of a sample, such as image and audio.
        progress: is told how many shards are known, of how many.
        asked: suffixes of the kinds of files that are asked for. In class folders those are samples, even .txt.
        media: suffixes of the files that hold what is wanted, the better ones first. AudioSet's lists name videos, not
            files, and it takes no others.

    Raises:
        UsageError: nothing is there, or it is not what the format says. The message names the nearest neighbour.
        DataError: something is there, but it cannot be used.
    """
    if format == "sample":
        if path not in ("", SAMPLE_NAME):
            raise UsageError(f"the embedded sample is {SAMPLE_NAME!r}; {path!r} has no effect, remove it")
        return read_fashion_sample()
    if format == "shards" or (format == "auto" and looks_like_shards(path)):
        return read_shards(_checked_shards(path), limits, progress)
    place = existing_path(path)
    readers = _readers(part_columns, asked, media)
    chosen = readers.get(format) or next((reader for reader in readers.values() if reader.fits(place)), None)
    if chosen is None:
        kinds = ", ".join(MANIFEST_SUFFIXES)
        raise UsageError(f"{path} is a {suffix_of(path) or 'single'} file; give a folder, or a manifest ({kinds})")
    if not chosen.fits(place):
        raise UsageError(f"{path} is not {chosen.what}; format auto looks what it is")
    return chosen.read(place, limits)


def _checked_shards(path: str) -> str:
    """Returns the place of shards; on disk a single one, or the folder of several, must be there."""
    if scheme_of(path) is None and "{" not in path:
        existing_path(path)
    return path


def manifest_in(folder: Path) -> Path | None:
    """Returns the metadata table that makes a folder a manifest, or None.

    Raises:
        UsageError: there are several.
    """
    found = [folder / f"metadata{suffix}" for suffix in MANIFEST_SUFFIXES if (folder / f"metadata{suffix}").is_file()]
    if len(found) > 1:
        raise UsageError(f"{folder.name}/ holds {' and '.join(file.name for file in found)}; keep one")
    return found[0] if found else None


def existing_path(path: str) -> Path:
    """Returns what lies at a path.

    Raises:
        UsageError: nothing; with what lies nearby under a like name.
    """
    if not path.strip():
        raise UsageError("no data given; name a folder or a manifest, such as --data photos/")
    place = Path(path).expanduser()
    try:
        exists = place.exists()
    except OSError as error:
        raise UsageError(f"no folder {printable(path[:80])} can exist: {error.strerror}") from error
    if exists:
        return place
    parent = place.parent
    if not parent.is_dir():
        raise UsageError(f"no folder {printable(str(parent))}/, so no {printable(place.name)} in it")
    here = "here" if parent == Path() else f"in {printable(str(parent))}/"
    what = "file" if suffix_of(place.name) in MANIFEST_SUFFIXES else "folder"
    shown = f"{printable(place.name)}{'' if what == 'file' else '/'}"
    siblings = [entry.name for entry in parent.iterdir() if not entry.name.startswith(".")]
    close = difflib.get_close_matches(place.name, siblings, n=1, cutoff=0.5)
    if close:
        end = "/" if (parent / close[0]).is_dir() else ""
        raise UsageError(f"no {what} {shown} {here}; did you mean {printable(close[0])}{end} ?")
    hint = nearest(place.name, siblings).replace("Known:", "There is:") if 0 < len(siblings) <= 8 else ""
    raise UsageError(f"no {what} {shown} {here}.{hint}")


def _is_manifest(place: Path) -> bool:
    if place.is_dir():
        return manifest_in(place) is not None
    return suffix_of(place.name) in MANIFEST_SUFFIXES


def _read_manifest(place: Path, limits: Limits, part_columns: Sequence[str]) -> Source:
    table = manifest_in(place) if place.is_dir() else place
    assert table is not None, "fits() was asked before"
    return read_manifest(table, limits, part_columns)


def _read_idx(place: Path, limits: Limits) -> Source:
    return read_idx(place, limits=limits)


class _Reader(NamedTuple):
    fits: Callable[[Path], bool]
    read: Callable[[Path, Limits], Source]
    what: str


def _readers(
    part_columns: Sequence[str], asked: Collection[str], media: Sequence[frozenset[str]]
) -> dict[str, _Reader]:
    """Returns the readers by format, in the order in which "auto" asks."""
    return {
        "manifest": _Reader(
            _is_manifest,
            partial(_read_manifest, part_columns=part_columns),
            "a .csv, .jsonl or .parquet file or a folder with metadata.csv",
        ),
        "idx": _Reader(is_idx_folder, _read_idx, "a folder with train-images-idx3-ubyte.gz"),
        "audioset": _Reader(
            is_audioset_folder,
            partial(read_audioset, media=media),
            "a folder with class_labels_indices.csv and eval_segments.csv",
        ),
        "folder": _Reader(Path.is_dir, partial(read_folder, asked=asked), "a folder"),
    }
