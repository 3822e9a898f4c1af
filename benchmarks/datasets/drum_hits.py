"""Drum hits: single strokes from 13 drum kits, seven kinds, to be told apart on a kit that training never heard.

Takes the samples of Debian's hydrogen-drumkits whose instrument, by the kit's own list, is a hi-hat, snare, tom, crash,
ride, kick or clap and nothing else, and writes them as OUT/KIND/KIT__FILE with a table for each fold: in
OUT/fold-KIT.csv that kit is the test, every other kit is a group that stays on one side of the validation split.

Usage: python benchmarks/datasets/drum_hits.py OUT [--package hydrogen-drumkits_.._all.deb]
"""

import argparse
import re
import shutil
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from debian import DRUMKITS, fetch
from listed_files import Write, make_files, write_table

KITS = Path("usr/share/hydrogen/data/drumkits")
SUFFIXES = (".wav", ".flac", ".aiff")
# Words of an instrument's name. A name with words of two kinds, such as "Crash/Ride", is left out; china and splash
# cymbals are crashes.
KINDS = {
    "hihat": r"hi-?\s?hat|hat|hh|chh|ohh|hhat",
    "snare": r"snare|sn|sd",
    "kick": r"kick|bass ?drum|bd",
    "tom": r"toms?",
    "crash": r"crash|china|splash",
    "ride": r"ride",
    "clap": r"claps?|handclap",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--package", type=Path)
    options = parser.parse_args()
    kits = fetch(DRUMKITS, file=options.package) / KITS
    rows = []
    files: dict[str, Write] = {}
    for kit in sorted(folder for folder in kits.iterdir() if folder.is_dir()):
        for sample, kind in sorted(kinds_of_samples(kit)):
            name = f"{kind}/{plain(kit.name)}__{plain(sample.stem)}{sample.suffix.lower()}"
            files[name] = partial(shutil.copyfile, sample)
            rows.append((name, kind, plain(kit.name)))
    groups = sorted({group for _, _, group in rows})
    for held_out in groups:
        files[f"fold-{held_out}.csv"] = table(rows, held_out)
    files["all.csv"] = table(rows, None)
    make_files(options.out, f"drum hits of {DRUMKITS}", files)
    counts = Counter(kind for _, kind, _ in rows)
    print(f"{len(rows)} samples of {len(groups)} kits in {options.out}: {dict(counts.most_common())}")
    print(f"next: perceptio train drum-hits --data {options.out}/fold-{groups[0]}.csv")


def kinds_of_samples(kit: Path) -> Iterator[tuple[Path, str]]:
    """Yields each sample of a kit whose instruments are of one kind."""
    root = ElementTree.parse(kit / "drumkit.xml").getroot()
    instruments: dict[str, list[str]] = {}
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    for instrument in root.iter("instrument"):
        for file in instrument.iter("filename"):
            instruments.setdefault(file.text or "", []).append(instrument.findtext("name") or "")
    for file, names in instruments.items():
        path = kit / file
        if path.suffix.lower() in SUFFIXES and path.is_file():
            kind = kind_of(" ".join(names)) or kind_of(path.stem)
            if kind:
                yield path, kind


def kind_of(name: str) -> str | None:
    """Returns the one kind that a name speaks of."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z0-9])|[_\-./(),]", " ", name).lower()
    found = [kind for kind, pattern in KINDS.items() if re.search(rf"\b(?:{pattern})\b", words)]
    return found[0] if len(found) == 1 else None


def plain(name: str) -> str:
    """Returns a name without spaces and dots."""
    return re.sub(r"[^A-Za-z0-9-]+", "_", name).strip("_")


def table(rows: list[tuple[str, str, str]], held_out: str | None) -> Write:
    """Returns what writes the table in which one kit, or none, is the test."""
    split_rows = [(name, kind, "test" if group == held_out else "", group) for name, kind, group in rows]
    return partial(write_table, columns=("file", "label", "split", "group"), rows=split_rows)


if __name__ == "__main__":
    main()
