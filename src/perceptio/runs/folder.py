"""The run folder: where everything that a run leaves behind has its place."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perceptio.disk import replace_file
from perceptio.errors import UsageError
from perceptio.json_values import parse_json
from perceptio.runs.config import RunConfig
from perceptio.runs.serialisation import dump, from_json, to_json


@dataclass(frozen=True)
class RunFolder:
    """Paths of a run."""

    path: Path

    @property
    def weights(self) -> Path:
        """The best weights, config and class names: this file alone predicts."""
        return self.path / "model.safetensors"

    @property
    def config(self) -> Path:
        """The run's config; `perceptio train --config` repeats it."""
        return self.path / "config.json"

    @property
    def facts(self) -> Path:
        """Command line, versions, seed, machine, data fingerprint, results."""
        return self.path / "run.json"

    @property
    def metrics(self) -> Path:
        """One JSON line per evaluation."""
        return self.path / "metrics.jsonl"

    @property
    def log(self) -> Path:
        """What the screen showed, as plain lines, and the traceback of an error."""
        return self.path / "log.txt"

    @property
    def split(self) -> Path:
        """Which file belongs to which part."""
        return self.path / "split.csv"

    @property
    def skipped(self) -> Path:
        """Files that could not be used, and why."""
        return self.path / "skipped.csv"

    @property
    def predictions(self) -> Path:
        """The answer for each test file."""
        return self.path / "predictions.csv"

    @property
    def checkpoints(self) -> Path:
        """What is needed to go on."""
        return self.path / "checkpoints"

    @property
    def plots(self) -> Path:
        """Pictures."""
        return self.path / "plots"

    @property
    def report(self) -> Path:
        """The report, one page that needs no network."""
        return self.path / "report.html"

    @property
    def card(self) -> Path:
        """The model card."""
        return self.path / "README.md"

    def write_config(self, config: RunConfig) -> None:
        """Writes config.json; a crash leaves the old one or the new one."""
        replace_file(self.config, dump(to_json(config)).encode())

    def read_config(self) -> RunConfig:
        """Reads config.json."""
        return read_config(self.config)

    def update_facts(self, facts: Mapping[str, Any]) -> None:
        """Adds entries to run.json; a crash leaves the old one or the new one."""
        replace_file(self.facts, dump({**self.read_facts(), **facts}).encode())

    def read_facts(self) -> dict[str, Any]:
        """Reads run.json, or nothing before it is written.

        Raises:
            UsageError: when it is no JSON object, such as one that was cut off.
        """
        if not self.facts.exists():
            return {}
        try:
            facts = parse_json(self.facts.read_bytes())
        except ValueError as error:
            raise UsageError(f"{self.facts} is no JSON document: {error}") from error
        if not isinstance(facts, dict):
            raise UsageError(f"{self.facts} must hold a JSON object, got a {type(facts).__name__}")
        return facts


def read_config(path: Path) -> RunConfig:
    """Reads a config file.

    Raises:
        UsageError: when it is missing, no JSON, or no run config.
    """
    try:
        content = parse_json(path.read_bytes())
    except OSError as error:
        raise UsageError(f"cannot read the config {path}: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{path} is not a JSON config: {error}") from error
    return from_json(RunConfig, content)


def create_run_folder(name: str, out: Path | None) -> RunFolder:
    """Creates `runs/NAME-001`, the next free number, or exactly `out`.

    Raises:
        UsageError: when `out` exists and is not empty.
    """
    if out is not None:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise UsageError(f"--out {out} exists and is not an empty folder; choose another, or leave --out away")
        out.mkdir(parents=True, exist_ok=True)
        folder = RunFolder(out)
    else:
        folder = RunFolder(_next_free(Path("runs"), re.sub(r"[^\w.-]+", "-", name).strip("-.") or "run"))
    folder.plots.mkdir(exist_ok=True)
    return folder


def is_run_folder(path: Path) -> bool:
    """Returns whether a folder is a run's: data may hold a config.json, but not beside a run's other files."""
    return (path / "config.json").is_file() and not (path / "metadata.csv").exists()


def open_run_folder(path: Path) -> RunFolder:
    """Returns an existing run folder.

    Raises:
        UsageError: when it is none.
    """
    if not (path / "config.json").is_file():
        raise UsageError(f"{path} is no run folder: it has no config.json. Runs lie in ./runs unless --out said else.")
    return RunFolder(path)


def _next_free(parent: Path, name: str) -> Path:
    parent.mkdir(parents=True, exist_ok=True)
    numbered = re.compile(rf"{re.escape(name)}-(\d+)")
    taken = [int(match[1]) for path in parent.iterdir() if (match := numbered.fullmatch(path.name))]
    number = max(taken, default=0) + 1
    while True:
        path = parent / f"{name}-{number:03d}"
        try:
            path.mkdir()
            return path
        except FileExistsError:
            number += 1
