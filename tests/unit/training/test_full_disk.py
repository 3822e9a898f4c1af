import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.processes import ROOT


def may_mount(folder: Path) -> bool:
    """Whether this user may mount a small file system that nobody else sees."""
    if shutil.which("unshare") is None:
        return False
    command = ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", str(folder)]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("trouble", "num_warnings", "reason", "way_out"),
    [
        ("full", 2, "not enough room: ", ". Make room, then go on with --resume."),
        # Rows of metrics and best weights find no place either.
        ("read-only", 5, "Read-only file system: ", ". Mend that, then go on with --resume."),
    ],
)
def test_a_file_system_that_refuses(tmp_path: Path, trouble: str, num_warnings: int, reason: str, way_out: str):
    if not may_mount(tmp_path):
        pytest.skip("may not mount a file system (on Linux root may)")
    done = subprocess.run(
        ["unshare", "--mount", sys.executable, "-m", "support.full_disk", tmp_path, trouble],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'tests'}"},
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    told = found.pop("told")
    assert told.startswith(f"3 checkpoints in a row could not be written, the last at step 12: {reason}")
    assert told.endswith(way_out)
    assert found == {
        "warnings": num_warnings, "left": 3, "names": ["step-000000003"], "ended": "finished", "equal": True,
    }  # fmt: skip
