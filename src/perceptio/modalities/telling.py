"""Tells from the names of files what the samples of a source hold, and which files belong to one sample."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from perceptio.data.limits import Limits
from perceptio.data.names import bytewise, suffix_of
from perceptio.data.probe import Looking, probe
from perceptio.data.records import MAIN, FileSource, Record, Source, sort_records
from perceptio.data.shards.source import ShardSource
from perceptio.errors import DataError
from perceptio.modalities.contract import Modality
from perceptio.modalities.registry import MODALITIES, find_modality
from perceptio.modalities.streams import StreamReader, Streams, single_stream

LEAST_SHARE = 0.1
"""Share of a folder's files below which files of another kind count as strays and not as a kind of their own."""
COMPANION_FILES = 40
"""Files that are looked into to find out whether they hold another kind as well, such as the sound of videos."""


def tell_streams(source: Source, kinds: Sequence[str], limits: Limits) -> tuple[Source, Streams]:
    """Returns what the samples hold, and the source with the files of one sample brought together.

    Files of different kinds that share folder and stem, such as 17.jpg and 17.wav, are one sample; so are the columns
    of a table. A file may also hold a second kind itself: a video its sound.

    Args:
        kinds: what the user says they hold; empty: the names of the files tell.

    Raises:
        UsageError: an unknown kind.
        DataError: no kind can be told, or the disk or network fails again and again.
        MissingExtraError: a decoder is not installed.
    """
    if source.kind is not None:
        return source, Streams(by_name={source.kind: find_modality(source.kind)()})
    assert isinstance(source, FileSource | ShardSource), "a source of arrays says what they are"
    if any(record.parts for record in source.records):
        return source, _of_columns(source, kinds)
    chosen = tuple(kinds) or _kinds_of([record.name for record in source.records])
    if not chosen:
        suffixes = Counter(suffix_of(record.name) or "no suffix" for record in source.records).most_common(3)
        raise DataError(
            f"what the files hold cannot be told from their names ({', '.join(name for name, _ in suffixes)}); say it, "
            f"for instance --source.kinds image. Kinds: {', '.join(MODALITIES)}"
        )
    found = {kind_of(record.name, chosen) for record in source.records}
    if len(found - {None}) > 1:
        streams = Streams(by_name={kind: find_modality(kind)(column=kind) for kind in chosen})
        return join_files(source, streams), streams
    of_one_file: dict[str, Modality] = {kind: find_modality(kind)() for kind in chosen}
    for kind in () if kinds else find_modality(chosen[0]).companions:
        if kind not in MODALITIES:
            continue
        holding, seen = _how_many_hold(source, find_modality(kind)(), limits)
        if 2 * holding >= seen:
            of_one_file[kind] = find_modality(kind)()
        elif holding:  # left out, but not in silence
            source = replace(
                source,
                notes=(
                    *source.notes,
                    f"{kind} left out, which {holding} of {seen} files looked into hold; --source.kinds {chosen[0]} "
                    f"{kind} takes it in",
                ),
            )
    return source, Streams(by_name=of_one_file)


def join_files(source: Source, streams: Streams) -> Source:
    """Returns the source with the files of one sample brought together, where the streams read several columns.

    Raises:
        DataError: the samples are made of other columns than the streams read.
    """
    columns = columns_of(streams)
    given = sorted({part for record in source.records for part, _ in record.parts})
    if given:
        strange = sorted(column for column in columns if column not in given)
        if strange:
            name = next(name for name, modality in streams.by_name.items() if modality.column == strange[0])
            raise DataError(
                f"the samples are made of {', '.join(given)}, and the stream {name} reads "
                f"{strange[0] or 'samples of a single file'}; say which of them it is to read: --{name}.column"
            )
        return source
    if set(columns) == {MAIN} or not isinstance(source, FileSource | ShardSource):
        return source
    return replace(source, records=_paired(source.records, columns))


def columns_of(streams: Streams) -> dict[str, str]:
    """Returns the kind of file that each column holds; of several streams in one file the first says it."""
    columns: dict[str, str] = {}
    for modality in streams.by_name.values():
        columns.setdefault(modality.column, modality.kind)
    return columns


