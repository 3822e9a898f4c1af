"""perceptio train."""

import argparse
import shlex
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, make_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

from perceptio.cli.main import is_follower
from perceptio.errors import UsageError

if TYPE_CHECKING:
    from perceptio.cli.screen import ConsoleScreen
    from perceptio.recipes.automatic import Choice
    from perceptio.runs.config import RunConfig, SourceConfig
    from perceptio.runs.data import Survey
    from perceptio.runs.machine import Device
    from perceptio.runs.results import RunResult
    from perceptio.runs.workbench import TrainOptions

HELP = """usage: perceptio train [RECIPE] [--data DIR] [--field.path value ..]

Trains a model and ends with its test result, the run folder and the next command. Without a RECIPE the input size,
the model and the schedule are chosen from the files, and said.

  RECIPE                a name from `perceptio recipes`
  --data PATH           folder with one sub-folder a class, with or without train, val and test folders above them;
                        or a CSV, JSONL or Parquet table with columns file, label (or labels), split, group;
                        instead of file, one column a kind, such as image and audio; or tar shards, by a folder,
                        a pattern (a-{000..099}.tar) or a URL
  --config FILE         a run's config.json, to repeat or vary it
  --resume RUN          go on with a run; --epochs, --device, --workers, --threads may be added, and
                        --step N (from that checkpoint), --accept-changes (of the data)
  --epochs N            passes over the training samples
  --batch-size N        samples in one step
  --learning-rate X     base learning rate
  --seed N              start weights, order, augmentation and split (0)
  --out DIR             run folder, new or empty (the next number under ./runs)
  --device auto|cpu|cuda, --workers N, --threads N, --tensorboard, --quiet
  --json                the result as one JSON document on standard output
  -H                    every field of the config, with its meaning and default

examples:
  perceptio train --data photos/
  perceptio train fashion-sample --epochs 3
  perceptio train --data photos/ --model.num-latents 96 --image.flip-probability 0
"""

FLAGS = ("--quiet", "--json", "--tensorboard")  # options that no value follows


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where and how the run runs; nothing here changes its result."""

    out: Path | None = None
    """Run folder, new or empty; default: the next number under ./runs."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Auto takes a GPU if there is one."""
    workers: int | None = None
    """Processes that decode files; default: one per spare core, none for arrays."""
    threads: int | None = None
    """Threads that compute; default: what PyTorch chooses, and what it was where a run goes on."""
    tensorboard: bool = False
    """Write TensorBoard events as well."""
    sharding: Literal["none", "full"] = "none"
    """Several processes: each holds all weights and moments, or a part of each (FSDP2), gathered when it runs."""
    timeout_minutes: float = 30.0
    """Several processes: minutes after which one that waits for the others gives up; more for a slow disk."""
    quiet: bool = False
    """Show nothing while it works."""
    json: bool = False
    """Print the result as one JSON document."""


def main(arguments: list[str]) -> int:
    """Runs the command."""
    early = _read_early(arguments)
    if early.resume is not None:
        return _resume(early.resume, early.rest)
    return _start(early)


@dataclass
class _Early:
    """What must be known before the options can be derived: which config they change."""

    recipe: str | None
    resume: Path | None
    config: Path | None
    data: str | None
    device: str
    timeout_minutes: float
    quiet: bool
    full_help: bool
    rest: list[str] = field(default_factory=list)


def _read_early(arguments: list[str]) -> _Early:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--resume", type=Path)
    parser.add_argument("--config", type=Path)
    parser.add_argument("-H", dest="full_help", action="store_true")
    found, rest = parser.parse_known_args(arguments)
    peek = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    peek.add_argument("--data")
    peek.add_argument("--device", default="auto")
    peek.add_argument("--timeout-minutes", type=float, default=Place.timeout_minutes)
    peek.add_argument("--quiet", action="store_true")
    seen, _ = peek.parse_known_args(rest)
    recipe = _take_recipe(rest)
    if sum(part is not None for part in (recipe, found.resume, found.config)) > 1:
        raise UsageError("choose one of RECIPE, --config and --resume: each says which config the run has")
    return _Early(
        recipe=recipe,
        resume=found.resume,
        config=found.config,
        data=seen.data,
        device=seen.device,
        timeout_minutes=seen.timeout_minutes,
        quiet=seen.quiet,
        full_help=found.full_help,
        rest=rest,
    )


