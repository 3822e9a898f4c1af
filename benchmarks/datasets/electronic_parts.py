"""Electronic parts: 3-D models of components, 20 families, to be told apart on templates that training never saw.

Takes the VRML meshes of Debian's kicad-packages3d. A file's name without its numbers is its template; families are the
package's folders, sub-series together, that have at least 9 templates and 50 models, with at most 12 models a template.
Exact copies and geometries that stand in two folders are left out. The table makes each template a group, so that it
stays on one side of every split.

Usage: python benchmarks/datasets/electronic_parts.py OUT [--package kicad-packages3d_.._all.deb]
"""

import argparse
import hashlib
import re
import shutil
from collections import Counter, defaultdict
from functools import partial
from pathlib import Path

from debian import PARTS, fetch
from listed_files import Write, make_files, write_table

from perceptio.randomness import generator

MODELS = Path("usr/share/kicad/3dmodels")
FAMILIES = (
    "Button_Switch", "Capacitor", "Connector_Dsub", "Connector_JST", "Connector_Phoenix", "Converter", "Crystal",
    "Diode", "Display", "Inductor", "LED", "Mounting_Wuerth", "Package_BGA", "Package_DFN_QFN", "Package_DIP",
    "Package_QFP", "Package_SO", "Package_TO_SOT", "Relay", "Resistor",
)  # fmt: skip
MOST_OF_A_TEMPLATE = 12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--package", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    folder = fetch(PARTS, patterns=("*.wrl",), file=options.package) / MODELS
    by_template = templates(folder)
    rows = []
    files: dict[str, Write] = {}
    for (family, template), paths in sorted(by_template.items()):
        random = generator(options.seed, "electronic parts", family, template)
        chosen = [paths[number] for number in sorted(random.permutation(len(paths))[:MOST_OF_A_TEMPLATE])]
        for path in chosen:
            name = f"{family}/{path.name}"
            files[name] = partial(shutil.copyfile, path)
            rows.append((name, family, f"{family}:{template}"))
    files["metadata.csv"] = partial(write_table, columns=("file", "label", "group"), rows=rows)
    make_files(options.out, f"electronic parts of {PARTS}, seed {options.seed}", files)
    counts = Counter(family for _, family, _ in rows)
    print(f"{len(rows):,} models of {len(by_template):,} templates, {len(counts)} families, in {options.out}")
    print(f"next: perceptio train electronic-parts --data {options.out}")


def templates(folder: Path) -> dict[tuple[str, str], list[Path]]:
    """Returns the models of each family and template, sorted by name, every geometry once."""
    by_content: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.rglob("*.wrl")):
        if family_of(path) is not None:
            by_content[geometry(path)].append(path)
    found: dict[tuple[str, str], list[Path]] = defaultdict(list)
    for copies in by_content.values():
        families = {family_of(path) for path in copies}
        if len(families) == 1:  # a geometry of two families has no label
            family = families.pop()
            assert family is not None
            found[family, template_of(copies[0])].append(copies[0])
    return found


def family_of(path: Path) -> str | None:
    """Returns the family of a model by its folder: "Connector_JST_XH.3dshapes" belongs to Connector_JST."""
    name = path.parent.name.removesuffix(".3dshapes")
    return next((family for family in FAMILIES if name == family or name.startswith(f"{family}_")), None)


def template_of(path: Path) -> str:
    """Returns the name without its numbers."""
    return re.sub(r"[0-9]+(?:\.[0-9]+)?", "#", path.stem)


def geometry(path: Path) -> str:
    """Returns a hash of a file without comments and white space."""
    text = re.sub(rb"#[^\n]*", b"", path.read_bytes())
    return hashlib.blake2b(b" ".join(text.split()), digest_size=16).hexdigest()


if __name__ == "__main__":
    main()
