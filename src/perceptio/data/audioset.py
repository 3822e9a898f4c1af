"""Reads AudioSet's own lists: segment CSVs and the class list, beside folders with the media files one has got."""

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from perceptio.data.folder_listing import list_folder
from perceptio.data.limits import Limits
from perceptio.data.manifest_rows import Lines, csv_cells
from perceptio.data.names import Split, check_classes, count_note, printable
from perceptio.data.records import FileSource, Record, sort_records
from perceptio.errors import DataError

CLASS_LIST = "class_labels_indices.csv"
SEGMENT_LISTS: dict[str, Split] = {
    "balanced_train_segments.csv": "train",
    "unbalanced_train_segments.csv": "train",
    "eval_segments.csv": "test",
}
"""AudioSet's three lists; the evaluation list is the test, and validation is drawn from the training lists."""

# What tools call a downloaded segment: ID.wav, YID.wav, ID_30.000.mp4, ID_30000_40000.flac, ID-30-40.webm.
_FILE_NAME = re.compile(r"^Y?(?P<id>[A-Za-z0-9_-]{11})(?:[_-][0-9._-]+)?$")
_START = re.compile(r"^Y?[A-Za-z0-9_-]{11}[_-](?P<start>[0-9.]+)")


def is_audioset_folder(folder: Path) -> bool:
    """True if the folder holds AudioSet's class list and at least one of its segment lists."""
    return (folder / CLASS_LIST).is_file() and any((folder / name).is_file() for name in SEGMENT_LISTS)


def read_audioset(folder: Path, limits: Limits) -> FileSource:
    """Reads the segments whose media file lies anywhere below the folder, named after the segment's video.

    A file bears the video's 11 characters, perhaps with a Y before them and the start of the segment behind; it holds
    the segment, cut out, as the download tools leave it. Classes go by their display names. Segments without a file
    are no records, as few people hold all of them; a note counts them.

    Raises:
        DataError: a list cannot be read, names an unknown class, or no segment has a file.
    """
    names = _read_classes(folder / CLASS_LIST, limits)
    files = _files_by_id(folder, limits)
    records: list[Record] = []
    missing = 0
    for list_name, split in SEGMENT_LISTS.items():
        path = folder / list_name
        for number, row in _rows(path, limits) if path.is_file() else ():
            video, start = row[0].strip(), row[1].strip()
            file = _file_of(files.get(video, ()), start)
            if file is None:
                missing += 1
                continue
            records.append(Record(name=file, labels=_labels(row, names, f"{list_name}, line {number:,}"), split=split))
            if len(records) > limits.max_manifest_rows:
                raise DataError(
                    f"{folder.name}/ lists more than {limits.max_manifest_rows:,} segments that have a file "
                    "(--source.limits.max-manifest-rows)"
                )
    if not records:
        raise DataError(
            f"{folder.name}/ holds AudioSet's lists but no media file of their segments ({missing:,} listed); put "
            "files such as --PJHxphWEs.mp4 or --PJHxphWEs_30.000.wav anywhere below it"
        )
    unique = {record.name: record for record in records}
    known = {record.name for record in records}
    strays = [name for found in files.values() for name in found if name not in known]
    notes = [f"{len(unique):,} segments of AudioSet have a file, {missing:,} have none"]
    if strays:
        notes.append(count_note(strays, "in no list and ignored"))
    return FileSource(
        records=sort_records(list(unique.values())),
        classes=check_classes(names.values(), limits, where=CLASS_LIST),
        multi_label=True,
        notes=tuple(notes),
        root=folder,
    )


def _read_classes(path: Path, limits: Limits) -> dict[str, str]:
    names: dict[str, str] = {}
    with path.open("rb") as file:
        lines = Lines(file, path.name, limits)
        rows = csv_cells(lines, path.name)
        columns = next(rows, [])
        if not {"mid", "display_name"} <= set(columns):
            found = ", ".join(map(printable, columns)) or "none"
            raise DataError(f"{path.name} must have the columns mid and display_name; it has {found}")
        for cells in rows:
            if not cells:
                continue
            if len(cells) != len(columns):
                raise DataError(
                    f"{path.name}, line {lines.number:,}: {len(cells)} cells, but the first line names {len(columns)}"
                )
            row = dict(zip(columns, cells, strict=True))
            names[row["mid"]] = row["display_name"].strip()
            if len(names) > limits.max_classes:
                raise DataError(
                    f"{path.name} has more than {limits.max_classes:,} classes (--source.limits.max-classes)"
                )
    if len(set(names.values())) != len(names):
        raise DataError(f"{path.name} gives two classes one display name; make them different")
    return names


def _rows(path: Path, limits: Limits) -> Iterator[tuple[int, list[str]]]:
    with path.open("rb") as file:
        lines = Lines(file, path.name, limits)
        for row in csv_cells(lines, path.name, skip_spaces=True):
            if not row or row[0].startswith("# "):
                continue
            if len(row) != 4:
                raise DataError(
                    f"{path.name}, line {lines.number:,}: must hold YTID, start_seconds, end_seconds, positive_labels; "
                    f"it holds {len(row)} cells"
                )
            yield lines.number, row


def _labels(row: list[str], names: dict[str, str], where: str) -> tuple[str, ...]:
    found = [label.strip() for label in row[3].split(",") if label.strip()]
    unknown = [label for label in found if label not in names]
    if unknown:
        raise DataError(f"{where}: the class {unknown[0]!r} is not in {CLASS_LIST}")
    return tuple(names[label] for label in dict.fromkeys(found))


def _files_by_id(folder: Path, limits: Limits) -> dict[str, list[str]]:
    files: dict[str, list[str]] = {}
    for name in list_folder(folder, limits).files:
        match = _FILE_NAME.match(PurePosixPath(name).stem)
        if match:
            files.setdefault(match["id"], []).append(name)
    return files


def _file_of(names: list[str] | tuple[()], start: str) -> str | None:
    """Returns the file whose name says the start, in seconds or milliseconds, else the only one that says none."""
    for name in names:
        match = _START.match(PurePosixPath(name).stem)
        said = match["start"].rstrip(".") if match else ""
        if said and float(said) in (float(start), 1000 * float(start)):
            return name
    unmarked = [name for name in names if _START.match(PurePosixPath(name).stem) is None]
    return unmarked[0] if len(unmarked) == 1 else None
