"""The Python API: what the command line does, as functions. Nothing is shown unless a screen is given."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from perceptio.data.names import Split
from perceptio.data.shards.packing import SHARD_BYTES, Packed
from perceptio.data.sources import SourceFormat
from perceptio.data.splits import SplitConfig
from perceptio.errors import UsageError
from perceptio.modalities.streams import Streams
from perceptio.recipes.about import tell_about
from perceptio.recipes.automatic import Choice, choose_config
from perceptio.recipes.registry import RECIPES, find_recipe
from perceptio.runs.attend import Attention, attend_file
from perceptio.runs.config import RunConfig, SourceConfig, absolute_data
from perceptio.runs.data import Survey, survey_data
from perceptio.runs.evaluate import evaluate_run
from perceptio.runs.folder import RunFolder, read_config
from perceptio.runs.machine import Device, choose_device
from perceptio.runs.measured import Measured
from perceptio.runs.model_file import find_model_file, read_model
from perceptio.runs.opening import Reason
from perceptio.runs.predict import Asked, Prediction, predict_files
from perceptio.runs.resume import ResumeOptions, resume_run
from perceptio.runs.screen import Screen, SilentScreen
from perceptio.runs.serialisation import from_json, to_json
from perceptio.runs.shards import Checked, check_data, pack_data
from perceptio.runs.train import train_run
from perceptio.runs.workbench import TrainOptions
from perceptio.training.sharding import Sharding


def recipe(name: str) -> RunConfig:
    """Returns a recipe's config; change it with `dataclasses.replace`.

    Raises:
        UsageError: there is no such recipe; the nearest are named.
    """
    return find_recipe(name)


def list_recipes() -> tuple[str, ...]:
    """Returns the names that `recipe` and `train` know."""
    return tuple(RECIPES)


def choose(
    data: str | Path,
    *,
    source: SourceConfig | None = None,
    streams: Streams | None = None,
    device: Device = "auto",
) -> RunConfig:
    """Returns the config that `train(data=..)` would choose for these files, to be changed before it is trained.

    Args:
        data: folder or table of samples.
        source: how to read it.
        streams: what the samples hold and how their files are laid out, such as arrays without an axis of channels;
            the rest of them is chosen. None: the files tell.
        device: what training would run on; a GPU carries a larger model.

    Raises:
        PerceptioError: with the rule, the value and the way out.
    """
    return _choose(str(data), source or SourceConfig(), device, streams=streams)[0].config


def info(what: str | Path) -> dict[str, Any]:
    """Returns what `perceptio info --json` prints about a recipe, a run or a model file.

    Raises:
        UsageError: it is none of them.
    """
    return tell_about(str(what)).document


def train(
    config: RunConfig | str | Path | None = None,
    *,
    data: str | Path | None = None,
    epochs: float | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    seed: int | None = None,
    out: str | Path | None = None,
    device: Device = "auto",
    workers: int | None = None,
    threads: int | None = None,
    tensorboard: bool = False,
    sharding: Sharding = "none",
    timeout_minutes: float = 30.0,
    resume: str | Path | None = None,
    step: int | None = None,
    accept_changes: bool = False,
    time: float | None = None,
    screen: Screen | None = None,
) -> "Run":
    """Trains a recipe, a config, or whatever suits the data, and returns the run.

    Args:
        config: a config, the name of a recipe, the path of a config.json, or None to choose from the data.
        data: folder or table of samples. This and the next four overrule the config.
        epochs: passes over the training samples in the whole run; of a resumed run, too.
        batch_size: samples in one step.
        learning_rate: base learning rate.
        seed: start weights, order, augmentation and split.
        out: run folder, new or empty; None: the next number under ./runs.
        device: "auto" takes a GPU if there is one.
        workers: processes that decode files; None: one per spare core, none for arrays.
        threads: threads that compute; None: what PyTorch chooses, and what it was where a run goes on.
        tensorboard: whether to write TensorBoard events as well.
        sharding: of several processes, whether each holds all weights ("none") or a part of each ("full", FSDP2).
        timeout_minutes: after which one of several processes that waits for the others gives up.
        resume: run folder to go on with; of what stands above, only epochs and the way it runs may be given as well.
        step: the checkpoint to go on from; None: the newest that is whole.
        accept_changes: whether data that is not what it was is taken as it is now; the run is then not exact.
        time: seconds that the whole run may take, instead of epochs; of a resumed run, those that are to come.
        screen: is told about choices and progress; `perceptio.screen()` returns one for where this Python runs.

    Raises:
        PerceptioError: with the rule, the value and the way out.
    """
    place = None if out is None else Path(out)
    options = TrainOptions(
        out=place, device=device, workers=workers, threads=threads, tensorboard=tensorboard, time=time
    )
    options = replace(options, sharding=sharding, timeout_minutes=timeout_minutes)
    where = None if data is None else str(data)
    typed: dict[str, Any] = {"data": where, "batch_size": batch_size, "learning_rate": learning_rate, "seed": seed}
    if resume is not None:
        _refuse_with_resume(resume, {"config": config, **typed, "out": out})
        how = ResumeOptions(epochs=epochs, step=step, accept_changes=accept_changes)
        return Run(resume_run(Path(resume), options, resume=how, screen=screen).folder)
    _refuse_without_resume({"step": step is not None, "accept_changes": accept_changes})
    chosen, reasons, survey = _configure(config, {**typed, "epochs": epochs}, device, time)
    return Run(train_run(chosen, options, survey=survey, reasons=reasons, screen=screen).folder)


def pack(
    data: str | Path,
    out: str | Path,
    *,
    shard_bytes: int = SHARD_BYTES,
    draw_splits: bool = False,
    split: SplitConfig | None = None,
    seed: int = 0,
    format: SourceFormat = "auto",
    kinds: str | Sequence[str] = (),
    screen: Screen | None = None,
) -> Packed:
    """Packs samples into tar shards, which a disk or a server reads faster than a million files.

    Args:
        data: what `train` takes; nothing is ever written to it.
        out: folder for the shards, new or empty.
        shard_bytes: how large a shard becomes.
        draw_splits: whether train, validation and test are drawn now, where the data does not give them.
        split: how they are drawn; None: as `train` does.
        seed: what they are drawn with.
        format: how the data is laid out; "auto" looks.
        kinds: what the files hold, such as "image", or several in a list; none: their names tell.
        screen: is told about progress.

    Raises:
        PerceptioError: with the rule, the value and the way out.
    """
    if not draw_splits and (split is not None or seed != 0):
        raise UsageError("split and seed have no effect without draw_splits=True; add it, or remove them")
    source = SourceConfig(format=format, kinds=_several(kinds))
    return pack_data(
        str(data),
        Path(out),
        source=source,
        split=(split or SplitConfig()) if draw_splits else None,
        seed=seed,
        shard_bytes=shard_bytes,
        work=(screen or SilentScreen()).work,
    )


def check(data: str | Path, *, full: bool = False, screen: Screen | None = None) -> Checked:
    """Looks at every sample of a data set as training would, and at its shards and their index if it has any.

    Args:
        data: what `train` takes.
        full: decode every file and compare every byte with the index, instead of reading headers.
        screen: is told about progress.

    Raises:
        PerceptioError: it is no data set. Where nothing of one can be used, the answer says so.
    """
    where = absolute_data(str(data), "auto") or ""
    return check_data(where, full=full, work=(screen or SilentScreen()).work)


def _configure(
    config: RunConfig | str | Path | None, typed: Mapping[str, Any], device: Device, seconds: float | None
) -> "tuple[RunConfig, Sequence[Reason], Survey | None]":
    """Returns what is trained: what was given or suits the data, overruled by the typed values that are not None."""
    if seconds is not None and typed["epochs"] is not None:
        raise UsageError("time and epochs both say how long the run is; keep one of them")
    choice = survey = None
    if config is None:
        choice, survey = _choose(typed["data"], SourceConfig(), device, seconds=seconds, epochs=typed["epochs"])
    chosen = choice.config if choice is not None else _find_config(config)
    chosen = replace(chosen, **{name: value for name, value in typed.items() if value is not None})
    # What Python let pass, such as a list for a tuple or a number of NumPy's, must not fail when the run is saved.
    chosen = from_json(RunConfig, to_json(chosen))
    chosen = replace(chosen, data=absolute_data(chosen.data, chosen.source.format))
    return chosen, () if choice is None else choice.reasons_for(chosen), survey


def _refuse_without_resume(given: Mapping[str, bool]) -> None:
    for name, is_given in given.items():
        if is_given:
            raise UsageError(f"{name} has no effect without resume; remove it")


def _refuse_with_resume(resume: str | Path, given: Mapping[str, Any]) -> None:
    for name, value in given.items():
        if value is not None:
            raise UsageError(f"{name} has no effect with resume={str(resume)!r}, which goes on with its own; remove it")


def _find_config(config: RunConfig | str | Path | None) -> RunConfig:
    """Returns a config as it is, of a recipe's name, or of the path of a config.json."""
    if isinstance(config, RunConfig):
        return config
    return read_config(Path(str(config))) if str(config).endswith(".json") else find_recipe(str(config))


