"""perceptio train."""

import shlex
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

from perceptio.cli.main import is_follower
from perceptio.cli.options import Option, Positional, build, changed, options_of, read_arguments, read_known, unknown
from perceptio.errors import UsageError

if TYPE_CHECKING:
    from perceptio.modalities.streams import Streams
    from perceptio.recipes.automatic import Choice
    from perceptio.runs.config import RunConfig
    from perceptio.runs.data import Survey
    from perceptio.runs.results import RunResult
    from perceptio.runs.workbench import TrainOptions
    from perceptio.screens.choice import ClosableScreen

HELP = """usage: perceptio train [RECIPE] [--data DIR] [--field.path value ..]

examples:
  perceptio train --data photos/
  perceptio train fashion-sample --epochs 3
  perceptio train --data photos/ --time 30m --model.num-latents 96

Trains a model and ends with its test result, the run folder and the next
command. Without a RECIPE the input size, the model and the schedule are chosen
from the files, and said.

  RECIPE              a name from `perceptio recipes`
  --data PATH         folder with one sub-folder a class, with or without train,
                      val and test folders above them; or a CSV, JSONL or
                      Parquet table with columns file, label (or labels), split,
                      group; instead of file one column a kind, such as image
                      and audio; or a folder with metadata.csv; or tar shards,
                      by a folder, a pattern (a-{000..099}.tar) or a URL
  --config FILE       a run's config.json, to repeat or vary it
  --resume RUN        go on with a run; --epochs, --time, --device, --workers
                      and --threads may be added, and --step N (from that
                      checkpoint), --accept-changes (of the data)
  --epochs N          passes over the training samples
  --time T            how long the whole run may take (90s, 30m, 2h), instead of
                      --epochs: as many as fit are planned
  --batch-size N      samples in one step
  --learning-rate X   base learning rate
  --seed N            start weights, order, augmentation and split (0)
  --split.by file|folder|group    what stays on one side of the split (file)
  --out DIR           run folder, new or empty (the next number under ./runs)
  --dry-run           go as far as trying one batch, and leave nothing behind
  --device auto|cpu|cuda, --workers N, --threads N, --tensorboard
  --quiet             show warnings alone
  --json              progress and result as JSON lines on standard output
  -H                  every field of the config, with its meaning and what it is
                      in RECIPE; without one in the imagenet recipe, where your
                      files decide otherwise (perceptio info DATA shows how)
"""


@dataclass(frozen=True, kw_only=True)
class TrainArguments:
    """How a run is started: nothing here but `time` changes its result."""

    recipe: Annotated[str | None, Positional("RECIPE")] = None
    config: Path | None = None
    """A run's config.json, to repeat or vary it."""
    resume: Path | None = None
    """Run folder to go on with; only --epochs, --time, --device, --workers and --threads may change."""
    step: int | None = None
    """With --resume: the checkpoint to go on from; default: the newest that is whole."""
    accept_changes: bool = False
    """With --resume: go on though files, labels or the split are not what they were; the run is then not exact."""
    time: float | None = None
    """How long the whole run may take, such as 90s, 30m or 2h: as many epochs as fit are planned."""
    out: Path | None = None
    """Run folder, new or empty; default: the next number under ./runs."""
    dry_run: bool = False
    """Go as far as trying one batch, and leave nothing behind."""
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
    """Show warnings alone."""
    json: bool = False
    """Progress and result as JSON lines on standard output."""


CHOSEN = ("epochs", "batch_size", "learning_rate", "model", "training", "streams")
"""Fields of a config that are chosen by a look at the files, where no recipe says them."""
ONLY_RESUMED = ("step", "accept_changes")
RESUMED = (
    "resume", *ONLY_RESUMED, "epochs", "time", "device", "workers", "threads", "tensorboard", "sharding",
    "timeout_minutes", "quiet", "json",
)  # fmt: skip


def options(words: Sequence[str] = ()) -> tuple[Option, ...]:
    """Returns all options; which streams there are depends on the recipe or the config among the words."""
    early = _read_early(words)
    if early.data is None or early.recipe is not None or early.config is not None:
        return (*options_of(TrainArguments), *_config_options(_named_config(early.recipe or "imagenet", early.config)))
    return _possible_options()


def main(words: Sequence[str]) -> int:
    """Runs the command."""
    began = time.monotonic()
    from perceptio.cli.screen import progress_screen

    early = _read_early(words)
    # What is no recipe is refused by name further down.
    recipe = early.recipe if early.resume is None or _is_recipe(early.recipe or "") else None
    if sum(part is not None for part in (recipe, early.resume, early.config)) > 1:
        raise UsageError("choose one of RECIPE, --config and --resume: each says which config the run has")
    screen = progress_screen(quiet=early.quiet, as_json=early.json, is_follower=is_follower())
    try:
        result = _resume(words, screen, began) if early.resume is not None else _start(words, early, screen, began)
    finally:
        screen.close()
    return 0 if result is None else _show_result(result, as_json=early.json)


