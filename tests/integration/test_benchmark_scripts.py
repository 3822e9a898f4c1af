"""Each script under benchmarks/ says what it does without doing it, and the quick ones run in small."""

from pathlib import Path

import pytest

from support.processes import ROOT, python

SCRIPTS = sorted(path for path in (ROOT / "benchmarks").glob("*.py") if "__main__" in path.read_text(encoding="utf-8"))


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_help_says_what_a_script_takes_and_starts_nothing(script: Path, tmp_path: Path):
    done = python(str(script), "--help", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: {script.name} ")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("count", [31, 200])
def test_shards_are_measured_on_any_number_of_samples(tmp_path: Path, count: int):
    script = ROOT / "benchmarks" / "shards.py"
    done = python(str(script), "--samples", str(count), "--workers", "0", "--out", str(tmp_path), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("each sample once an epoch: True") == 3
    few = python(str(script), "--samples", "19", "--out", str(tmp_path), cwd=tmp_path)
    assert few.returncode == 2
    assert "--samples must be at least 20, two a class: got 19" in few.stderr


def test_a_guided_campaign_says_what_it_needs(tmp_path: Path):
    done = python("-c", "import atheris", cwd=tmp_path)
    if done.returncode == 0:
        pytest.skip("atheris is installed")
    done = python(str(ROOT / "benchmarks" / "guided_fuzz.py"), "json", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("error: this campaign needs atheris: pip install atheris\n")