def _take_recipe(arguments: list[str]) -> str | None:
    """Takes the RECIPE off the arguments, wherever it stands; a word after an option is that option's value."""
    only_flags = True
    for index, argument in enumerate(arguments):
        if argument.startswith("-"):
            only_flags = only_flags and _is_flag(argument)
            continue
        follows_option = index > 0 and arguments[index - 1].startswith("-") and not _is_flag(arguments[index - 1])
        if only_flags or (not follows_option and _is_recipe(argument)):
            return arguments.pop(index)
        only_flags = False
    return None


def _is_flag(argument: str) -> bool:
    """Returns whether the next word is not this option's value."""
    return argument in FLAGS or argument.startswith("--no-") or "=" in argument


def _is_recipe(name: str) -> bool:
    from perceptio.recipes.registry import RECIPES

    return name in RECIPES


def _start(early: _Early) -> int:
    from perceptio.cli.screen import ConsoleScreen

    screen = ConsoleScreen(quiet=early.quiet or is_follower())
    try:
        return _train(early, screen)
    finally:
        screen.close()


def _train(early: _Early, screen: "ConsoleScreen") -> int:
    import tyro

    from perceptio.cli.arguments import parse, print_full_help
    from perceptio.modalities.streams import Streams
    from perceptio.runs.config import RunConfig, absolute_data
    from perceptio.runs.train import train_run

    default, choice, survey = _default_config(early, screen)

    @dataclass(frozen=True, kw_only=True)
    class TypedConfig(RunConfig):
        recipe: Annotated[str, tyro.conf.Fixed, tyro.conf.Suppress]
        streams: Annotated[Streams, tyro.conf.Fixed, tyro.conf.Suppress]

        def __post_init__(self) -> None:
            """Checks nothing yet: what the streams are is only known together with their options."""

    @dataclass(frozen=True, kw_only=True)
    class TypedStreams(Streams):
        by_name: Annotated[Mapping[str, Any], tyro.conf.Fixed, tyro.conf.Suppress]

    # Which streams there are depends on the recipe or the files: each has its options under its name.
    typed_modalities = make_dataclass(
        "TypedModalities", [(name, type(modality)) for name, modality in default.streams.by_name.items()], frozen=True
    )

    @dataclass(frozen=True, kw_only=True)
    class TrainArguments(Place):
        config: Annotated[TypedConfig, tyro.conf.arg(name="")]
        modalities: Annotated[typed_modalities, tyro.conf.arg(name="")]  # type: ignore[valid-type]  # made above
        streams: TypedStreams

    arguments = TrainArguments(
        config=TypedConfig(**vars(default)),
        modalities=typed_modalities(**default.streams.by_name),
        streams=TypedStreams(**vars(default.streams)),
    )
    if early.full_help:
        print_full_help(TrainArguments, command="train", default=arguments)
        return 0
    chosen = parse(TrainArguments, early.rest, command="train", default=arguments)
    streams = Streams(**{**vars(chosen.streams), "by_name": vars(chosen.modalities)})
    config = _checked_config({**vars(chosen.config), "streams": streams})
    config = replace(config, data=absolute_data(config.data, config.source.format))
    for reason in choice.reasons_for(config) if choice is not None else ():
        screen.fact(reason.label, reason.text)
    result = train_run(config, _options(chosen), survey=survey, screen=screen)
    return _show_result(result, screen, as_json=chosen.json)


