"""perceptio data pack, perceptio data check."""

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from perceptio.cli.options import Option, Positional, build, changed, options_of, read_arguments
from perceptio.errors import UsageError, nearest

if TYPE_CHECKING:
    from perceptio.runs.shards import Checked

HELP = """usage: perceptio data pack DATA OUT
       perceptio data check DATA

examples:
  perceptio data pack photos/ photos-shards/
  perceptio data check photos-shards/ --full
  perceptio train --data https://example.org/photos-shards/

pack writes samples into tar shards (WebDataset's format), which a disk or a
server reads faster than a million files. check looks at every sample as
training would, and compares shards with their index.

  DATA                a folder of class folders, a table, shards, or a URL of
                      shards: what perceptio train takes
  OUT                 folder for the shards, new or empty; nothing is ever
                      written to DATA
  --shard-bytes SIZE  how large a shard becomes, such as 1GB (256MiB)
  --draw-splits       draw train, validation and test now, as train does, where
                      DATA does not give them, with --split.validation,
                      --split.test, --split.by file|folder|group and --seed
  --format F, --kinds K ..    how DATA is laid out, and what its files hold;
                      else they tell
  --full              check: decode every file and compare every byte with the
                      index (headers only)
  --quiet             show no progress
  --json              the result as one JSON document on standard output
exit codes: 0 all is well, 3 some samples or shards are bad, 4 too many are
  (more than one in ten)
"""

UNUSABLE_SHARE = 0.1
ACTIONS = ("pack", "check")


@dataclass(frozen=True, kw_only=True)
class PackArguments:
    """What `perceptio data pack` takes, beside the options of the split."""

    data: Annotated[str, Positional("DATA")]
    out: Annotated[Path, Positional("OUT")]
    shard_bytes: int | None = None
    """How large a shard becomes, such as 256MB or 1GiB; default: 256MiB."""
    draw_splits: bool = False
    """Draw train, validation and test now, as train does, where DATA does not give them."""
    seed: int = 0
    """What the splits are drawn with."""
    format: Literal["auto", "folder", "manifest", "idx", "audioset", "shards", "sample"] = "auto"
    """How DATA is laid out; auto looks."""
    kinds: tuple[str, ...] = ()
    """What the files hold, such as image, or video and audio; default: their names tell."""
    quiet: bool = False
    """Show no progress."""
    json: bool = False
    """The result as one JSON document on standard output."""


@dataclass(frozen=True, kw_only=True)
class CheckArguments:
    """What `perceptio data check` takes."""

    data: Annotated[str, Positional("DATA")]
    full: bool = False
    """Decode every file and compare every byte with the index, instead of reading headers."""
    quiet: bool = False
    """Show no progress."""
    json: bool = False
    """The result as one JSON document on standard output."""


def options(words: Sequence[str] = ()) -> tuple[Option, ...]:
    """Returns the options of the action among the words; of both actions where there is none."""
    if words and words[0] == "pack":
        return (*options_of(PackArguments), *_split_options())
    if words and words[0] == "check":
        return options_of(CheckArguments)
    both = (*options(["pack"]), *options(["check"]))
    return tuple({option.name: option for option in both}.values())


def main(words: Sequence[str]) -> int:
    """Runs the command."""
    if not words or words[0] not in ACTIONS:
        given = f"unknown action {words[0]!r}.{nearest(words[0], ACTIONS)}" if words else "no action given."
        raise UsageError(f"{given} Type perceptio data pack DATA OUT, or perceptio data check DATA")
    return _pack(words[1:]) if words[0] == "pack" else _check(words[1:])


def _split_options() -> tuple[Option, ...]:
    from dataclasses import field

    from perceptio.data.splits import SplitConfig

    @dataclass(frozen=True, kw_only=True)
    class Splitting:
        split: SplitConfig = field(default_factory=SplitConfig)

    return options_of(Splitting)


def _pack(words: Sequence[str]) -> int:
    from perceptio.cli.screen import print_json, print_result, progress_screen
    from perceptio.data.shards.packing import SHARD_BYTES
    from perceptio.data.splits import SplitConfig
    from perceptio.reporting.numbers import things
    from perceptio.runs.config import SourceConfig
    from perceptio.runs.shards import pack_data

    own = options_of(PackArguments)
    found = read_arguments([*own, *_split_options()], words, "data pack")
    chosen: PackArguments = build(PackArguments, own, found)
    split: SplitConfig = changed(SplitConfig(), {path[1:]: value for path, value in found.items() if len(path) > 1})
    if not chosen.draw_splits and (split != SplitConfig() or chosen.seed != 0):
        raise UsageError("--split and --seed have no effect without --draw-splits; add it, or remove them")
    screen = progress_screen(quiet=chosen.quiet or chosen.json)
    try:
        packed = pack_data(
            chosen.data,
            chosen.out,
            source=SourceConfig(format=chosen.format, kinds=chosen.kinds),
            split=split if chosen.draw_splits else None,
            seed=chosen.seed,
            shard_bytes=SHARD_BYTES if chosen.shard_bytes is None else chosen.shard_bytes,
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
            f"Packed    {things(packed.num_samples, 'sample')} into {things(len(packed.shards), 'shard')}, "
            f"{packed.num_bytes / 10**6:,.1f} MB, in {chosen.out}"
        )
        print_result(f"Next      perceptio train --data {shlex.quote(str(chosen.out))}")
    return 3 if packed.left_out else 0


def _check(words: Sequence[str]) -> int:
    from perceptio.cli.arguments import parse
    from perceptio.cli.screen import print_json, print_result, progress_screen
    from perceptio.runs.config import absolute_data
    from perceptio.runs.shards import check_data

    chosen = parse(CheckArguments, words, command="data check")
    screen = progress_screen(quiet=chosen.quiet or chosen.json)
    try:
        checked = check_data(absolute_data(chosen.data, "auto") or "", full=chosen.full, work=screen.work)
    finally:
        screen.close()
    if chosen.json:
        print_json(_document(chosen.data, checked))
    else:
        print_result("\n".join(_lines(checked, full=chosen.full)))
    if not checked.problems:
        return 0
    return 4 if checked.lost_share > UNUSABLE_SHARE else 3


def _counts(checked: "Checked") -> Counter[str]:
    return Counter(label for record in checked.survey.usable for label in record.labels)


def _document(data: str, checked: "Checked") -> dict[str, Any]:
    return {
        "data": data,
        "usable": len(checked.survey.usable),
        "classes": dict(_counts(checked)),
        "notes": checked.survey.notes,
        "problems": checked.problems,
        "lost_share": checked.lost_share,
    }


def _lines(checked: "Checked", *, full: bool) -> list[str]:
    from perceptio.reporting.numbers import percent, things

    lines = [f"bad       {line}" for line in checked.problems]
    what = "decoded" if full else "looked at"
    lines.append(
        f"Checked   {len(checked.survey.usable):,} samples of {len(_counts(checked)):,} classes can be used ({what})"
    )
    lines += [f"          {note}" for note in checked.survey.notes]
    if checked.problems:
        lines.append(
            f"          {things(len(checked.problems), 'problem')}, {percent(checked.lost_share)} of the samples lost"
        )
    return lines
