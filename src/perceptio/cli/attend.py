"""perceptio attend."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from perceptio.cli.arguments import parse
from perceptio.cli.options import Option, Positional, options_of
from perceptio.errors import FileError, UsageError

HELP = """usage: perceptio attend RUN FILE

examples:
  perceptio attend runs/photos-001 cat.jpg
  perceptio attend runs/photos-001 cat.jpg --overlay --out cat.png
  perceptio attend runs/clips-001 jump.mp4 --movie jump-attention.mp4

Draws what latents attend to in a file (paper Fig. 3): one row for each
cross-attend, one column for each latent.

  RUN                 run folder, or a model.safetensors
  FILE                a file of a kind that the model was trained on; of a
                      recording its first clip is shown; or a table of one row
                      that names the files of a sample
  --out FILE          where to write (FILE's name with -attention.png, here): a
                      .png, or numbers as .npz, or a film as .mp4; of several
                      streams one file each
  --movie MP4         of a video, write the maps frame by frame as well
  --npz FILE          write the numbers as well; of several streams one file
                      each
  --latents I ..      which latents, from 0 (the eight whose maps say most)
  --cross-attends I ..    which cross-attends, from 1 (first, second, last)
  --overlay           maps over the image instead of beside it
  --softmax           attention weights instead of scores; the paper shows
                      scores, weights are very sparse
  --json              what was drawn and where it lies, as one JSON document
"""


@dataclass(frozen=True, kw_only=True)
class AttendArguments:
    """What `perceptio attend` takes."""

    run: Annotated[Path, Positional("RUN")]
    file: Annotated[Path, Positional("FILE")]
    out: Path | None = None
    """File to write: .png, .npz or .mp4; default: FILE's name with -attention.png. Of several streams one each."""
    movie: Path | None = None
    """MP4 to write: of a video, the maps frame by frame."""
    npz: Path | None = None
    """File to write the numbers to as well; of several streams one file each."""
    latents: tuple[int, ...] = ()
    """Which latents, from 0; default: the eight whose maps say most about the file."""
    cross_attends: tuple[int, ...] = ()
    """Which cross-attends, from 1; default: the first, the second and the last."""
    overlay: bool = False
    """Draw the maps over the image instead of beside it."""
    softmax: bool = False
    """Draw attention weights instead of scores; the paper shows scores, weights are very sparse."""
    json: bool = False
    """What was drawn and where it lies, as one JSON document on standard output."""


def options(words: Sequence[str] = ()) -> tuple[Option, ...]:
    """Returns all options."""
    return options_of(AttendArguments)


def main(words: Sequence[str]) -> int:
    """Runs the command."""
    chosen = parse(AttendArguments, words, command="attend")
    from perceptio.cli.screen import print_json, print_result
    from perceptio.runs.attend import attend_file, check_suffix

    path = chosen.out or Path(f"{chosen.file.stem}-attention.png")
    check_suffix(path)
    for extra, suffix in ((chosen.movie, ".mp4"), (chosen.npz, ".npz")):
        if extra is not None:
            check_suffix(extra, (suffix,))
    try:
        attention = attend_file(
            chosen.run,
            chosen.file,
            latents=chosen.latents,
            cross_attends=chosen.cross_attends,
            softmax=chosen.softmax,
        )
    except FileError as error:
        raise FileError(f"{chosen.file}: {error}") from error
    except ValueError as error:
        raise UsageError(str(error)) from error
    # Before the first is written: where one cannot be, nothing is left behind.
    for place in (chosen.movie, path, chosen.npz):
        if place is not None:
            attention.places(place)
    films = attention.save(chosen.movie) if chosen.movie is not None else []
    pictures = attention.save(path, overlay=chosen.overlay)
    numbers = attention.save(chosen.npz) if chosen.npz is not None else []
    shown = next(iter(attention.streams.values())).maps
    if chosen.json:
        print_json(
            {
                "file": str(chosen.file),
                "out": [str(picture) for picture in pictures],
                "movie": [str(place) for place in films],
                "npz": [str(place) for place in numbers],
                "latents": shown.latents,
                "cross_attends": shown.steps,
                "softmax": shown.softmax,
            }
        )
        return 0
    for written in (*pictures, *films, *numbers):
        print_result(str(written))
    return 0