def _checked_config(fields: dict[str, Any]) -> "RunConfig":
    from perceptio.runs.config import RunConfig

    try:
        return RunConfig(**fields)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _default_config(early: _Early, screen: "ConsoleScreen") -> "tuple[RunConfig, Choice | None, Survey | None]":
    """Returns the config that typed options change; with its reasons and what the data holds, where it was chosen."""
    from perceptio.recipes.automatic import choose_config, gpu_is_there
    from perceptio.recipes.registry import find_recipe
    from perceptio.runs.config import absolute_data
    from perceptio.runs.data import survey_data
    from perceptio.runs.folder import read_config
    from perceptio.runs.machine import connect

    if early.recipe is not None:
        return find_recipe(early.recipe), None, None
    if early.config is not None:
        return read_config(early.config), None, None
    if early.full_help and early.data is None:
        return find_recipe("imagenet"), None, None
    source = _typed_source(early.rest)
    processes = connect(cast("Device", early.device), timeout_minutes=early.timeout_minutes)
    with processes.connected():
        survey = processes.first_does(
            lambda: survey_data(
                absolute_data(early.data, source.format),
                source,
                progress=lambda done, total: screen.work("reading files", done, total),
            )
        )
    choice = choose_config(survey, has_gpu=early.device != "cpu" and gpu_is_there(), source=source)
    return choice.config, choice, survey


def _typed_source(arguments: list[str]) -> "SourceConfig":
    """Returns how to read the data: the one part of the config that must be known before the rest can be chosen."""
    from perceptio.cli.arguments import parse_part
    from perceptio.runs.config import SourceConfig

    @dataclass(frozen=True, kw_only=True)
    class SourceArguments:
        source: SourceConfig = field(default_factory=SourceConfig)

    return parse_part(SourceArguments, arguments, command="train").source


def _resume(run: Path, rest: list[str]) -> int:
    from perceptio.cli.arguments import parse
    from perceptio.cli.screen import ConsoleScreen
    from perceptio.runs.resume import ResumeOptions, resume_run

    @dataclass(frozen=True, kw_only=True)
    class ResumeArguments(Place):
        epochs: float | None = None
        """Passes over the data in the whole run, to lengthen or shorten it."""
        step: int | None = None
        """The checkpoint to go on from; default: the newest that is whole."""
        accept_changes: bool = False
        """Go on though files, labels or the split are not what they were; the run is then not exact."""

    chosen = parse(ResumeArguments, rest, command="train --resume RUN")
    if chosen.out is not None:
        raise UsageError("--out has no effect with --resume; remove it")
    screen = ConsoleScreen(quiet=chosen.quiet or is_follower())
    try:
        how = ResumeOptions(epochs=chosen.epochs, step=chosen.step, accept_changes=chosen.accept_changes)
        result = resume_run(run, _options(chosen), resume=how, screen=screen)
        return _show_result(result, screen, as_json=chosen.json)
    finally:
        screen.close()


def _options(place: Place) -> "TrainOptions":
    from perceptio.runs.workbench import TrainOptions

    return TrainOptions(
        out=place.out,
        device=place.device,
        workers=place.workers,
        sharding=place.sharding,
        timeout_minutes=place.timeout_minutes,
        threads=place.threads,
        tensorboard=place.tensorboard,
        command=shlex.join(["perceptio", *sys.argv[1:]]),
    )


def _show_result(result: "RunResult", screen: "ConsoleScreen", *, as_json: bool) -> int:
    from perceptio.cli.screen import print_json, print_result

    screen.close()
    if not result.is_main:
        return 0  # what became of the run the first process says, by its exit code too
    # As a shell has it: 130 after Ctrl-C, 143 after SIGTERM.
    code = 128 + (result.stopped_by or signal.SIGINT) if result.ended == "interrupted" else 0
    document: dict[str, Any] = {
        "run": str(result.folder),
        "ended": result.ended,
        "best_epoch": result.best_epoch,
        "test": dict(result.test),
    }
    if as_json:
        print_json(document)
    elif result.ended == "interrupted":
        print_result(f"Stopped   saved; go on with: perceptio train --resume {result.folder}")
    elif result.best_epoch is None:
        print_result("Test      no test result: no evaluation gave a number")
        print_result(f"Report    {result.folder / 'report.html'}")
    else:
        values = ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in result.test.items())
        print_result(f"Test      {values} (weights of epoch {result.best_epoch:g})")
        print_result(f"Report    {result.folder / 'report.html'}")
        print_result(f"Next      perceptio predict {result.folder} FILE ..")
    return code
