"""Reads a folder with one sub-folder a class, with or without folders for the splits above them."""

from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath

from perceptio.data.folder_listing import Listing, list_folder
from perceptio.data.limits import Limits
from perceptio.data.names import (
    SPLIT_NAMES,
    Split,
    bytewise,
    check_classes,
    count_note,
    few,
    printable,
    shown_path,
)
from perceptio.data.records import FileSource, Record, sort_records
from perceptio.errors import DataError


def read_folder(folder: Path, limits: Limits, asked: Collection[str] = ()) -> FileSource:
    """Reads the samples of a folder whose sub-folders are the classes; deeper folders belong to their class.

    If all folders at the top that hold samples bear the name of a split (train, val, valid, validation, dev, test),
    they are the splits and the folders in them the classes. If instead every class folder holds split folders and
    nothing else, as ModelNet40 does (airplane/train/airplane_0001.off), those are the splits. Hidden files, Thumbs.db,
    __MACOSX and files that accompany data (.txt, .json and the like) do not count; every other file becomes a record,
    and whether it can be used is for the probe to say.

    Args:
        asked: suffixes of the kinds of files that are asked for, which count in any case; empty: none is.

    Raises:
        DataError: there are no class folders, fewer than two classes or too many files, or training and test folders
            stand among others.
    """
    listing = list_folder(folder, limits, asked)
    where = f"{shown_path(folder)}/"
    splits, notes = _splits(listing, where)
    inner = {} if splits else _inner_splits(listing)
    if inner:
        notes.append(f"{', '.join(sorted(inner, key=bytewise))} inside the class folders taken as splits")
    if not listing.files:
        raise DataError(f"{where} holds no files that could be samples{_ignored_hint(listing)}")
    records = []
    loose = []
    for name in listing.files:
        parts = PurePosixPath(name).parts
        split = splits.get(parts[0])
        below = parts[1:] if split else parts
        if len(below) < 2:
            loose.append(name)
        else:
            records.append(Record(name=name, labels=(below[0],), split=inner[below[1]] if inner else split))
    if not records:
        raise DataError(_no_classes(where, loose, splits))
    found = {record.labels[0] for record in records}
    empty = _empty_folders(listing, splits, found)
    if len(found) < 2:
        _refuse_one_class(listing, splits, found, empty, where)
    if empty:
        notes.append(
            f"{few(empty)}: {'a folder' if len(empty) == 1 else 'folders'} without files, and so no "
            f"{_plural(len(empty), 'class')}"
        )
    if loose:
        notes.append(f"{few(loose)} in no class folder and ignored")
    return FileSource(
        records=sort_records(records),
        classes=check_classes(found, limits, where=where),
        multi_label=False,
        notes=(*notes, *_notes(listing, records, splits)),
        root=folder,
    )


def _splits(listing: Listing, where: str) -> tuple[dict[str, Split], list[str]]:
    """Decides whether the top folders are splits, and says so. Folders without samples beside them decide nothing."""
    top = sorted(listing.inside(""), key=bytewise)
    named = [name for name in top if name.lower() in SPLIT_NAMES]
    if not named:
        return {}, []
    filled = {PurePosixPath(name).parts[0] for name in listing.files}
    others = [name for name in top if name not in named and name in filled]
    if others:
        alike = [name for name in named if name in filled]
        found = {SPLIT_NAMES[name.lower()] for name in alike}
        if "train" in found and len(found) > 1:
            one = len(others) == 1
            raise DataError(
                f"{where} holds {', '.join(alike)}, which look like splits, beside {'a folder' if one else 'folders'} "
                f"that would be {'a class' if one else 'classes'} ({few(others)}); move {'it' if one else 'them'} out "
                f"of {where}, or rename {', '.join(alike)} where they are classes too"
            )
        kind = "a class" if len(alike) == 1 else "classes"
        said = f"{', '.join(alike)} taken as {kind}, not as a split, since other folders ({few(others)}) stand beside"
        return {}, [said] if alike else []
    notes = [f"{', '.join(named)} taken as {'splits' if len(named) > 1 else 'a split'}"]
    if bare := [name for name in top if name not in named]:
        verbs = ("holds", "is") if len(bare) == 1 else ("hold", "are")
        notes.append(f"{few(bare)} {verbs[0]} no samples and {verbs[1]} ignored")
    return {name: SPLIT_NAMES[name.lower()] for name in named}, notes


