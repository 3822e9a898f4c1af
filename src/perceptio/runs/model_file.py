"""model.safetensors: weights, with the config and the class names in the header, so that one file predicts."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from perceptio.data.tensor_file import MAX_TENSORS, TensorHeader, read_tensor_header
from perceptio.disk import replace_file
from perceptio.errors import UsageError, nearest
from perceptio.json_values import parse_json
from perceptio.models.perceiver import Perceiver, build_perceiver
from perceptio.runs.config import RunConfig
from perceptio.runs.serialisation import from_json, to_json

_HEADER = "perceptio"
_KINDS = {torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64"}
FORMAT_VERSION = 2
MODEL_SUFFIX = ".safetensors"
MODEL_NAME = f"model{MODEL_SUFFIX}"
RUNS = Path("runs")
"""Where runs lie, unless they were told otherwise."""
SHOWN_RUNS = 3


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """What a model file says besides weights."""

    config: RunConfig
    classes: tuple[str, ...]
    task: Literal["single_label", "multi_label"]
    step: int = 0
    """Optimizer steps after which these weights were taken."""
    unsure_at: float | None = None
    """First probability up to which an answer counts as unsure; None: nothing was learned about that."""


def write_model(path: Path, weights: Mapping[str, Tensor], facts: ModelFacts) -> None:
    """Writes weights and facts; a crash leaves the old file or the new one."""
    header = {
        "format": FORMAT_VERSION,
        "config": to_json(facts.config),
        "classes": facts.classes,
        "task": facts.task,
        "step": facts.step,
        "unsure_at": facts.unsure_at,
    }
    tensors = {name: value.detach().contiguous().cpu() for name, value in weights.items()}
    replace_file(path, save(tensors, metadata={_HEADER: json.dumps(header)}))


def read_model(path: Path) -> tuple[Perceiver, ModelFacts]:
    """Returns the model with its weights, and the facts.

    Raises:
        UsageError: when the file is missing, damaged, another project's, or does not fit its own config.
    """
    header, facts, model = _read_outline(path)
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in header.tensors}
    except (SafetensorError, OSError) as error:
        raise UsageError(f"{path} is damaged or no safetensors file: {error}") from error
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise UsageError(f"{path}: {name} holds values that are no finite numbers; the file is damaged")
    # The meta model takes the tensors as they are: no weight is drawn only to be overwritten.
    model.load_state_dict(tensors, assign=True)
    return model, facts


def read_facts(path: Path) -> ModelFacts:
    """Returns the facts of a model, without its weights.

    Raises:
        UsageError: when the file is missing, damaged or another project's.
    """
    return _read_header(path)[1]


def read_checked_facts(path: Path) -> ModelFacts:
    """Returns the facts of a model whose tensors are those that they tell of, from its header alone.

    Raises:
        UsageError: as `read_model`, but for what only the weights show.
    """
    return _read_outline(path)[1]


def _read_outline(path: Path) -> tuple[TensorHeader, ModelFacts, Perceiver]:
    header, facts = _read_header(path)
    model = _empty_model(path, facts)
    _compare(path, header.tensors, model.state_dict())
    return header, facts, model


def _read_header(path: Path) -> tuple[TensorHeader, ModelFacts]:
    try:
        header = read_tensor_header(path)
        entry = header.entries.get(_HEADER)
        if entry is None:
            raise UsageError(f"{path} is no Perceptio model: its header has no entry {_HEADER!r}")
        return header, _facts(path, parse_json(entry))
    except UsageError:
        raise
    except FileNotFoundError as error:
        raise UsageError(f"no model file {path}") from error
    except (ValueError, OSError) as error:
        raise UsageError(f"{path} is damaged or no safetensors file: {error}") from error


def _facts(path: Path, entry: Any) -> ModelFacts:
    match entry:
        case {"format": int(version)} if version != FORMAT_VERSION:
            raise UsageError(f"{path} has format {version}, this version reads {FORMAT_VERSION}")
        case {
            "format": int(),
            "config": dict(config),
            "classes": list(classes),
            "task": "single_label" | "multi_label" as task,
            "step": int(step),
        } if all(isinstance(name, str) for name in classes):
            unsure_at = entry.get("unsure_at")  # not in files from before there was such a thing
            if unsure_at is not None and not isinstance(unsure_at, float | int):
                raise ValueError(f"unsure_at must be a number: got {unsure_at!r}")
            return ModelFacts(
                config=from_json(RunConfig, config),
                classes=tuple(classes),
                task=task,
                step=step,
                unsure_at=unsure_at,
            )
        case _:
            raise ValueError(f"its entry {_HEADER!r} lacks config, classes, task or step")


def _empty_model(path: Path, facts: ModelFacts) -> Perceiver:
    """Returns the model that a config asks for, without memory for its weights: whatever it asks for costs nothing."""
    # What ran it where it was trained may not be here; any backend computes the same.
    config = replace(facts.config.model, reading=replace(facts.config.model.reading, backend="auto"))
    layers = config.num_cross_attends + config.num_blocks * config.num_self_attends_per_block
    if layers > MAX_TENSORS:
        raise UsageError(f"{path}: its config asks for {layers:,} layers; the limit is {MAX_TENSORS:,}")
    try:
        with torch.device("meta"):
            return build_perceiver(facts.config.input_config(), config, len(facts.classes))
    except (RuntimeError, MemoryError, OverflowError, TypeError) as error:
        raise UsageError(f"{path}: its config asks for a model that cannot be built: {error}") from error


def _compare(path: Path, given: Mapping[str, tuple[str, tuple[int, ...]]], wanted: Mapping[str, Tensor]) -> None:
    """Compares the header with the model, before a byte of the tensors is read."""
    for name in given:
        if name not in wanted:
            raise UsageError(f"{path} holds an unknown tensor {name}.{nearest(name, wanted)}")
    for name, tensor in wanted.items():
        if name not in given:
            raise UsageError(f"{path} lacks the tensor {name}")
        kind, shape = given[name]
        if shape != tuple(tensor.shape):
            raise UsageError(f"{path}: {name} must have shape {tuple(tensor.shape)}, got {shape}")
        if kind != _KINDS.get(tensor.dtype):
            raise UsageError(f"{path}: {name} must hold {_KINDS.get(tensor.dtype)}, got {kind}")


def find_model_file(path: Path) -> Path:
    """Returns the model file of a run folder, or the file itself.

    Raises:
        UsageError: when there is none.
    """
    file = path / MODEL_NAME if path.is_dir() else path
    if not file.is_file():
        raise UsageError(f"no model file {file}.{_where_models_are(path)}")
    return file


def _where_models_are(path: Path) -> str:
    """Returns what was probably meant by a path that leads to no model: a run that waits, or a run elsewhere."""
    if (path / "config.json").is_file():
        return " Training writes it after the first evaluation."
    runs = path if path.is_dir() and list(path.glob(f"*/{MODEL_NAME}")) else RUNS
    trained = {str(file.parent): file.stat().st_mtime for file in runs.glob(f"*/{MODEL_NAME}")}
    named = str(RUNS / path.name)
    if named in trained:
        return f" Did you mean {named} ?"
    latest = sorted(trained, key=lambda name: (-trained[name], name))[:SHOWN_RUNS]
    return f" Runs with a model, the latest first: {', '.join(latest)}" if latest else ""
