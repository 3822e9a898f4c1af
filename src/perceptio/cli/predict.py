"""perceptio predict."""

import csv
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from perceptio.cli.arguments import parse
from perceptio.cli.options import Option, Positional, options_of
from perceptio.errors import UsageError

if TYPE_CHECKING:
    from perceptio.runs.predict import Prediction

HELP = """usage: perceptio predict RUN FILE ..

examples:
  perceptio predict runs/photos-001 new/cat.jpg
  perceptio predict runs/photos-001 new/ --top 1 --csv answers.csv
  find new/ -name '*.jpg' | perceptio predict runs/photos-001 --files-from - --json

Labels files: one line for each, in order, always. A file that cannot be read
gets an error in its line and never a label. `unsure` stands behind an answer
whose like was right less than 3 times in 4 on validation files; `no audio`, say,
where the model knows sound as well and the file has none.

  RUN                 run folder, or a model.safetensors
  FILE ..             files or folders, which are listed as in training; files
                      that share folder and stem are one sample where the
                      model knows several files a sample; or a CSV, JSONL or
                      Parquet table whose rows name the files of a sample, with
                      the columns of training, labels or not
  --files-from LIST   names of more files, one a line; - reads standard input
  --top N             how many classes a line shows (3)
  --csv FILE          write file, label, unsure, missing, error and the
                      probability of each class as a table as well
  --json              one JSON object a line: file, label, probabilities, error,
                      unsure, missing
  --device auto|cpu|cuda
exit code 3: at least one file could not be read
"""

NAME_COLUMNS, CLASS_COLUMNS = 48, 24  # at most; longer ones are shown whole and break the columns


@dataclass(frozen=True, kw_only=True)
class PredictArguments:
    """What `perceptio predict` takes."""

    run: Annotated[Path, Positional("RUN")]
    files: Annotated[tuple[Path, ...], Positional("FILE ..")] = ()
    files_from: str | None = None
    """List with the names of more files, one a line; - reads standard input."""
    top: int | None = None
    """How many classes a line shows; default: 3."""
    csv: Path | None = None
    """Table to write as well: file, label, unsure, missing, error and the probability of each class."""
    json: bool = False
    """One JSON object a line: file, label, probabilities, error, unsure, missing."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Auto takes a GPU if there is one."""


def options(words: Sequence[str] = ()) -> tuple[Option, ...]:
    """Returns all options."""
    return options_of(PredictArguments)


def main(words: Sequence[str]) -> int:
    """Runs the command."""
    chosen = parse(PredictArguments, words, command="predict")
    _check(chosen)
    from perceptio.cli.screen import print_json, print_note, print_result
    from perceptio.runs.model_file import find_model_file, read_facts
    from perceptio.runs.predict import expand_folders, predict_files

    num_done, num_failed = 0, 0
    told: set[str] = set()

    def tell(conversion: str) -> None:
        if conversion not in told:
            told.add(conversion)
            print_note(f"note: {conversion}")

    known = list(expand_folders(chosen.files, read_facts(find_model_file(chosen.run)), tell))
    files = chain(known, _listed(chosen.files_from))
    predictions = predict_files(chosen.run, files, device=chosen.device, tell=tell)
    lines = _Lines(chosen.top or 3, map(str, known))
    with ExitStack() as stack:
        table = None if chosen.csv is None else stack.enter_context(_Table(chosen.csv))
        for prediction in predictions:
            num_done += prediction.error is None
            num_failed += prediction.error is not None
            if table is not None:
                table.add(prediction)
            if chosen.json:
                print_json(asdict(prediction))
            else:
                print_result(lines.line(prediction))
    print_note(f"{num_done:,} predicted, {num_failed:,} failed")
    return 3 if num_failed else 0


def _check(chosen: PredictArguments) -> None:
    if not chosen.files and chosen.files_from is None:
        raise UsageError(
            "predict needs at least one file or folder: perceptio predict RUN FILE .., or names with --files-from LIST"
        )
    if Path("-") in chosen.files:
        raise UsageError("- is no file; to read names from standard input, use --files-from -")
    if chosen.top is not None and chosen.top < 1:
        raise UsageError(f"--top must be at least 1: got {chosen.top}")
    if chosen.top is not None and chosen.json:
        raise UsageError("--top has no effect with --json, which gives every class; remove one of them")
    if chosen.csv is not None and chosen.csv.exists():
        raise UsageError(f"--csv {chosen.csv} exists and is not written over; choose another name")


def _listed(source: str | None) -> Iterator[Path]:
    """Yields the names in a list as they come, so that a pipe may go on for as long as it likes."""
    if source is None:
        return
    if source == "-":
        yield from _names(sys.stdin)
        return
    try:
        with Path(source).open(encoding="utf-8", errors="surrogateescape") as file:
            yield from _names(file)
    except OSError as error:
        raise UsageError(f"cannot read the list {source}: {error.strerror}") from error


def _names(lines: Iterable[str]) -> Iterator[Path]:
    for line in lines:
        if name := line.rstrip("\r\n"):
            yield Path(name)


class _Lines:
    """Answers as lines whose columns stand below each other."""

    def __init__(self, top: int, names: Iterable[str]) -> None:
        self.top = top
        self.name_columns = min(NAME_COLUMNS, max(map(len, names), default=0))

    def line(self, prediction: "Prediction") -> str:
        """Returns the line of one file."""
        from perceptio.data.names import printable

        name = printable(prediction.file)
        self.name_columns = min(NAME_COLUMNS, max(self.name_columns, len(name)))
        head = f"{name:<{self.name_columns}}"
        if prediction.probabilities is None:
            return f"{head}  error  {printable(prediction.error or '')}"
        columns = min(CLASS_COLUMNS, max(map(len, prediction.probabilities)))
        ranked = list(prediction.probabilities.items())[: self.top]
        cells = [f"{printable(label):<{columns}} {100 * value:>5.1f} %" for label, value in ranked]
        unsure = ["unsure"] if prediction.unsure else []
        missing = [f"no {name}" for name in prediction.missing]
        return f"{head}  " + "   ".join([*cells, *unsure, *missing])


class _Table:
    """Answers as a CSV file; the class names in its head come from the first answer."""

    def __init__(self, path: Path) -> None:
        self.file = path.open("w", newline="", encoding="utf-8", errors="backslashreplace")
        self.writer = csv.writer(self.file)
        self.classes: list[str] = []
        self.waiting: list[Prediction] = []

    def __enter__(self) -> "_Table":
        return self

    def __exit__(self, *trouble: object) -> None:
        if not self.classes:
            self._write_head([])
        self.file.close()

    def add(self, prediction: "Prediction") -> None:
        """Writes a row; those before the first answer wait for it, since it names the classes."""
        if not self.classes:
            self.waiting.append(prediction)
            if prediction.probabilities is not None:
                self._write_head(sorted(prediction.probabilities))
            return
        self._write(prediction)

    def _write_head(self, classes: list[str]) -> None:
        self.classes = classes
        self.writer.writerow(["file", "label", "unsure", "missing", "error", *classes])
        for prediction in self.waiting:
            self._write(prediction)

    def _write(self, prediction: "Prediction") -> None:
        found = prediction.probabilities
        shares = ["" if found is None else f"{found[name]:.6f}" for name in self.classes]
        unsure = "yes" if prediction.unsure else ""
        missing = " ".join(prediction.missing)
        self.writer.writerow(
            [prediction.file, prediction.label or "", unsure, missing, prediction.error or "", *shares]
        )