def _inner_splits(listing: Listing) -> dict[str, Split]:
    """Returns the names of the folders inside the class folders, if all of them are splits and hold all files."""
    # Files in no folder at all, such as a README.txt where .txt files are asked for, are in no class.
    depths = {len(PurePosixPath(name).parts) for name in listing.files} - {1}
    names = {PurePosixPath(name).parts[1] for name in listing.files if len(PurePosixPath(name).parts) > 2}
    found = {SPLIT_NAMES.get(name.lower()) for name in names}
    if min(depths, default=0) < 3 or None in found or not {"train", "test"} <= found:
        return {}
    return {name: SPLIT_NAMES[name.lower()] for name in names}


def _no_classes(where: str, loose: list[str], splits: dict[str, Split]) -> str:
    if splits:
        return (
            f"{where} holds split folders ({', '.join(sorted(splits))}) with files but no class folders in them; make "
            f"one folder a class, as in {where}{sorted(splits)[0]}/cat/1.jpg, or list files and labels in "
            f"{where}metadata.csv"
        )
    return (
        f"{where} holds {len(loose):,} {_plural(len(loose), 'file')} but no class folders; make one folder a class, as "
        f"in {where}cat/1.jpg, or list files and labels in {where}metadata.csv"
    )


def _empty_folders(listing: Listing, splits: dict[str, Split], found: set[str]) -> list[str]:
    """Returns the folders that would be classes if they held files. People leave them behind, so they stop nothing."""
    tops: Sequence[str] = sorted(splits) if splits else [""]
    folders = {PurePosixPath(name).name for top in tops for name in listing.inside(top)}
    return sorted(folders - found, key=bytewise)


def _refuse_one_class(
    listing: Listing, splits: dict[str, Split], found: set[str], empty: Sequence[str], where: str
) -> None:
    """Says where other classes probably are: in folders without files, or in an only folder (an unpacked archive)."""
    if empty:
        raise DataError(
            f"{where} has class folders without files: {few(empty)}; fill or remove them{_ignored_hint(listing)}"
        )
    (only,) = found
    below = [] if splits else listing.inside(only)
    if len(below) > 1:
        raise DataError(
            f"{where} has only one class, {printable(only)}; there must be at least two to tell apart. "
            f"{printable(only)}/ holds {len(below)} folders ({few(sorted(below, key=bytewise))}): did you mean "
            f"{where}{printable(only)}/ ?"
        )


def _notes(listing: Listing, records: list[Record], splits: dict[str, Split]) -> list[str]:
    notes = []
    if listing.num_ignored:
        notes.append(f"{listing.num_ignored} hidden or system {_plural(listing.num_ignored, 'entry')} ignored")
    if listing.not_samples:
        notes.append(count_note(listing.not_samples, "ignored"))
    if listing.linked_folders:
        notes.append(f"linked folders are not followed: {few(sorted(listing.linked_folders, key=bytewise))}")
    if "train" in splits.values():
        trained = {record.labels[0] for record in records if record.split == "train"}
        unseen = sorted({record.labels[0] for record in records} - trained, key=bytewise)
        if unseen:
            notes.append(f"no training files for {_plural(len(unseen), 'class')} {few(unseen)}")
    return notes


def _ignored_hint(listing: Listing) -> str:
    if listing.not_samples:
        kinds = Counter(PurePosixPath(name).suffix.lower() for name in listing.not_samples)
        return (
            f" ({', '.join(sorted(kinds))} files do not count as samples, unless --source.kinds asks for a kind that is"
            " read from them)"
        )
    return ""


def _plural(number: int, word: str) -> str:
    if number == 1:
        return word
    return f"{word[:-1]}ies" if word.endswith("y") else f"{word}{'es' if word.endswith('s') else 's'}"
