"""model.safetensors: weights, with the config and the class names in the header, so that one file predicts."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from perceptio.disk import replace_file
from perceptio.errors import UsageError, nearest
from perceptio.models.perceiver import Perceiver, build_perceiver
from perceptio.runs.config import RunConfig
from perceptio.runs.serialisation import from_json, to_json

_HEADER = "perceptio"
FORMAT_VERSION = 2


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """What a model file says besides weights."""

    config: RunConfig
    classes: tuple[str, ...]
    task: Literal["single_label", "multi_label"]
    step: int = 0
    """Optimizer steps after which these weights were taken."""


def write_model(path: Path, weights: Mapping[str, Tensor], facts: ModelFacts) -> None:
    """Writes weights and facts; a crash leaves the old file or the new one."""
    header = {
        "format": FORMAT_VERSION,
        "config": to_json(facts.config),
        "classes": facts.classes,
        "task": facts.task,
        "step": facts.step,
    }
    tensors = {name: value.detach().contiguous().cpu() for name, value in weights.items()}
    replace_file(path, save(tensors, metadata={_HEADER: json.dumps(header)}))


def read_model(path: Path) -> tuple[Perceiver, ModelFacts]:
    """Returns the model with its weights, and the facts.

    Raises:
        UsageError: when the file is missing, damaged, another project's, or does not fit its own config.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get(_HEADER, "null"))
            if header is None:
                raise UsageError(f"{path} is no Perceptio model: its header has no entry {_HEADER!r}")
            if header["format"] != FORMAT_VERSION:
                raise UsageError(f"{path} has format {header['format']}, this version reads {FORMAT_VERSION}")
            facts = ModelFacts(
                config=from_json(RunConfig, header["config"]),
                classes=tuple(header["classes"]),
                task=header["task"],
                step=header["step"],
            )
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except FileNotFoundError as error:
        raise UsageError(f"no model file {path}") from error
    except (SafetensorError, OSError, KeyError, json.JSONDecodeError) as error:
        raise UsageError(f"{path} is damaged or no safetensors file: {error}") from error
    with torch.device("meta"):
        model = build_perceiver(facts.config.input_config(), facts.config.model, len(facts.classes))
    expected = {name: value.shape for name, value in model.state_dict().items()}
    for name in tensors:
        if name not in expected:
            raise UsageError(f"{path} holds an unknown tensor {name}.{nearest(name, expected)}")
    for name, shape in expected.items():
        if name not in tensors:
            raise UsageError(f"{path} lacks the tensor {name}")
        if tensors[name].shape != shape:
            raise UsageError(f"{path}: {name} must have shape {tuple(shape)}, got {tuple(tensors[name].shape)}")
    # The meta model takes the tensors as they are: no weight is drawn only to be overwritten.
    model.load_state_dict(tensors, assign=True)
    return model, facts


def find_model_file(path: Path) -> Path:
    """Returns the model file of a run folder, or the file itself.

    Raises:
        UsageError: when there is none.
    """
    if path.is_dir():
        path = path / "model.safetensors"
    if not path.is_file():
        hint = " Training writes it after the first evaluation." if path.parent.is_dir() else ""
        raise UsageError(f"no model file {path}.{hint}")
    return path
