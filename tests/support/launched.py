"""Runs of several processes, by the launchers that people use, and what they were made of."""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from support.processes import ROOT

TIMEOUT_SECONDS = 240


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """What happens in process `rank`; see `support.one_of_many`."""

    fail: str | None = None
    stop_at: int | None = None
    spoil: str | None = None
    rank: int = 1

    def options(self) -> list[str]:
        """Returns the options of `support.one_of_many`."""
        chosen = {"fail": self.fail, "stop-at": self.stop_at, "spoil": self.spoil, "rank": self.rank}
        return [f"--{name}={value}" for name, value in chosen.items() if value is not None]


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a launch ended.

    Attributes:
        late: seconds from the failure that was asked for to the end of all processes; None where there was none.
    """

    code: int
    stdout: str
    stderr: str
    late: float | None

    @property
    def errors(self) -> list[str]:
        """What the processes gave as the reason of their end; the launcher's own words left out."""
        return [line for line in self.stderr.splitlines() if line.startswith("error: ")]


@dataclass(frozen=True, kw_only=True)
class Launch:
    """A launcher at work."""

    process: subprocess.Popen[str]
    failed: Path

    def end(self) -> Ended:
        """Waits for all processes."""
        stdout, stderr = self.process.communicate(timeout=TIMEOUT_SECONDS)
        late = time.time() - self.failed.stat().st_mtime if self.failed.exists() else None
        return Ended(code=self.process.returncode, stdout=stdout, stderr=stderr, late=late)


def start(
    *arguments: str | Path,
    cwd: Path,
    count: int = 2,
    launcher: str = "torchrun",
    record: Path | None = None,
    trouble: Trouble | None = None,
    nodes: tuple[str, ...] = (),
) -> Launch:
    """Starts `perceptio ..` in several processes; one alone is run as it is.

    Args:
        record: folder for what each step was taken on.
        nodes: options of torchrun for one of several nodes; empty: all processes are here.
    """
    commands = {
        "torchrun": [
            "-m",
            "torch.distributed.run",
            *(nodes or ("--standalone",)),
            "--nproc-per-node",
            str(count),
            "-m",
        ],
        # With --cpu Accelerate starts one process, unless there is an mpirun; as for GPUs it starts what torchrun does.
        "accelerate": [
            *("-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", str(count), "--num_machines", "1"),
            *("--mixed_precision", "no", "--dynamo_backend", "no", "-m"),
        ],
    }
    options = [] if trouble is None else trouble.options()
    if record is not None:
        record.mkdir(exist_ok=True)
        options.append(f"--record={record}")
    failed = cwd / f"failed-{time.monotonic_ns()}"
    paths = f"{ROOT / 'src'}{os.pathsep}{ROOT / 'tests'}"
    process = subprocess.Popen(
        [
            sys.executable,
            *(commands[launcher] if count > 1 or nodes else ["-m"]),
            *("support.one_of_many", *options, *map(str, arguments)),
        ],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths, "PERCEPTIO_TEST_FAILED": str(failed)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    return Launch(process=process, failed=failed)


def launch(
    *arguments: str | Path,
    cwd: Path,
    count: int = 2,
    launcher: str = "torchrun",
    record: Path | None = None,
    trouble: Trouble | None = None,
) -> Ended:
    """Runs what `start` starts to its end."""
    return start(*arguments, cwd=cwd, count=count, launcher=launcher, record=record, trouble=trouble).end()


def steps_of(folder: Path) -> dict[int, tuple[list[int], float]]:
    """Returns the samples of each global batch, in their order, and its loss, by step; a step taken twice counts last.

    Each run that recorded into the folder has a folder of its own in there, named by its number of processes.
    """
    found: dict[int, tuple[list[int], float]] = {}
    for part in sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns):
        ranks = [
            [json.loads(line) for line in path.read_text().splitlines()]
            for path in sorted(part.iterdir(), key=lambda path: int(path.stem))
        ]
        for rows in zip(*ranks, strict=True):
            samples = [0] * sum(len(row["samples"]) for row in rows)
            for rank, row in enumerate(rows):
                samples[rank :: len(rows)] = row["samples"]
            assert len({row["loss"] for row in rows}) == 1, "processes differ in the loss of a step"
            found[rows[0]["step"]] = samples, rows[0]["loss"]
    return found