def _choose(
    data: str | None,
    source: SourceConfig,
    device: Device,
    *,
    streams: Streams | None = None,
    seconds: float | None = None,
    epochs: float | None = None,
) -> tuple[Choice, Survey]:
    survey = survey_data(absolute_data(data, source.format), source, streams=streams)
    has_gpu = choose_device(device).type == "cuda"
    return choose_config(survey, has_gpu=has_gpu, source=source, seconds=seconds, epochs=epochs), survey


FileOrParts: TypeAlias = str | Path | Mapping[str, str | Path]
"""A file, or the files of one sample by column."""


def _several(names: str | Iterable[str]) -> tuple[str, ...]:
    """Returns a single name as one, and not as its letters."""
    return (names,) if isinstance(names, str) else tuple(names)


def _asked(file: FileOrParts) -> Asked:
    return {name: Path(part) for name, part in file.items()} if isinstance(file, Mapping) else Path(file)


class Run:
    """A trained run, or a bare model.safetensors, to be used."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def __repr__(self) -> str:
        return f"perceptio.load({str(self.path)!r})"

    @property
    def folder(self) -> Path:
        """The run folder; of a model.safetensors the folder that it lies in."""
        return self.path if self.path.is_dir() else self.path.parent

    @property
    def facts(self) -> Mapping[str, Any]:
        """What run.json holds: command, versions, seed, machine, data, results. Empty for a bare model."""
        return RunFolder(self.folder).read_facts()

    @property
    def ended(self) -> str | None:
        """How training ended: "finished", "patience", "time", "interrupted" or "failed"; None while it is not known."""
        return self.facts.get("ended")

    @property
    def best_epoch(self) -> float | None:
        """The epoch whose weights are kept."""
        return self.facts.get("best_epoch")

    @property
    def test(self) -> Mapping[str, float]:
        """Loss and metrics on the test samples by name; empty when they were not used."""
        found: Mapping[str, float] = self.facts.get("test", {})
        return found

    @property
    def config(self) -> RunConfig:
        """The config that the model was trained with."""
        return read_model(find_model_file(self.path))[1].config

    @property
    def classes(self) -> tuple[str, ...]:
        """Names in the order of the model's outputs."""
        return read_model(find_model_file(self.path))[1].classes

    def predict(self, files: FileOrParts | Iterable[FileOrParts], *, device: Device = "auto") -> Iterator[Prediction]:
        """Yields one prediction for each file, in order, for any number of them.

        Args:
            files: one, or any number of them. A folder stands for its files and a table (CSV, JSONL, Parquet) for its
                rows; a mapping names the files of one sample by column, such as `{"image": "a.jpg", "audio": "b.wav"}`.

        Raises:
            UsageError: at the call, when there is no model or no such device; later, for a column it does not have.
            DataError: later, when a table cannot be read.
        """
        several = (files,) if isinstance(files, str | Path | Mapping) else files
        return predict_files(self.path, map(_asked, several), device=device)

    def evaluate(
        self,
        *,
        data: str | Path | None = None,
        split: Split | None = None,
        streams: str | Sequence[str] = (),
        device: Device = "auto",
        workers: int | None = None,
    ) -> Measured:
        """Returns the result on the run's own samples, or on other labelled data.

        Args:
            data: other labelled data, used whole; None: the run's own, of which `split` is taken.
            split: "train", "validation" or "test"; None: the test.
            streams: give the model this one alone, such as the sound of videos, or these; none: all.

        Raises:
            UsageError: there is no model, the data has labels that it cannot give, or a split is asked for with data.
            DataError: no sample is left.
        """
        where = None if data is None else str(data)
        return evaluate_run(
            self.path, data=where, split=split, streams=_several(streams), device=device, workers=workers
        )

    def attend(
        self,
        file: FileOrParts,
        *,
        latents: Sequence[int] = (),
        cross_attends: Sequence[int] = (),
        softmax: bool = False,
    ) -> Attention:
        """Returns what the latents attend to in a file; `save` writes it as a picture, numbers or a film.

        Args:
            file: as `predict` takes one.
            latents: which latents, from 0; none: the eight whose maps say most about the file.
            cross_attends: which cross-attends, from 1; none: the first, the second and the last.
            softmax: attention weights instead of scores.

        Raises:
            FileError: the file cannot be read.
            DataError: the table cannot be read.
            UsageError: there is no model, or a table has more than one row.
            ValueError: the model has no such latent or cross-attend.
        """
        return attend_file(self.path, _asked(file), latents=latents, cross_attends=cross_attends, softmax=softmax)


def load(path: str | Path) -> Run:
    """Returns a run for its folder or model.safetensors.

    Raises:
        UsageError: there is no model.
    """
    find_model_file(Path(path))
    return Run(path)
