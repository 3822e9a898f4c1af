"""The Python API: what the command line does, as functions."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from perceptio.errors import UsageError
from perceptio.recipes.automatic import choose_config
from perceptio.recipes.automatic import gpu_is_there as _gpu_is_there
from perceptio.recipes.registry import find_recipe
from perceptio.runs.attend import Attention, attend_file
from perceptio.runs.config import RunConfig, SourceConfig, absolute_data
from perceptio.runs.data import survey_data
from perceptio.runs.evaluate import evaluate_run
from perceptio.runs.measured import Measured
from perceptio.runs.predict import Prediction, predict_files
from perceptio.runs.results import RunResult
from perceptio.runs.screen import Screen, SilentScreen
from perceptio.runs.train import resume_run, train_run
from perceptio.runs.workbench import TrainOptions


def recipe(name: str) -> RunConfig:
    """Returns a recipe's config; change it with `dataclasses.replace`."""
    return find_recipe(name)


def train(
    config: RunConfig | str | None = None,
    *,
    data: str | Path | None = None,
    resume: str | Path | None = None,
    epochs: float | None = None,
    options: TrainOptions | None = None,
    screen: Screen | None = None,
) -> RunResult:
    """Trains a recipe, a config, or whatever suits the data, and returns the run.

    Args:
        config: a config, the name of a recipe, or None to choose from the data.
        data: folder or table of samples; overrides the config's.
        resume: run folder to go on with, instead of the other two.
        epochs: passes over the training samples in the whole run; overrides the config's or the run's.

    Raises:
        PerceptioError: with the rule, the value and the way out.
    """
    if resume is not None:
        if config is not None or data is not None:
            name = "data" if config is None else "config"
            raise UsageError(f"{name} has no effect with resume={str(resume)!r}, which goes on with its own; remove it")
        return resume_run(Path(resume), options, epochs=epochs, screen=screen)
    screen = screen or SilentScreen()
    if isinstance(config, str):
        config = find_recipe(config)
    data = None if data is None else str(data)
    survey = None
    if config is None:
        source = SourceConfig()
        survey = survey_data(absolute_data(data, source.format), source)
        on_gpu = _gpu_is_there() and (options is None or options.device != "cpu")
        choice = choose_config(survey, has_gpu=on_gpu, source=source)
        for reason in choice.reasons:
            screen.fact(reason.label, reason.text)
        config = choice.config
    elif data is not None:
        config = replace(config, data=data)
    config = replace(
        config,
        data=absolute_data(config.data, config.source.format),
        epochs=config.epochs if epochs is None else epochs,
    )
    return train_run(config, options, survey=survey, screen=screen)


class Run:
    """A trained run, or a bare model.safetensors, to be used."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def predict(self, files: Iterable[str | Path]) -> Iterator[Prediction]:
        """Yields one prediction for each file, in order."""
        return predict_files(self.path, [Path(file) for file in files])

    def evaluate(self, *, data: str | Path | None = None, split: str = "test", streams: Sequence[str] = ()) -> Measured:
        """Returns the result on the run's own split, or on other labelled data; `streams`: those to look at."""
        return evaluate_run(self.path, data=None if data is None else str(data), split=split, streams=streams)

    def attend(self, file: str | Path, *, softmax: bool = False) -> Attention:
        """Returns attention maps of a file."""
        return attend_file(self.path, Path(file), softmax=softmax)


def load(path: str | Path) -> Run:
    """Returns a run for its folder or model.safetensors."""
    return Run(path)
