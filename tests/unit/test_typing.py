"""Users' type checkers see the package's types: it says that it has any, and they hold."""

from pathlib import Path

import pytest

import perceptio
from support.processes import ROOT, python

USE = """
from perceptio import Run, load, train

run: Run = train("fashion-sample", epochs=0.1, device="cpu")
label: str | None = next(run.predict(["a.png"])).label
score: float = run.test["accuracy"]
wrong: int = load("runs/photos-001").test
train("fashion-sample", epoch=3)
"""


def test_the_package_is_marked_as_typed():
    assert (Path(perceptio.__file__).parent / "py.typed").is_file()


@pytest.mark.slow
def test_a_type_checker_reads_the_api(tmp_path: Path):
    (tmp_path / "use.py").write_text(USE)
    (tmp_path / "mypy.ini").write_text(f"[mypy]\nstrict = True\nmypy_path = {ROOT / 'src'}\nfollow_imports = silent\n")
    done = python("-m", "mypy", "--cache-dir", "cache", "use.py", cwd=tmp_path)
    assert [line for line in done.stdout.splitlines() if ": note: " not in line] == [
        'use.py:7: error: Incompatible types in assignment (expression has type "Mapping[str, float]", variable has '
        'type "int")  [assignment]',
        'use.py:8: error: Unexpected keyword argument "epoch" for "train"; did you mean "epochs"?  [call-arg]',
        "Found 2 errors in 1 file (checked 1 source file)",
    ]
