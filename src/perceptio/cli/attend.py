"""perceptio attend."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

HELP = """usage: perceptio attend RUN FILE

Draws what latents attend to in a file (paper Fig. 3): one row for each cross-attend, one column for each latent.

  RUN                   run folder, or a model.safetensors
  FILE                  a file of a kind that the model was trained on; of a recording its first clip is shown
  --out PNG             where to write (FILE's name with -attention.png, here); of several streams one picture each
  --movie MP4           of a video, write the maps frame by frame as well
  --npz FILE            write the numbers as well
  --latents I ..        which latents, from 0 (the eight whose maps say most about the file)
  --cross-attends I ..  which cross-attends, from 1 (the first, the second and the last)
  --overlay             maps over the image instead of beside it
  --softmax             attention weights instead of scores; the paper shows scores, weights are very sparse
  --json                what was drawn and where it lies, as one JSON document on standard output

examples:
  perceptio attend runs/photos-001 cat.jpg
  perceptio attend runs/photos-001 cat.jpg --overlay --out cat.png
  perceptio attend runs/clips-001 jump.mp4 --movie jump-attention.mp4
  perceptio attend runs/photos-001 cat.jpg --latents 0 7 21 --cross-attends 1 3 --npz cat.npz
"""


def main(arguments: list[str]) -> int:
    """Runs the command."""
    import tyro

    from perceptio.cli.arguments import parse
    from perceptio.cli.screen import print_json, print_result
    from perceptio.errors import FileError, UsageError
    from perceptio.runs.attend import attend_file

    @dataclass(frozen=True, kw_only=True)
    class AttendArguments:
        run: Annotated[Path, tyro.conf.Positional]
        file: Annotated[Path, tyro.conf.Positional]
        out: Path | None = None
        movie: Path | None = None
        npz: Path | None = None
        latents: tuple[int, ...] = ()
        cross_attends: tuple[int, ...] = ()
        overlay: bool = False
        softmax: bool = False
        json: bool = False

    chosen = parse(AttendArguments, arguments, command="attend")
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
    path = chosen.out or Path(f"{chosen.file.stem}-attention.png")
    # The film first: where nothing moves, nothing is left behind.
    films = attention.film(chosen.movie) if chosen.movie is not None else []
    pictures = attention.draw(path, overlay=chosen.overlay)
    numbers = attention.save_numbers(chosen.npz) if chosen.npz is not None else []
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
