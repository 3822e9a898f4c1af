"""What must be equal for a resumed run to repeat an undisturbed one bit for bit, and what of it is not."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from perceptio.json_values import finite
from perceptio.runs.machine import cpu_model, package_versions
from perceptio.runs.serialisation import to_json
from perceptio.runs.workbench import TrainOptions, Workbench

EXACT = "bit for bit as if never stopped"
_HASHES = ("data", "split", "classes")  # of these a difference can be told, its size cannot


def exactness_facts(bench: Workbench, options: TrainOptions) -> dict[str, Any]:
    """Returns what each checkpoint records of what a run's result depends on, as JSON has it."""
    facts = {
        "data": bench.prepared.survey.fingerprint,
        "split": fingerprint_of(sorted(bench.prepared.splits.items())),
        "classes": fingerprint_of(bench.prepared.classes),
        "config": to_json(replace(bench.config, data=None)),  # where the data lies is free; what it is stands above
        "versions": package_versions(),
        **surroundings(bench, options),
    }
    return dict(json.loads(json.dumps(finite(facts))))


def surroundings(bench: Workbench, options: TrainOptions) -> dict[str, str | int]:
    """Returns what computes a run and may change the last bits of its result."""
    device = bench.accelerator.device
    return {
        "threads": torch.get_num_threads(),
        "omp_dynamic": os.environ.get("OMP_DYNAMIC", "false").lower(),
        "cpu": cpu_model(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "sharding": options.sharding,
        "num_processes": bench.accelerator.num_processes,
    }


def how_exact(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Says whether a run that goes on repeats the undisturbed one, and what stands in the way."""
    differences = describe_differences(before, now)
    if now["omp_dynamic"] == "true":
        differences.append("OMP_DYNAMIC is on, so that the number of threads may change from step to step")
    if differences:
        return f"not bit-exact: {'; '.join(differences)}"
    same = "with the same samples and random choices; sums"
    if now["device"] != "cpu" and not now["config"]["training"]["exact"]:
        return f"{same} on a GPU may differ in their last bits (--training.exact)"
    if now["num_processes"] > 2:
        return f"{same} over more than two processes may differ in their last bits"
    return EXACT


def describe_differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Returns one phrase for each fact that changed, such as "threads 2 -> 4" or "torch 2.11.0 -> 2.13.0"."""
    phrases = []
    for name, value in now.items():
        if name not in before:
            phrases.append(f"{name} not recorded")
        elif isinstance(value, Mapping) != isinstance(before[name], Mapping):
            phrases.append(f"{name} recorded in an older form that cannot be compared")
        elif name in _HASHES:
            phrases += [f"other {name}"] * (before[name] != value)
        else:
            was, is_now = _flat(name, before[name]), _flat(name, value)
            phrases += [
                f"{part} {_shown(was, part)} -> {_shown(is_now, part)}"
                for part in {**was, **is_now}
                if part not in was or part not in is_now or was[part] != is_now[part]
            ]
    return phrases


def _shown(facts: Mapping[str, Any], part: str) -> Any:
    return "not there" if part not in facts else "none" if facts[part] is None else facts[part]


def _flat(name: str, value: Any) -> dict[str, Any]:
    """Returns nested mappings as one, under dotted names; the outermost name is left out where there are others."""
    if not isinstance(value, Mapping):
        return {name: value}
    found = {}
    for part, content in value.items():
        for key, inner in _flat(part, content).items():
            found[f"{part}.{key}" if isinstance(content, Mapping) else key] = inner
    return found


def fingerprint_of(value: Any) -> str:
    """Returns a hash of a JSON value."""
    return hashlib.blake2b(json.dumps(value).encode(), digest_size=16).hexdigest()