@dataclass(frozen=True, kw_only=True)
class _Early(TrainArguments):
    """What must be known before the options can be derived: which config they change."""

    data: str | None = None


def _read_early(words: Sequence[str]) -> _Early:
    known = options_of(_Early)
    found, rest = read_known(known, words)
    early: _Early = build(_Early, known, found)
    return replace(early, recipe=_recipe_among(rest))


def _recipe_among(words: Sequence[str]) -> str | None:
    """Returns the RECIPE, wherever it stands; a word after an option that is not known yet is that option's value."""
    for index, word in enumerate(words):
        if word.startswith("-"):
            continue
        before = words[index - 1] if index > 0 else ""
        may_be_value = before.startswith("-") and not before.startswith("--no-") and "=" not in before
        if not any(each.startswith("-") for each in words[:index]) or (not may_be_value and _is_recipe(word)):
            return word
    return None


def _is_recipe(name: str) -> bool:
    from perceptio.recipes.registry import RECIPES

    return name in RECIPES


def _start(words: Sequence[str], early: _Early, screen: "ClosableScreen", began: float) -> "RunResult | None":
    from perceptio.runs.config import RunConfig, absolute_data
    from perceptio.runs.train import train_run, try_run

    choice, survey = None, None
    if early.recipe is not None or early.config is not None:
        default = _named_config(early.recipe, early.config)
    else:
        choice, survey = _chosen_config(words, early, screen)
        default = choice.config
    own = options_of(TrainArguments)
    found = read_arguments([*own, *_config_options(default)], words, "train")
    arguments = build(TrainArguments, own, found)
    if arguments.recipe != early.recipe:
        _refuse_recipe(str(arguments.recipe))
    for name in ONLY_RESUMED:
        if (name,) in found:
            raise UsageError(f"--{name.replace('_', '-')} has no effect without --resume; remove it")
    fields = {path: value for path, value in found.items() if path not in {option.path for option in own}}
    if arguments.time is not None and ("epochs",) in fields:
        raise UsageError("--time and --epochs both say how long the run is; keep one of them")
    config: RunConfig = changed(default, fields)
    config = replace(config, data=absolute_data(config.data, config.source.format))
    reasons = choice.reasons_for(config) if choice is not None else ()
    if arguments.dry_run:
        try_run(config, _options(arguments, began), survey=survey, reasons=reasons, screen=screen)
        screen.fact("Dry run", "nothing was trained, and nothing is left behind")
        return None
    return train_run(config, _options(arguments, began), survey=survey, reasons=reasons, screen=screen)


def _named_config(recipe: str | None, config: Path | None) -> "RunConfig":
    from perceptio.recipes.registry import RECIPES, find_recipe
    from perceptio.runs.folder import read_config

    if config is not None:
        return read_config(config)
    assert recipe is not None
    if recipe not in RECIPES and Path(recipe).exists():
        raise UsageError(f"{recipe} is no recipe but lies here; did you mean --data {shlex.quote(recipe)} ?")
    return find_recipe(recipe)


def _chosen_config(words: Sequence[str], early: _Early, screen: "ClosableScreen") -> "tuple[Choice, Survey]":
    """Looks at the data, and chooses what suits it."""
    from perceptio.recipes.automatic import choose_config, gpu_is_there
    from perceptio.runs.config import SourceConfig, absolute_data
    from perceptio.runs.data import survey_data
    from perceptio.runs.machine import connect

    found, rest = read_known(_possible_options(), words)
    _refuse_unknown(rest)
    source: SourceConfig = changed(
        SourceConfig(), {path[1:]: value for path, value in found.items() if path[0] == "source"}
    )
    processes = connect(early.device, timeout_minutes=early.timeout_minutes)
    with processes.connected():
        survey = processes.first_does(
            lambda: survey_data(
                absolute_data(early.data, source.format),
                source,
                laid_out=lambda streams: _laid_out(streams, words),
                progress=lambda done, total: screen.work("reading files", done, total),
            )
        )
    has_gpu = early.device != "cpu" and gpu_is_there()
    typed = found.get(("epochs",))
    return choose_config(survey, has_gpu=has_gpu, source=source, seconds=early.time, epochs=typed), survey


def _laid_out(streams: "Streams", words: Sequence[str]) -> "Streams":
    """Returns streams with what the words say of how their files are laid out; only now their names are known."""
    options = [
        option
        for option in options_of(type(streams), streams)
        if option.path[0] == "by_name" and option.path[-1] in streams.by_name[option.path[1]].layout_fields
    ]
    found, _ = read_known(options, words)
    settled: Streams = changed(streams, found)
    return settled


