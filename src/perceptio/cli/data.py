"""perceptio data pack, perceptio data check."""

import re
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from perceptio.errors import UsageError, nearest

HELP = """usage: perceptio data pack DATA OUT
       perceptio data check DATA

pack writes samples into tar shards (WebDataset's format), which a disk or a server reads faster than a million files.
check looks at every sample as training would, and compares shards with their index.

  DATA                  what --data takes: a folder of class folders, a table, shards, or a URL of shards
  OUT                   folder for the shards, new or empty; nothing is ever written to DATA
  --shard-bytes SIZE    how large a shard becomes, such as 256MB (the default) or 1GB
  --draw-splits         draw train, validation and test now, as train does, where DATA does not give them;
                        --split.validation 0.15 --split.test 0.15 --split.by file|folder|group --seed 0
  --format, --kinds     as --source.format and --source.kinds of train
  --full                check: decode every file and compare every byte with the index (headers only)
  --quiet, --json       the result as one JSON document on standard output

examples:
  perceptio data pack photos/ photos-shards/
  perceptio data check photos-shards/ --full
  perceptio train --data photos-shards/
  perceptio train --data https://example.org/photos-shards/

exit codes: 0 all is well, 3 some samples or shards are bad, 4 too many are (more than one in ten)
"""

UNUSABLE_SHARE = 0.1
_UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
_ACTIONS = ("pack", "check")


def main(arguments: list[str]) -> int:
    """Runs the command."""
    if not arguments or arguments[0] not in _ACTIONS:
        given = (
            f"unknown action {arguments[0]!r}.{nearest(arguments[0], _ACTIONS)}" if arguments else "no action given."
        )
        raise UsageError(f"{given} Type perceptio data pack DATA OUT, or perceptio data check DATA")
    return _pack(arguments[1:]) if arguments[0] == "pack" else _check(arguments[1:])


def parse_bytes(text: str) -> int:
    """Returns the bytes that a size such as 256MB or 1.5GiB means.

    Raises:
        UsageError: it is none.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", text.strip())
    if found is None or found[2].upper() not in _UNITS:
        raise UsageError(f"--shard-bytes must be a size such as 256MB or 1GiB: got {text!r}")
    return round(float(found[1]) * _UNITS[found[2].upper()])


def _pack(arguments: list[str]) -> int:
    import tyro

    from perceptio.cli.arguments import parse
    from perceptio.cli.screen import ConsoleScreen, print_json, print_result
    from perceptio.data.splits import SplitConfig
    from perceptio.runs.config import SourceConfig
    from perceptio.runs.shards import pack_data

    @dataclass(frozen=True, kw_only=True)
    class PackArguments:
        data: Annotated[str, tyro.conf.Positional]
        out: Annotated[Path, tyro.conf.Positional]
        shard_bytes: str = "256MiB"
        draw_splits: bool = False
        split: SplitConfig = field(default_factory=SplitConfig)
        seed: int = 0
        format: Literal["auto", "folder", "manifest", "idx", "audioset", "shards", "sample"] = "auto"
        kinds: tuple[str, ...] = ()
        quiet: bool = False
        json: bool = False

    chosen = parse(PackArguments, arguments, command="data pack")
    if not chosen.draw_splits and (chosen.split != SplitConfig() or chosen.seed != 0):
        raise UsageError("--split and --seed have no effect without --draw-splits; add it, or remove them")
    screen = ConsoleScreen(quiet=chosen.quiet)
    try:
        packed = pack_data(
            chosen.data,
            chosen.out,
            source=SourceConfig(format=chosen.format, kinds=chosen.kinds),
            split=chosen.split if chosen.draw_splits else None,
            seed=chosen.seed,
            shard_bytes=parse_bytes(chosen.shard_bytes),
            work=screen.work,
        )
    finally:
        screen.close()
    if chosen.json:
        print_json({"out": str(chosen.out), **asdict(packed)})
    else:
        for entry in packed.left_out:
            print_result(f"left out  {entry.name}: {entry.reason}")
        print_result(
            f"Packed    {packed.num_samples:,} samples into {len(packed.shards):,} shards, "
            f"{packed.num_bytes / 10**6:,.1f} MB, in {chosen.out}"
        )
        print_result(f"Next      perceptio train --data {chosen.out}")
    return 3 if packed.left_out else 0


def _check(arguments: list[str]) -> int:
    import tyro

    from perceptio.cli.arguments import parse
    from perceptio.cli.screen import ConsoleScreen, print_json, print_result
    from perceptio.runs.config import absolute_data
    from perceptio.runs.shards import check_data

    @dataclass(frozen=True, kw_only=True)
    class CheckArguments:
        data: Annotated[str, tyro.conf.Positional]
        full: bool = False
        quiet: bool = False
        json: bool = False

    chosen = parse(CheckArguments, arguments, command="data check")
    screen = ConsoleScreen(quiet=chosen.quiet)
    try:
        checked = check_data(absolute_data(chosen.data, "auto") or "", full=chosen.full, work=screen.work)
    finally:
        screen.close()
    survey = checked.survey
    counts = Counter(label for record in survey.usable for label in record.labels)
    if chosen.json:
        print_json(
            {
                "data": chosen.data,
                "usable": len(survey.usable),
                "classes": dict(counts),
                "notes": survey.notes,
                "problems": checked.problems,
                "lost_share": checked.lost_share,
            }
        )
    else:
        for line in checked.problems:
            print_result(f"bad       {line}")
        what = "decoded" if chosen.full else "looked at"
        print_result(f"Checked   {len(survey.usable):,} samples of {len(counts):,} classes can be used ({what})")
        for note in survey.notes:
            print_result(f"          {note}")
        if checked.problems:
            print_result(f"          {len(checked.problems):,} problems, {checked.lost_share:.1%} of the samples lost")
    if not checked.problems:
        return 0
    return 4 if checked.lost_share > UNUSABLE_SHARE else 3
