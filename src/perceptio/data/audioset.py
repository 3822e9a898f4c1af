"""Reads AudioSet's own lists: segment CSVs and the class list, beside folders with the media files one has got."""

import re
from collections.abc import Iterator, Sequence, Set
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from perceptio.data.folder_listing import list_folder
from perceptio.data.limits import Limits
from perceptio.data.manifest_rows import Lines, csv_cells
from perceptio.data.names import Split, bytewise, check_classes, count_note, printable, suffix_of
from perceptio.data.records import FileSource, Record, sort_records
from perceptio.errors import DataError

CLASS_LIST = "class_labels_indices.csv"
SEGMENT_LISTS: dict[str, Split] = {
    "balanced_train_segments.csv": "train",
    "unbalanced_train_segments.csv": "train",
    "eval_segments.csv": "test",
}
"""AudioSet's three lists; the evaluation list is the test, and validation is drawn from the training lists."""

SEGMENT_KINDS = ("video", "audio")
"""What a segment holds, where nobody says what is wanted of it."""

_NUMBER = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?")
# What tools call a downloaded segment: ID.wav, YID.wav, ID_30.000.mp4, ID_30000_40000.flac, ID-30-40.webm.
_FILE_NAME = re.compile(
    rf"Y?(?P<video>[A-Za-z0-9_-]{{11}})(?:[_-](?P<start>{_NUMBER.pattern})(?:[_-]{_NUMBER.pattern})?)?"
)


def is_audioset_folder(folder: Path) -> bool:
    """True if the folder holds AudioSet's class list and at least one of its segment lists."""
    return (folder / CLASS_LIST).is_file() and any((folder / name).is_file() for name in SEGMENT_LISTS)


def read_audioset(folder: Path, limits: Limits, media: Sequence[frozenset[str]]) -> FileSource:
    """Reads the segments whose media file lies anywhere below the folder, named after the segment's video.

    A file bears the video's 11 characters, perhaps with a Y before them and the start, or start and end, of the segment
    behind; it holds the segment, cut out, as the download tools leave it. Of several files of a segment one is taken:
    one whose name says the start before others, then by the order of `media`, then the first by name. Classes go by
    their display names. Segments without a file are no records, as few people hold all of them. Notes count them, and
    every file that is not taken.

    Args:
        media: suffixes of the files that may hold a segment, those first that are better to take; all others are none.

    Raises:
        DataError: a list cannot be read, names an unknown class, or no segment has a file.
    """
    names = _read_classes(folder / CLASS_LIST, limits)
    files = list_folder(folder, limits).files
    candidates = _candidates(files, media)
    records: dict[str, Record] = {}
    second: set[str] = set()
    num_found = missing = sharing = 0
    for segment in _segments(folder, limits):
        fitting = _files_of(segment, candidates.get(segment.video, ()))
        if not fitting:
            missing += 1
            continue
        num_found += 1
        if num_found > limits.max_manifest_rows:
            raise DataError(
                f"{folder.name}/ lists more than {limits.max_manifest_rows:,} segments that have a file "
                "(--source.limits.max-manifest-rows)"
            )
        first, *others = fitting
        if first in records:
            sharing += 1
            continue
        labels = _labels(segment.labels, names, segment.where)
        records[first] = Record(name=first, labels=labels, split=segment.split)
        second.update(others)
    notes = _notes_on_files(files, media, taken=records.keys(), second=second)
    if sharing:
        notes.append(f"{sharing:,} have none of their own: a file whose name says no start stands for the first listed")
    if not records:
        found = "; ".join([f"{missing:,} listed", *notes])
        raise DataError(
            f"{folder.name}/ holds AudioSet's lists but no media file of their segments ({found}); put files such as "
            "--PJHxphWEs.mp4 or --PJHxphWEs_30.000.wav anywhere below it"
        )
    return FileSource(
        records=sort_records(list(records.values())),
        classes=check_classes(names.values(), limits, where=CLASS_LIST),
        multi_label=True,
        notes=(f"{len(records):,} segments of AudioSet have a file, {missing:,} have none", *notes),
        root=folder,
    )


class _Segment(NamedTuple):
    video: str
    start_seconds: float
    labels: str
    """As the list holds them: most segments have no file, and their labels are never asked for."""
    split: Split
    where: str
    """List and line, for messages."""


class _Candidate(NamedTuple):
    """A file that may hold a segment of a video."""

    name: str
    start: float | None
    """What its name says, in seconds or milliseconds; None: nothing."""
    rank: int
    """Place of its suffix in the order of media."""


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


def _segments(folder: Path, limits: Limits) -> Iterator[_Segment]:
    for list_name, split in SEGMENT_LISTS.items():
        path = folder / list_name
        for number, (video, start, _, labels) in _rows(path, limits) if path.is_file() else ():
            where = f"{list_name}, line {number:,}"
            yield _Segment(video.strip(), _seconds(start, where), labels, split, where)


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


def _seconds(text: str, where: str) -> float:
    if not _NUMBER.fullmatch(text.strip()):
        raise DataError(f"{where}: start_seconds must be a number such as 30.000; it is {printable(text.strip())!r}")
    return float(text)


def _labels(cell: str, names: dict[str, str], where: str) -> tuple[str, ...]:
    found = [label.strip() for label in cell.split(",") if label.strip()]
    unknown = [label for label in found if label not in names]
    if unknown:
        raise DataError(f"{where}: the class {unknown[0]!r} is not in {CLASS_LIST}")
    return tuple(names[label] for label in dict.fromkeys(found))


def _rank(name: str, media: Sequence[frozenset[str]]) -> int | None:
    return next((rank for rank, suffixes in enumerate(media) if suffix_of(name) in suffixes), None)


def _candidates(files: Sequence[str], media: Sequence[frozenset[str]]) -> dict[str, list[_Candidate]]:
    """Returns the media files by the video that their names tell."""
    found: dict[str, list[_Candidate]] = {}
    for name in files:
        match = _FILE_NAME.fullmatch(PurePosixPath(name).stem)
        rank = _rank(name, media)
        if match and rank is not None:
            start = float(match["start"]) if match["start"] else None
            found.setdefault(match["video"], []).append(_Candidate(name, start, rank))
    return found


def _files_of(segment: _Segment, candidates: Sequence[_Candidate]) -> list[str]:
    """Returns the files of a video that may hold one of its segments, the one to take first.

    A name that says another start is of another segment; one that says none may be of any.
    """
    starts = (None, segment.start_seconds, float(round(1000 * segment.start_seconds)))
    fitting = [candidate for candidate in candidates if candidate.start in starts]
    fitting.sort(key=lambda candidate: (candidate.start is None, candidate.rank, bytewise(candidate.name)))
    return [candidate.name for candidate in fitting]


def _notes_on_files(
    files: Sequence[str], media: Sequence[frozenset[str]], *, taken: Set[str], second: Set[str]
) -> list[str]:
    """Says why files are no samples, with the first of each reason.

    Args:
        second: files of segments that took another one; one that stands for a second segment may be taken as well.
    """
    reasons: dict[str, list[str]] = {}
    for name in sorted(files, key=bytewise):
        if name in taken:
            continue
        if _rank(name, media) is None:
            reason = "of another kind than is wanted and ignored"
        elif name in second:
            reason = "ignored, since another file of the same segment was taken"
        else:
            reason = "in no list and ignored"
        reasons.setdefault(reason, []).append(name)
    return [f"{count_note(names, reason)} (first: {printable(names[0])})" for reason, names in reasons.items()]
