import re
from pathlib import Path

import pytest

from perceptio.errors import UsageError
from perceptio.runs.folder import RunFolder, create_run_folder, open_run_folder, read_config
from support.configs import tiny_config


def test_runs_are_numbered(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "photos-007").mkdir(parents=True)
    (tmp_path / "runs" / "photos-old").mkdir()
    assert create_run_folder("photos", None).path == Path("runs/photos-008")
    assert create_run_folder("photos", None).path == Path("runs/photos-009")
    assert create_run_folder("other", None).path == Path("runs/other-001")


@pytest.mark.parametrize(("name", "expected"), [("my photos/2", "my-photos-2-001"), ("..", "run-001"), ("", "run-001")])
def test_a_name_becomes_one_folder(tmp_path: Path, monkeypatch, name: str, expected: str):
    monkeypatch.chdir(tmp_path)
    assert create_run_folder(name, None).path == Path("runs") / expected


def test_an_empty_folder_may_be_given_a_full_one_not(tmp_path: Path):
    (tmp_path / "empty").mkdir()
    assert create_run_folder("x", tmp_path / "empty").plots.is_dir()
    assert create_run_folder("x", tmp_path / "new" / "deep").path.is_dir()
    (tmp_path / "file").write_text("")
    for taken in ("empty", "file"):
        with pytest.raises(UsageError, match=rf"--out .*{taken} exists and is not an empty folder; choose another, or"):
            create_run_folder("x", tmp_path / taken)


def test_facts_are_added_not_replaced(tmp_path: Path):
    folder = RunFolder(tmp_path)
    assert folder.read_facts() == {}
    folder.update_facts({"a": 1, "b": [2]})
    folder.update_facts({"b": [3]})
    assert folder.read_facts() == {"a": 1, "b": [3]}
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"ended": "fin', "run.json is no JSON document: Unterminated string"),
        (b"\xff\xfe", "run.json is no JSON document: "),
        (b"[1]", "run.json must hold a JSON object, got a list"),
        (b"null", "run.json must hold a JSON object, got a NoneType"),
    ],
)
def test_facts_that_are_damaged_are_refused_in_one_line(tmp_path: Path, content: bytes, message: str):
    folder = RunFolder(tmp_path)
    folder.facts.write_bytes(content)
    for use in (folder.read_facts, lambda: folder.update_facts({"a": 1})):
        with pytest.raises(UsageError, match=message) as caught:
            use()
        assert "\n" not in str(caught.value)
    assert folder.facts.read_bytes() == content


def test_a_config_is_read_back(tmp_path: Path):
    folder = RunFolder(tmp_path)
    config = tiny_config(tmp_path)
    folder.write_config(config)
    assert open_run_folder(tmp_path).read_config() == config


def test_what_is_no_config_is_refused(tmp_path: Path):
    with pytest.raises(UsageError, match=r"cannot read the config .*none.json: No such file or directory"):
        read_config(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(UsageError, match=r"bad.json is not a JSON config: Expecting property name"):
        read_config(tmp_path / "bad.json")
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match=r"bytes.json is not a JSON config"):
        read_config(tmp_path / "bytes.json")


def test_what_is_no_run_is_refused(tmp_path: Path):
    message = f"{tmp_path} is no run folder: it has no config.json. Runs lie in ./runs unless --out said else."
    with pytest.raises(UsageError, match=f"^{re.escape(message)}$"):
        open_run_folder(tmp_path)
