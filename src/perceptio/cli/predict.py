"""perceptio predict."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

if TYPE_CHECKING:
    from perceptio.runs.predict import Prediction

HELP = """usage: perceptio predict RUN FILE ..

Labels files: one line each, in order. A file that cannot be read gets an error in its line and never a label.

  RUN                   run folder, or a model.safetensors
  FILE ..               files or folders
  --top N               how many classes a line shows (3)
  --device auto|cpu|cuda
  --json                one JSON document on standard output: a list with one entry per file

examples:
  perceptio predict runs/photos-001 new/cat.jpg
  perceptio predict runs/photos-001 new/ --top 1
  perceptio predict runs/photos-001 new/ --json > answers.json

exit code 3: at least one file could not be read
"""


def main(arguments: list[str]) -> int:
    """Runs the command."""
    import tyro

    from perceptio.cli.arguments import parse
    from perceptio.cli.screen import print_json, print_result
    from perceptio.errors import UsageError
    from perceptio.runs.predict import predict_files

    @dataclass(frozen=True, kw_only=True)
    class PredictArguments:
        run: Annotated[Path, tyro.conf.Positional]
        files: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="FILE ..")]
        top: int = 3
        device: Literal["auto", "cpu", "cuda"] = "auto"
        json: bool = False

    chosen = parse(PredictArguments, arguments, command="predict")
    if not chosen.files:
        raise UsageError("predict needs at least one file or folder: perceptio predict RUN FILE ..")
    num_failed, collected = 0, []
    for prediction in predict_files(chosen.run, chosen.files, device=chosen.device):
        num_failed += prediction.error is not None
        if chosen.json:
            collected.append(asdict(prediction))
        else:
            print_result(_line(prediction, chosen.top))
    if chosen.json:
        print_json(collected, indent=1)
    return 3 if num_failed else 0


def _line(prediction: "Prediction", top: int) -> str:
    from perceptio.reporting.visible import visible

    name = visible(prediction.file)
    if prediction.probabilities is None:
        return f"{name}  error  {prediction.error}"
    ranked = list(prediction.probabilities.items())[: max(1, top)]
    return f"{name}  " + "   ".join(f"{visible(label)} {value:.1%}" for label, value in ranked)
