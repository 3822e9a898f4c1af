"""The command line in a new process, alone or disturbed (see `support.disturbed`)."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_SECONDS = 180


def python(*arguments: str, cwd: Path, threads: int = 1) -> subprocess.CompletedProcess[str]:
    """Runs Python with the package and `support` on its path, in a session of its own."""
    paths = f"{ROOT / 'src'}{os.pathsep}{ROOT / 'tests'}"
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": paths}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        start_new_session=True,
    )


def perceptio(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Runs `perceptio ..`."""
    return python("-m", "perceptio", *map(str, arguments), cwd=cwd)


def disturbed(
    *arguments: str | Path,
    cwd: Path,
    stop_at: int | None = None,
    kill_at: int | None = None,
    kill_in_save: int | None = None,
    without: str | None = None,
    file_bytes: int | None = None,
    signal_name: str | None = None,
    twice: bool = False,
    threads: int = 1,
) -> subprocess.CompletedProcess[str]:
    """Runs `perceptio ..` and disturbs it; the arguments are those of `support.disturbed`."""
    chosen = {
        "stop-at": stop_at,
        "kill-at": kill_at,
        "kill-in-save": kill_in_save,
        "without": without,
        "file-bytes": file_bytes,
        "signal": signal_name,
    }
    options = [f"--{name}={value}" for name, value in chosen.items() if value is not None]
    options += ["--twice"] * twice
    return python("-m", "support.disturbed", *options, "--", *map(str, arguments), cwd=cwd, threads=threads)