def _refuse_unknown(words: Sequence[str]) -> None:
    """Finds a mistyped word before files are read, which may take minutes; streams may have any name."""
    known = _possible_options()
    parts = {option.name.partition(".")[0] for option in known}
    for index, word in enumerate(words):
        name = word.partition("=")[0].replace("_", "-")
        if name.startswith("--") and ("." not in name or name.partition(".")[0] in parts):
            raise UsageError(unknown(name, known, "train"))
        # Behind an option of a stream that is not known yet it may be the option's value.
        if not any(each.startswith("-") for each in words[: index + 1]):
            _refuse_recipe(word)


def _refuse_recipe(word: str) -> NoReturn:
    """Says what is wrong with a word that stands where no recipe is looked for: with --config, or behind options."""
    from perceptio.recipes.registry import find_recipe

    find_recipe(word)
    raise UsageError(f"the recipe comes first: perceptio train {word} ..")


def _config_options(config: "RunConfig") -> tuple[Option, ...]:
    return tuple(option for option in options_of(type(config), config) if option.path != ("recipe",))


def _possible_options() -> tuple[Option, ...]:
    """Returns the options of a run on any kind of file, without defaults where the files decide."""
    from perceptio.modalities.registry import MODALITIES, find_modality
    from perceptio.recipes.registry import find_recipe

    config = find_recipe("imagenet")
    streams = {kind: find_modality(kind)() for kind in MODALITIES}
    many = list(options_of(type(config.streams), replace(config.streams, by_name=streams)))
    of_streams = [
        replace(option, path=("streams", *option.path), default=MISSING)
        for option in many
        if option.path[0] == "by_name"
    ]
    others = [option for option in _config_options(config) if option.path[:2] != ("streams", "by_name")]
    decided = [replace(option, default=MISSING) if option.path[0] in CHOSEN else option for option in others]
    return (*options_of(TrainArguments), *decided, *of_streams)


def _resume(words: Sequence[str], screen: "ClosableScreen", began: float) -> "RunResult":
    from perceptio.runs.resume import ResumeOptions, resume_run

    known = _possible_options()
    allowed = [option for option in known if option.path[0] in RESUMED and len(option.path) == 1]
    found, rest = read_known(allowed, words)
    for word in rest:
        name = word.partition("=")[0].replace("_", "-")
        if not name.startswith("-"):
            raise UsageError(f"unexpected word {word!r}: --resume takes a run folder alone")
        if name in {option.name for option in known}:
            raise UsageError(
                f"{name} has no effect with --resume; remove it: a run goes on as it began, and only --epochs, --time, "
                "--device, --workers and --threads may change"
            )
        raise UsageError(unknown(name, allowed, "train --resume"))
    epochs = found.pop(("epochs",), None)
    arguments = TrainArguments(**{path[0]: value for path, value in found.items()})
    assert arguments.resume is not None
    how = ResumeOptions(epochs=epochs, step=arguments.step, accept_changes=arguments.accept_changes)
    return resume_run(arguments.resume, _options(arguments, began), resume=how, screen=screen)


def _options(arguments: TrainArguments, began: float) -> "TrainOptions":
    from perceptio.runs.workbench import TrainOptions

    return TrainOptions(
        out=arguments.out,
        device=arguments.device,
        workers=arguments.workers,
        threads=arguments.threads,
        sharding=arguments.sharding,
        timeout_minutes=arguments.timeout_minutes,
        tensorboard=arguments.tensorboard,
        time=arguments.time,
        began=began,
        command=shlex.join(["perceptio", *sys.argv[1:]]),
    )


def _show_result(result: "RunResult", *, as_json: bool) -> int:
    from perceptio.cli.screen import print_json, print_result
    from perceptio.runs.lines import fact_line

    if not result.is_main:
        return 0  # what became of the run the first process says, by its exit code too
    # As a shell has it: 130 after Ctrl-C, 143 after SIGTERM.
    code = 128 + (result.stopped_by or signal.SIGINT) if result.ended == "interrupted" else 0
    if as_json:
        print_json(_document(result))
        return code
    for label, text in result.ending:
        print_result(fact_line(label, text))
    return code


def _document(result: "RunResult") -> Mapping[str, Any]:
    return {
        "event": "result",
        "run": str(result.folder),
        "ended": result.ended,
        "best_epoch": result.best_epoch,
        "test": dict(result.test),
        "measured_on": {split: len(found.predictions.indices) for split, found in result.measured.items()},
        "unread": {split: len(found.predictions.failures) for split, found in result.measured.items()},
    }
