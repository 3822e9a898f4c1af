"""What the documentation shows is run: the blocks of docs/api.md, one after the other, where a user would stand."""

import re
from pathlib import Path

import pytest

from support.pictures import make_picture_folder
from support.processes import ROOT, python


def blocks_of(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_the_python_page_runs(tmp_path: Path):
    data = make_picture_folder(tmp_path / "photos", per_class=8)
    (tmp_path / "a.jpg").write_bytes(next(iter(sorted(data.rglob("*.png")))).read_bytes())
    blocks = blocks_of(ROOT / "docs" / "api.md")
    assert len(blocks) == 7
    (tmp_path / "page.py").write_text("\n".join(blocks))
    done = python("page.py", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "maps.png").is_file()
    assert (tmp_path / "runs" / "photos-002" / "report.html").is_file()


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the notebook machinery, not ours
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(ROOT / "docs" / "examples" / "first-run.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "commit the notebook without outputs"
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    NotebookClient(notebook, timeout=500, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert [output["text"] for output in outputs if output.get("name") == "stderr"] == []
    text = [output["text"] for output in outputs if output.get("name") == "stdout"]
    assert "test accuracy" in text[0]
    assert "broken.png -> not an image" in text[1]
    assert any("image/png" in output.get("data", {}) for output in outputs)
