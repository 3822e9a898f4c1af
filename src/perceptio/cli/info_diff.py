"""perceptio info RUN --diff OTHER: what two runs have otherwise."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from perceptio.runs.folder import RunFolder

SHOWN_FILES = 20
_FACTS = (
    "command", "revision", "machine", "seed", "created", "workers", "num_parameters", "flops_per_sample", "resumed",
    "ended",
)  # fmt: skip


def tell_difference(one: Path, other: Path, *, as_json: bool) -> int:
    """Prints the differences, `other` first: what has changed since it."""
    from perceptio.cli.screen import print_json, print_result
    from perceptio.runs.folder import open_run_folder

    before, after = open_run_folder(other), open_run_folder(one)
    found = differences(before, after)
    if as_json:
        print_json({"before": str(before.path), "after": str(after.path), **found})
        return 0
    print_result(f"{before.path} -> {after.path}")
    if not any(found.values()):
        print_result("no difference")
    for part, entries in found.items():
        for number, (name, (old, new)) in enumerate(entries.items()):
            if part == "files" and number == SHOWN_FILES:
                print_result(f"{part:<12} {len(entries) - SHOWN_FILES:,} more; --json lists all")
                break
            print_result(f"{part:<12} {name}: {' -> '.join(_shown(old, new))}")
    return 0


def differences(before: "RunFolder", after: "RunFolder") -> dict[str, dict[str, tuple[Any, Any]]]:
    """Returns what differs, by part and name: (before, after); None where one of the runs has no such thing.

    Parts: config, facts (command, revision, machine, ..), surroundings (threads, processor, processes, ..), versions,
    data, files (label and split of each file) and result.
    """
    from perceptio.runs.serialisation import to_json

    facts = before.read_facts(), after.read_facts()
    data = [each.get("data", {}) for each in facts]
    config = [_flat(to_json(folder.read_config())) for folder in (before, after)]
    return {
        "config": _changed(*config),
        "facts": _changed(*({name: each[name] for name in _FACTS if name in each} for each in facts)),
        "surroundings": _changed(*(each.get("surroundings", {}) for each in facts)),
        "versions": _changed(*(each.get("versions", {}) for each in facts)),
        "data": _changed(*({name: each.get(name) for name in ("source", "fingerprint")} for each in data)),
        "files": _changed(*_files((before, after))),
        "result": _changed(*(each.get("test", {}) for each in facts)),
    }


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    names = dict.fromkeys([*before, *after])
    return {name: (before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)}


def _flat(document: Any, where: str = "") -> dict[str, Any]:
    if not isinstance(document, Mapping):
        return {where: document}
    found: dict[str, Any] = {}
    for name, part in document.items():
        found.update(_flat(part, f"{where}.{name}" if where else name))
    return found


def _files(folders: Iterable["RunFolder"]) -> list[dict[str, str]]:
    """Returns label and split of each file, as each split.csv says them; splits alone where one names no labels."""
    from perceptio.data.split_file import read_split_rows

    tables = [
        read_split_rows(folder.split, folder.read_config().source.limits) if folder.split.exists() else {}
        for folder in folders
    ]
    labelled = all(row.labels is not None for rows in tables for row in rows.values())
    return [
        {name: f"{row.labels}, {row.split}" if labelled else row.split for name, row in rows.items()} for rows in tables
    ]


def _shown(old: Any, new: Any) -> tuple[str, str]:
    """Returns both for people: floats with six digits, or with all where six are the same."""
    short = (_short(old), _short(new))
    return short if short[0] != short[1] else (str(old), str(new))


def _short(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, list):
        return "; ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