def kind_of(name: str, kinds: Sequence[str] = ()) -> str | None:
    """Returns the kind that a file's name tells, the first of several; None if it tells none.

    Args:
        kinds: those that come into question; empty: all.
    """
    suffix = suffix_of(name)
    told = (kind for kind in kinds or MODALITIES if suffix in find_modality(kind).suffixes)
    asked = (kind for kind in kinds if suffix in find_modality(kind).asked_suffixes)
    return next(told, None) or next(asked, None)


def suffixes_of(kinds: Sequence[str]) -> frozenset[str]:
    """Returns the suffixes of all files that are read where these kinds are asked for.

    Raises:
        UsageError: an unknown kind.
    """
    found = map(find_modality, kinds)
    return frozenset(suffix for modality in found for suffix in modality.suffixes | modality.asked_suffixes)


def media_of(kinds: Sequence[str]) -> tuple[frozenset[str], ...]:
    """Returns the suffixes of files that can hold some of these kinds, those first that can hold most of them.

    A video can hold its sound as well. Where two can hold equally many, a kind's own files come first: for sound alone,
    files of sound and then videos.

    Raises:
        UsageError: an unknown kind.
    """
    wanted = {find_modality(kind) for kind in kinds}
    held = {
        holder: len(wanted & {holder, *(MODALITIES[kind] for kind in holder.companions if kind in MODALITIES)})
        for holder in MODALITIES.values()
    }
    able = [holder for holder, number in held.items() if number]
    able.sort(key=lambda holder: (-held[holder], holder not in wanted))
    return tuple(holder.suffixes for holder in able)


def _kinds_of(names: Sequence[str]) -> tuple[str, ...]:
    """Returns the kinds of files that are no strays, the most frequent first."""
    counts = Counter(kind for kind in map(kind_of, names) if kind is not None)
    total = sum(counts.values())
    return tuple(kind for kind, count in counts.most_common() if count >= LEAST_SHARE * total)


def _of_columns(source: Source, kinds: Sequence[str]) -> Streams:
    names: Mapping[str, list[str]] = defaultdict(list)
    for record in source.records:
        for part, name in record.parts:
            names[part].append(name)
    streams = {}
    for part, files in sorted(names.items(), key=lambda entry: (-len(entry[1]), entry[0])):
        told = [kind for kind in (part, *kinds) if kind in MODALITIES] or list(_kinds_of(files))
        if not told:
            raise DataError(
                f"what the column {part!r} holds cannot be told from its files' names; call the column after its kind: "
                f"{', '.join(MODALITIES)}"
            )
        streams[part] = find_modality(told[0])(column=part)
    return Streams(by_name=streams)


def _paired(records: Sequence[Record], columns: Mapping[str, str]) -> tuple[Record, ...]:
    """Returns one record for each folder and stem, with a part for each column; the first file lends it its name.

    Files that a table gives other labels, or another split or group, are other samples. A file of no known suffix is
    taken for the first kind, whose decoder says what is wrong with it.

    Args:
        columns: kind by column.
    """
    groups: dict[object, dict[str, Record]] = {}
    for record in records:
        path = PurePosixPath(record.name)
        told = kind_of(record.name, tuple(columns.values()))
        column = next((column for column, kind in columns.items() if kind == told), next(iter(columns)))
        group = groups.setdefault((path.parent, path.stem, record.labels, record.split, record.group), {})
        if column in group:  # two pictures of one stem: a sample each
            groups[record.name] = {column: record}
        else:
            group[column] = record
    found = []
    for group in groups.values():
        first = min(group.values(), key=lambda record: bytewise(record.name))
        found.append(replace(first, parts=tuple((column, record.name) for column, record in sorted(group.items()))))
    return sort_records(found)


def _how_many_hold(source: FileSource | ShardSource, modality: Modality, limits: Limits) -> tuple[int, int]:
    """Returns how many of some files, taken evenly from all, hold this kind as well, and how many were looked into.

    In child processes, as all files are looked at: one that kills its decoder holds nothing of this kind.
    """
    step = max(1, len(source.records) // COMPANION_FILES)
    chosen = source.records[::step][:COMPANION_FILES]
    reader = StreamReader(single_stream(modality), limits)
    looking = Looking(look=reader.look, limits=limits, full=False, allowance=reader.allowance(whole=False))
    return len(probe(replace(source, records=chosen), looking).good), len(chosen)
