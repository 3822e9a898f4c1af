"""`perceptio info` of everything that training takes and of what it leaves."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from perceptio.cli.main import main
from perceptio.models.perceiver import build_perceiver
from perceptio.modules.reading.choice import ReadingConfig
from perceptio.runs.config import SourceConfig
from perceptio.runs.folder import RunFolder
from perceptio.runs.model_file import ModelFacts, write_model
from perceptio.runs.shards import pack_data
from support.configs import tiny_config
from support.pictures import CLASSES, make_picture_folder
from support.web import served


class Told(NamedTuple):
    """What a command said."""

    code: int
    out: str
    err: str


Tell = Callable[..., Told]


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str]) -> Tell:
    """Runs `perceptio info ..` in this process."""

    def tell(*arguments: str | Path) -> Told:
        code = main(["info", *map(str, arguments)])
        captured = capsys.readouterr()
        return Told(code, captured.out, captured.err)

    return tell


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Three shards with their index."""
    make_picture_folder(tmp_path / "pictures", per_class=10, side=64)
    pack_data(str(tmp_path / "pictures"), tmp_path / "shards", source=SourceConfig(), shard_bytes=2**17)
    assert len(list((tmp_path / "shards").glob("*.tar"))) == 3
    return tmp_path / "shards"


def tells_the_pictures(tell: Tell, data: str) -> None:
    """Asserts that the text and the document are those of the folder, packed."""
    text = tell(data)
    assert (text.code, text.err) == (0, "")
    assert "30 samples" in text.out
    assert re.search(r"^Next +perceptio train --data ", text.out, flags=re.MULTILINE)
    told = tell(data, "--json")
    document = json.loads(told.out)
    assert (told.code, document["classes"]) == (0, dict.fromkeys(CLASSES, 10))
    assert (document["used"], document["refused"], document["config"]["recipe"]) == (30, None, "automatic")


def test_a_url_of_shards_is_data(tell: Tell, shards: Path):
    with served(shards) as url:
        tells_the_pictures(tell, url)
        (shards / "index.jsonl").unlink()
        told = tell(url)
        assert (told.code, told.out) == (2, "")
        assert "holds no index.jsonl, and a web server cannot be asked for its files" in told.err


def test_a_pattern_of_shards_is_data(tell: Tell, shards: Path):
    pattern = f"{shards}/pictures-{{000000..000002}}.tar"
    tells_the_pictures(tell, pattern)
    assert f"perceptio train --data '{pattern}'\n" in tell(pattern).out, "a shell would take the braces as its own"
    tells_the_pictures(tell, f"file://{shards}")


def test_a_single_shard_that_is_not_there_is_named(tell: Tell, shards: Path):
    told = tell(shards / "nowhere.tar")
    assert (told.code, told.out) == (2, "")
    assert "no folder nowhere.tar/ in " in told.err


def test_what_cannot_be_used_is_asked_for_by_a_command_that_a_shell_takes(tell: Tell, tmp_path: Path):
    from perceptio.data.records import Skipped
    from perceptio.errors import DataError
    from perceptio.runs.data import check_share

    with pytest.raises(DataError, match=re.escape("all: perceptio info 'a b/x-{0..1}.tar'")):
        check_share([Skipped("a", "b")], 0, 0.1, "a b/x-{0..1}.tar")


def written_model(path: Path, **facts: Any) -> Path:
    """Writes a model of the tiny config."""
    config = tiny_config(path.parent / "pictures")
    model = build_perceiver(config.input_config(), config.model, 3)
    known = ModelFacts(config=config, classes=CLASSES, task="single_label", step=1234)
    write_model(path, model.state_dict(), replace(known, **facts))
    return path


def test_a_model_file_says_what_it_is(tell: Tell, tmp_path: Path):
    model = written_model(tmp_path / "model.safetensors", unsure_at=0.75)
    told = tell(model)
    assert (told.code, told.err) == (0, "")
    lines = told.out.splitlines()
    assert lines[0] == f"model {model} of recipe tiny"
    assert "Input     16 x 16 x 3 = 256 inputs of 17 channels" in lines
    assert any(re.fullmatch(r"Weights   [\d,]+ parameters with 3 classes", line) for line in lines)
    assert lines[-4:] == [
        f"Data      {tmp_path / 'pictures'}",
        "Classes   3: disc, frame, stripes; one class a sample",
        "Taken     after 1,234 optimizer steps",
        "Unsure    at a first probability of up to 0.75",
    ]
    document = json.loads(tell(model, "--json").out)
    assert document["model"] == {"classes": list(CLASSES), "task": "single_label", "step": 1234, "unsure_at": 0.75}
    assert (document["num_classes"], document["config"]["recipe"]) == (3, "tiny")


def test_a_model_of_several_labels_and_of_another_machine_says_so(tell: Tell, tmp_path: Path):
    config = tiny_config()
    there = replace(config, model=replace(config.model, reading=ReadingConfig(method="separable", backend="triton")))
    model = written_model(tmp_path / "other-name.safetensors", task="multi_label", config=there)
    lines = tell(model).out.splitlines()
    assert lines[-4:] == [
        "Data      not recorded",
        "Classes   3: disc, frame, stripes; several labels a sample",
        "Taken     after 1,234 optimizer steps",
        "Unsure    unknown",
    ]


def test_a_file_that_is_no_model_is_refused(tell: Tell, tmp_path: Path):
    (tmp_path / "model.safetensors").write_bytes(b"\0" * 20)
    told = tell(tmp_path / "model.safetensors")
    assert (told.code, told.out) == (2, "")
    assert "is damaged or no safetensors file" in told.err
    wider = tiny_config()
    wider = replace(wider, model=replace(wider.model, num_latents=6))
    told = tell(written_model(tmp_path / "model.safetensors", config=wider))
    assert told.code == 2
    assert "latents must have shape (6, 24), got (5, 24)" in told.err


def run_folder(path: Path, *, split: str, facts: str) -> Path:
    """Writes what `--diff` reads of a run."""
    path.mkdir()
    folder = RunFolder(path)
    folder.write_config(tiny_config())
    folder.split.write_text(split)
    folder.facts.write_text(facts)
    return path


def test_a_split_without_labels_is_compared_by_its_splits(tell: Tell, tmp_path: Path):
    one = run_folder(tmp_path / "one", split="file,split\na.png,train\nb.png,test\n", facts="{}")
    other = run_folder(tmp_path / "other", split="file,split,labels\na.png,train,x\nb.png,train,y\n", facts="{}")
    told = tell(one, "--diff", other)
    assert (told.code, told.err) == (0, "")
    assert told.out == f"{other} -> {one}\nfiles        b.png: train -> test\n"
    (one / "split.csv").write_text("file,part\na.png,train\n")
    told = tell(one, "--diff", other)
    assert told.code == 4
    assert "split.csv must have the columns file, split, labels; split is missing" in told.err


@pytest.mark.parametrize("facts", ["[]", '{"data": '])
def test_facts_that_are_damaged_cost_one_line(tell: Tell, tmp_path: Path, facts: str):
    one = run_folder(tmp_path / "one", split="file,split\n", facts=facts)
    other = run_folder(tmp_path / "other", split="file,split\n", facts="{}")
    told = tell(one, "--diff", other)
    assert (told.code, told.out, told.err.count("\n")) == (2, "", 1)
    assert told.err.startswith(f"error: {one / 'run.json'} ")
    alone = tell(one)
    assert (alone.code, alone.err) == (0, "")
    assert "Result    no test result yet" in alone.out
