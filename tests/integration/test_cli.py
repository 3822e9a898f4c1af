"""The command line on generated pictures, from training to attention maps; exit codes, messages, JSON."""

import csv
import io
import json
import re
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

from perceptio import __version__
from perceptio.cli.main import COMMANDS, HELP, main
from perceptio.data.sources import open_source
from perceptio.recipes.registry import RECIPES
from perceptio.runs.model_file import read_model, write_model
from perceptio.runs.results import RunResult
from perceptio.runs.serialisation import dump, to_json
from support.configs import tiny_config
from support.pictures import CLASSES, draw_picture, make_picture_folder
from support.processes import disturbed, perceptio, python


class Told(NamedTuple):
    """What one command line came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The last line of standard output as a JSON document; before it stand only other ones."""
        return self.lines[-1]

    @property
    def lines(self) -> list[Any]:
        """Standard output as JSON documents, one a line, and nothing else."""
        return [json.loads(line) for line in self.out.splitlines()]


Tell = Callable[..., Told]


@pytest.fixture
def tell(capfd: pytest.CaptureFixture[str]) -> Tell:
    """Runs `perceptio ..` in this process."""

    def tell(*arguments: str | Path) -> Told:
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as exit:
            code = int(exit.code or 0)
        captured = capfd.readouterr()
        return Told(code, captured.out, captured.err)

    return tell


class Trained(NamedTuple):
    data: Path
    config: Path
    run: Path
    document: dict[str, Any]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A run that has learned colour and shape, made by the command line in a new process."""
    folder = tmp_path_factory.mktemp("cli")
    data = make_picture_folder(folder / "pictures", per_class=15)
    config = folder / "config.json"
    config.write_text(dump(to_json(tiny_config(data, epochs=16.0))))
    done = perceptio("train", "--config", config, "--out", folder / "run", "--json", "--tensorboard", cwd=folder)
    assert done.returncode == 0, done.stderr
    return Trained(data, config, folder / "run", json.loads(done.stdout.splitlines()[-1]))


def test_training_leaves_what_it_promises(trained: Trained):
    names = {path.name for path in trained.run.iterdir()}
    assert names == {
        ".lock", "README.md", "checkpoints", "config.json", "log.txt", "metrics.jsonl", "model.safetensors", "plots",
        "predictions.csv", "report.html", "run.json", "skipped.csv", "split.csv", "tensorboard",
    }  # fmt: skip
    assert {path.name for path in (trained.run / "plots").iterdir()} >= {
        "curves.png", "confusion.png", "confusion.csv", "train_samples.png", "attention_1.png",
    }  # fmt: skip
    assert list((trained.run / "tensorboard").iterdir())
    assert (trained.document["run"], trained.document["ended"]) == (str(trained.run), "finished")
    assert trained.document["test"]["accuracy"] > 0.8
    assert trained.document["measured_on"] == {"validation": 9, "test": 9}
    assert trained.document["unread"] == {"validation": 0, "test": 0}


def test_the_config_repeats_the_run(trained: Trained, tell: Tell, tmp_path: Path):
    short = tmp_path / "short.json"
    config = json.loads((trained.run / "config.json").read_text())
    short.write_text(json.dumps({**config, "epochs": 2.0}))
    first = tell("train", "--config", short, "--out", tmp_path / "a", "--json", "--workers", "0")
    again = tell("train", "--config", tmp_path / "a" / "config.json", "--out", tmp_path / "b", "--json", "--quiet")
    assert (first.code, again.code, again.err) == (0, 0, "")
    assert first.json["test"] == again.json["test"]
    for name in ("model.safetensors", "predictions.csv", "split.csv", "config.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_data_alone_is_enough(trained: Trained, tell: Tell, tmp_path: Path):
    done = tell(
        "train", "--data", trained.data, "--epochs", "1", "--model.num-latents", "4", "--out", tmp_path / "run",
        "--workers", "0",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert "Input     32 x 32 x 3 = 1,024 inputs of 37 channels; the files: 16 x 16 pixels (median)" in done.err
    assert "32 x 32 pixels: the files' shorter side is 16 (median)" in done.err
    assert "8 frequency bands an axis: a quarter of the side, the paper has 64 at 224 pixels" in done.err
    for replaced in ("48 latents", "need more passes", "of computing"):
        assert replaced not in done.err, "a reason for what was typed over"
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (config["recipe"], config["epochs"], config["model"]["num_latents"]) == ("automatic", 1, 4)
    for line in ("Finished  1 epoch;", "Test      ", "Report    ", f"Next      perceptio predict {tmp_path / 'run'} "):
        assert line in done.out
    assert "perceptio attend" in done.out


def test_each_stream_has_its_options_under_its_name(trained: Trained, tell: Tell, tmp_path: Path):
    done = tell(
        "train", "--config", trained.config, "--epochs", "1", "--image.encoding.num-bands", "5", "--image.size", "17",
        "13", "--streams.modality-channels", "7", "--out", tmp_path / "run", "--workers", "0", "--quiet",
    )  # fmt: skip
    assert done.code == 0, done.err
    before, after = (json.loads(path.read_text())["streams"] for path in (trained.config, tmp_path / "run/config.json"))
    image = before["by_name"]["image"]
    expected = {**image, "size": [17, 13], "encoding": {**image["encoding"], "num_bands": 5}}
    assert after == {**before, "modality_channels": 7, "by_name": {"image": expected}}
    assert expected["kind"] == "image"
    for option, message in (
        (("--image.sise", "3", "3"), "unknown option --image.sise; did you mean --image.size (height and width of"),
        (
            ("--image.crop-area", "0", "1"),
            "crop_area must be a lowest and a highest value above 0, at most 1: got (0.0",
        ),
        (("--streams.modality-channels", "0"), "modality_channels must be at least 1: got 0"),
        (("--image.drop-probability", "0.5"), "image.drop_probability needs another stream to fall back on"),
    ):
        told = tell("train", "--config", trained.config, *option)
        assert told.code == 2
        assert message in " ".join(told.err.split()), told.err


def test_source_options_act_on_what_the_choice_is_made_from(trained: Trained, tell: Tell, tmp_path: Path, monkeypatch):
    data = Path(shutil.copytree(trained.data, tmp_path / "pictures"))
    for path in sorted(data.rglob("*.png"))[:9]:
        path.write_bytes(path.read_bytes()[:30])
    surveyed = []
    monkeypatch.setattr(
        "perceptio.runs.data.open_source",
        lambda *given, **named: surveyed.append(given[0]) or open_source(*given, **named),
    )
    monkeypatch.chdir(tmp_path)
    done = tell(
        "train", "--quiet", "--data", "pictures", "--source.max-skipped", "0.5", "--epochs", "1", "--out", "run",
        "--workers", "0", "--model.num-latents", "4", "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert surveyed == [str(data)], "once, and by a path that means the same from every folder"
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (config["source"]["max_skipped"], config["data"]) == (0.5, str(data))
    monkeypatch.chdir(trained.run)
    assert tell("evaluate", tmp_path / "run", "--json").code == 0
    assert tell("train", "--resume", tmp_path / "run", "--epochs", "2", "--json").json["ended"] == "finished"


def test_evaluate_repeats_the_runs_own_result(trained: Trained, tell: Tell):
    told = tell("evaluate", trained.run, "--json", "--workers", "0")
    assert told.code == 0
    assert told.json["metrics"] == pytest.approx(trained.document["test"], rel=1e-6)
    assert (told.json["split"], told.json["samples"], told.json["classes"]) == ("test", 9, list(CLASSES))
    assert np.sum(told.json["confusion"]) == 9
    assert tell("evaluate", trained.run, "--split", "train", "--json").json["samples"] == 27


def test_evaluate_gives_the_model_only_the_streams_that_are_named(trained: Trained, tell: Tell):
    whole, named = (
        tell("evaluate", trained.run, "--json"),
        tell("evaluate", trained.run, "--streams", "image", "--json"),
    )
    assert (named.code, named.json) == (0, whole.json)
    told = tell("evaluate", trained.run, "--streams", "sound")
    assert (told.code, told.err) == (2, "error: the model has no stream 'sound'; it has image\n")


def test_evaluate_takes_other_labelled_data_by_class_name(trained: Trained, tell: Tell, tmp_path: Path):
    other = make_picture_folder(tmp_path / "other", per_class=5, seed=7)
    shutil.rmtree(other / "disc")
    told = tell("evaluate", trained.run, "--data", other, "--json")
    assert told.json["samples"] == 10
    assert told.json["confusion"][0] == [0, 0, 0], "no disc was there, and columns keep their classes"
    text = tell("evaluate", trained.run, "--data", other)
    assert "confusion (rows: true class, columns: predicted)" in text.out
    assert f" of 10 samples, all of {other}, were classified correctly" in text.out
    assert (told.json["trained_on"], text.err) == (0, f"note: {other} has no sample of disc, which the model knows\n")
    (other / "frame").rename(other / "window")
    refused = tell("evaluate", trained.run, "--data", other)
    assert refused.code == 2
    assert "has the class 'window', which the model does not know (1 such classes). It knows: disc, frame, stripes" in (
        refused.err
    )


def test_evaluate_says_which_samples_it_was_trained_on(trained: Trained, tell: Tell):
    told = tell("evaluate", trained.run, "--data", trained.data)
    assert told.err == (
        "note: the model was trained on 27 of these samples, which flatter it; without --data it is measured on its "
        "test samples\n"
    )
    part = tell("evaluate", trained.run, "--data", trained.data, "--json").json
    assert (part["samples"] > 27, part["trained_on"]) == (True, 27)
    assert tell("evaluate", trained.run, "--json").json["trained_on"] == 0


@pytest.fixture
def moved(trained: Trained, tmp_path: Path) -> tuple[Path, list[str]]:
    """A copy of the run whose data lies elsewhere and may be changed; and the names of its test files."""
    data = shutil.copytree(trained.data, tmp_path / "copy")
    run = Path(shutil.copytree(trained.run, tmp_path / "copied-run"))
    config = tiny_config(Path(data), epochs=16.0)
    model, facts = read_model(run / "model.safetensors")
    write_model(run / "model.safetensors", model.state_dict(), replace(facts, config=config))
    with (run / "split.csv").open(newline="") as file:
        return run, [row["file"] for row in csv.DictReader(file) if row["split"] == "test"]


def test_evaluate_names_files_that_are_gone_or_broken(moved: tuple[Path, list[str]], tell: Tell):
    run, files = moved
    data = run.parent / "copy"
    (data / files[0]).unlink()
    (data / files[1]).write_bytes(b"")
    told = tell("evaluate", run, "--json")
    assert (told.code, told.json["samples"]) == (3, 7)
    assert told.json["failed"] == [
        {"file": files[0], "error": "no longer there"},
        {"file": files[1], "error": "empty file (0 bytes)"},
    ]
    assert f"failed  {files[0]}: no longer there" in tell("evaluate", run).out
    whole = tell("evaluate", run, "--data", data, "--json")
    assert (whole.code, [entry["file"] for entry in whole.json["failed"]]) == (3, [files[1]])


def test_a_model_of_one_class_a_sample_is_not_measured_on_several(trained: Trained, tell: Tell, tmp_path: Path):
    make_picture_folder(tmp_path, per_class=1)
    table = tmp_path / "metadata.csv"
    table.write_text("file,labels\ndisc/00.png,disc\nframe/00.png,disc|frame\nstripes/00.png,stripes\n")
    told = tell("evaluate", trained.run, "--data", table)
    assert told.code == 2
    assert "this model gives one class a sample, but frame/00.png in " in told.err
    assert "has 2 labels (1 such samples). Remove them from the table." in told.err


def test_predict_gives_the_probabilities_of_evaluate(trained: Trained, tell: Tell):
    with (trained.run / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    told = tell("predict", trained.run, *(trained.data / row["file"] for row in rows), "--json")
    assert told.code == 0
    assert len(told.lines) == len(rows) == 9
    for row, answer in zip(rows, told.lines, strict=True):
        assert answer["file"] == str(trained.data / row["file"])
        assert (answer["label"], answer["error"]) == (row["predicted"], None)
        expected = {name: float(row[name]) for name in CLASSES}
        assert answer["probabilities"] == pytest.approx(expected, abs=1e-6)
        assert list(answer["probabilities"].values()) == sorted(answer["probabilities"].values(), reverse=True)


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """A folder of new pictures of other sizes and kinds, broken files among them."""
    folder = tmp_path / "new"
    folder.mkdir()
    random = np.random.default_rng(3)
    Image.fromarray(draw_picture("disc", random, 40)).save(folder / "a.jpg", quality=95)
    whole = (folder / "a.jpg").read_bytes()
    (folder / "b.jpg").write_bytes(whole[: len(whole) // 3])
    (folder / "c.png").write_bytes(b"")
    Image.fromarray(draw_picture("frame", random, 23)).convert("P").save(folder / "d.gif")
    (folder / "e.png").write_text("no picture")
    Image.fromarray(draw_picture("stripes", random, 64)).convert("L").save(folder / "f.png")
    return folder


def test_predict_survives_broken_files_and_labels_none_of_them(trained: Trained, tell: Tell, mixed: Path):
    told = tell("predict", trained.run, mixed, mixed / "nowhere.png", "--json")
    assert told.code == 3
    assert [Path(answer["file"]).name for answer in told.lines] == [
        "a.jpg", "b.jpg", "c.png", "d.gif", "e.png", "f.png", "nowhere.png",
    ]  # fmt: skip
    labels = {Path(answer["file"]).name: answer["label"] for answer in told.lines}
    assert {name for name, label in labels.items() if label is not None} == {"a.jpg", "d.gif", "f.png"}
    assert labels["a.jpg"] == "disc"
    for answer in told.lines:
        assert (answer["probabilities"] is None) == (answer["label"] is None) == (answer["error"] is not None)


def test_predict_as_text_has_one_line_a_file(trained: Trained, tell: Tell, mixed: Path):
    (mixed / "old").symlink_to(trained.data)
    told = tell("predict", trained.run, mixed, "--top", "2")
    assert told.err.count(f"note: linked folders in {mixed}/ are not followed: old\n") == 1
    lines = told.out.splitlines()
    assert (told.code, len(lines)) == (3, 6)
    assert lines[0].startswith(f"{mixed / 'a.jpg'}  disc ")
    assert lines[0].count("%") == 2
    assert lines[2] == f"{mixed / 'c.png'}  error  empty file (0 bytes)"


def test_predict_without_files_is_wrong_usage(trained: Trained, tell: Tell):
    told = tell("predict", trained.run)
    assert told.code == 2
    text = "predict needs at least one file or folder: perceptio predict RUN FILE .., or names with --files-from LIST"
    assert told.err == f"error: {text}\n"


def test_predict_reads_names_from_lists_and_writes_a_table(trained: Trained, tell: Tell, mixed: Path, monkeypatch):
    names = mixed.parent / "names.txt"
    names.write_text(f"{mixed / 'f.png'}\n\n{mixed / 'c.png'}\r\n")
    table = mixed.parent / "answers.csv"
    told = tell("predict", trained.run, mixed / "a.jpg", "--files-from", names, "--csv", table)
    assert told.code == 3
    assert [Path(line.split("  ")[0]).name for line in told.out.splitlines()] == ["a.jpg", "f.png", "c.png"]
    assert told.err == "2 predicted, 1 failed\n"
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["file", "label", "unsure", "missing", "error", *CLASSES]
    assert [(row["label"], row["error"]) for row in rows] == [
        ("disc", ""), (rows[1]["label"], ""), ("", "empty file (0 bytes)"),
    ]  # fmt: skip
    assert sum(float(rows[0][name]) for name in CLASSES) == pytest.approx(1, abs=1e-5)
    again = tell("predict", trained.run, mixed / "a.jpg", "--csv", table)
    assert (again.code, again.err) == (2, f"error: --csv {table} exists and is not written over; choose another name\n")
    monkeypatch.setattr("sys.stdin", io.StringIO(names.read_text()))
    assert [Path(line["file"]).name for line in tell("predict", trained.run, "--files-from", "-", "--json").lines] == [
        "f.png", "c.png",
    ]  # fmt: skip
    missing = tell("predict", trained.run, "--files-from", "nowhere.txt")
    assert (missing.code, missing.err) == (2, "error: cannot read the list nowhere.txt: No such file or directory\n")


def test_predict_takes_the_files_of_a_table_in_its_order(trained: Trained, tell: Tell, mixed: Path):
    table = mixed / "some.csv"
    table.write_text("weight,file\n1,c.png\n2,a.jpg\n")
    told = tell("predict", trained.run, table, "--json")
    assert [(Path(line["file"]).name, bool(line["error"])) for line in told.lines] == [
        ("c.png", True),
        ("a.jpg", False),
    ]
    table.write_text("weight,path_to\n1,f.png\n")
    told = tell("predict", trained.run, table)
    assert (told.code, "some.csv: no column says the file; it must be called file or path" in told.err) == (4, True)
    table.write_text("image,audio\nc.png,c.wav\n")
    told = tell("predict", trained.run, table)
    assert told.err.startswith("error: the model has no column 'image'; it takes one file a sample\n")


def test_unsure_answers_are_marked(trained: Trained, tell: Tell, mixed: Path, tmp_path: Path):
    """The trained model is right too often to have learned a threshold; here it has one that all or none fall below."""
    model, facts = read_model(trained.run / "model.safetensors")
    for threshold, unsure in ((1.0, True), (0.1, False)):
        write_model(tmp_path / "model.safetensors", model.state_dict(), replace(facts, unsure_at=threshold))
        told = tell("predict", tmp_path, mixed / "a.jpg", mixed / "c.png", "--json")
        assert [line["unsure"] for line in told.lines] == [unsure, False]
        assert tell("predict", tmp_path, mixed / "a.jpg").out.rstrip().endswith("   unsure") == unsure


def test_what_was_told_is_logged_and_what_was_chosen_is_recorded(trained: Trained):
    log = (trained.run / "log.txt").read_text()
    assert "\x1b" not in log
    assert "epoch 16/16 train_loss" in log
    for label in ("perceptio ", "Data ", "Split ", "Input ", "Recipe ", "Plan ", "Check ", "Run ", "Test ", "Report "):
        assert f"\n{label}" in f"\n{log}", label
    facts = json.loads((trained.run / "run.json").read_text())
    assert facts["seed"] == 0
    assert facts["versions"]["perceptio"] == __version__
    assert facts["command"].startswith("perceptio train --config")
    assert len(facts["data"]["fingerprint"]) == 32
    assert facts["data"]["counts"]["train"] == dict.fromkeys(CLASSES, 9)
    assert set(facts) >= {"revision", "machine", "created", "choices", "workers", "time_budget_seconds"}


def test_a_dry_run_goes_as_far_as_a_batch_and_leaves_nothing(trained: Trained, tell: Tell, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = tell("train", "--data", trained.data, "--dry-run", "--workers", "0")
    assert (told.code, told.out) == (0, "")
    assert "Check     a batch of " in told.err
    assert told.err.endswith("Dry run   nothing was trained, and nothing is left behind\n")
    assert not list(tmp_path.iterdir())


def test_a_time_is_kept_and_its_plan_recorded(trained: Trained, tell: Tell, tmp_path: Path):
    run = tmp_path / "run"
    began = time.monotonic()
    told = tell("train", "--config", trained.config, "--time", "32s", "--out", run, "--workers", "0", "--json")
    assert told.code == 0, told.err
    assert told.json["ended"] in ("finished", "time")
    assert "as many epochs as fit into --time 0:32" in told.out
    assert told.json["test"]["accuracy"] > 0.2
    assert time.monotonic() - began < 60, "an order of magnitude, whatever else this machine does"
    assert json.loads((run / "config.json").read_text())["epochs"] != 16.0


def test_info_looks_at_data_and_writes_nothing(trained: Trained, tell: Tell, tmp_path: Path, monkeypatch):
    data = Path(shutil.copytree(trained.data, tmp_path / "pictures"))
    for path in sorted(data.rglob("*.png"))[:5]:
        path.write_bytes(path.read_bytes()[:30])
    shutil.copy(data / "frame" / "01.png", data / "frame" / "copy.png")
    for label in ("frame", "stripes"):
        shutil.copy(data / label / "02.png", data / "disc" / f"from-{label}.png")
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.chdir(tmp_path)
    told = tell("info", "pictures")
    assert told.code == 4
    for text in (
        "3 classes from folder names: disc 12, frame 16, stripes 15",
        "48 samples decoded",
        ": 43 used, 3 of them exact copies, kept on one side of the split, 5 skipped",
        "warning: equal files bear different labels, some of them wrong: disc/from-frame.png (disc) = frame/02.png "
        "(frame); disc/from-stripes.png (disc) = stripes/02.png (stripes)\n",
        "Labels    disc/from-frame.png (disc) = frame/02.png (frame)\n",
        "Copies    frame/01.png, frame/copy.png",
        "Skipped   5 of 48, 10.4 %",
        "the files: 16 x 16 pixels (median)",
        "Refused   5 of 48 files in ",
    ):
        assert text in told.out, told.out
    assert sorted(tmp_path.rglob("*")) == before
    (data / "disc" / "00.png").unlink()
    whole = tell("info", "pictures", "--json")
    assert (whole.code, whole.json["classes"], whole.json["refused"]) == (
        0,
        {"disc": 12, "frame": 16, "stripes": 15},
        None,
    )
    assert whole.json["mislabelled"][0] == {"disc/from-frame.png": ["disc"], "frame/02.png": ["frame"]}
    assert [entry["file"] for entry in whole.json["skipped"]] == [f"disc/0{number}.png" for number in range(1, 5)]
    assert whole.json["config"]["recipe"] == "automatic"
    for path in sorted((data / "stripes").iterdir())[3:]:
        path.unlink()
    assert "Small     classes with fewer than 10 samples: stripes 3" in tell("info", "pictures").out
    for path in data.rglob("*.png"):
        path.write_bytes(b"")
    bad = tell("info", "pictures")
    assert bad.code == 4
    assert "3 classes from folder names: disc 0, frame 0, stripes 0" in bad.out
    assert "cannot be used: 100%, the limit is 10% (--source.max-skipped)" in bad.out
    assert "empty file (0 bytes)" in bad.out


def test_classes_of_a_table_are_said_to_be_the_tables(trained: Trained, tell: Tell, tmp_path: Path, monkeypatch):
    """Also where its first file lies in a folder that happens to bear its class's name."""
    shutil.copytree(trained.data, tmp_path / "pictures")
    monkeypatch.chdir(tmp_path)
    names = sorted(path.relative_to(tmp_path).as_posix() for path in (tmp_path / "pictures").glob("*/*.png"))
    rows = [f"{name},{'disc' if number % 2 == 0 else 'other'}" for number, name in enumerate(names)]
    (tmp_path / "table.csv").write_text("\n".join(["file,label", *rows]))
    assert "2 classes from the table: disc " in tell("info", "table.csv").out


def test_info_says_what_two_runs_have_otherwise(trained: Trained, tell: Tell, tmp_path: Path):
    other = Path(
        shutil.copytree(trained.run, tmp_path / "other", ignore=shutil.ignore_patterns("plots", "checkpoints"))
    )
    same = tell("info", other, "--diff", trained.run)
    assert same.out == f"{trained.run} -> {other}\nno difference\n"
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, "learning_rate": 0.5}))
    split = (other / "split.csv").read_text()
    (other / "split.csv").write_text(split.replace("disc/00.png,", "disc/zz.png,"))
    facts = json.loads((other / "run.json").read_text())
    facts["versions"]["torch"] = "1.0"
    threads, loss = facts["surroundings"]["threads"], facts["test"]["loss"]
    facts["surroundings"]["threads"] = threads + 1
    facts["test"]["loss"] = loss + 1e-12
    facts["resumed"] = ["bit for bit", "not bit-exact"]
    (other / "run.json").write_text(json.dumps(facts))
    told = tell("info", other, "--diff", trained.run)
    assert "config       learning_rate: 0.003 -> 0.5" in told.out
    assert "facts        resumed: none -> bit for bit; not bit-exact" in told.out
    assert f"surroundings threads: {threads} -> {threads + 1}" in told.out
    assert "versions     torch: " in told.out
    assert "files        disc/00.png: disc, " in told.out
    assert "files        disc/zz.png: none -> disc, " in told.out
    assert f"result       loss: {loss} -> {loss + 1e-12}" in told.out, "all digits where six are the same"
    document = tell("info", other, "--diff", trained.run, "--json").json
    assert document["config"] == {"learning_rate": [0.003, 0.5]}
    assert set(document["files"]) == {"disc/00.png", "disc/zz.png"}
    assert set(document["result"]) == {"loss"}
    assert set(document["surroundings"]) == {"threads"}
    assert tell("info", other, "--diff", tmp_path).code == 2


def test_a_longer_run_says_what_its_schedule_does(trained: Trained, tell: Tell, tmp_path: Path):
    run = Path(shutil.copytree(trained.run, tmp_path / "longer"))
    told = tell("train", "--resume", run, "--epochs", "17", "--workers", "0")
    assert told.code == 0, told.err
    assert "cosine over 17 epochs instead of 16: at epoch 16 the learning rate is " in told.err
    assert told.out.startswith("Finished  17 epochs; the weights of epoch ")


def test_evaluate_names_a_class_that_is_missing(trained: Trained, tell: Tell, tmp_path: Path):
    other = make_picture_folder(tmp_path / "other", per_class=2, seed=7)
    shutil.rmtree(other / "disc")
    assert tell("evaluate", trained.run, "--data", other).err == (
        f"note: {other} has no sample of disc, which the model knows\n"
    )


def test_completion_works_in_bash(tell: Tell, tmp_path: Path):
    script = tmp_path / "perceptio.bash"
    script.write_text(tell("completion", "bash").out)
    for line, wanted in (
        (["perceptio", "tr"], ["train"]),
        (["perceptio", "train", "--device", ""], ["auto", "cpu", "cuda"]),
        (["perceptio", "train", "--epo"], ["--epochs"]),
        (["perceptio", "train", "--image.si"], ["--image.size"]),
        (["perceptio", "train", "fashion-s"], ["fashion-sample"]),
        (["perceptio", "predict", "--to"], ["--top"]),
        (["perceptio", "completion", ""], ["bash", "zsh", "fish"]),
        (["perceptio", "data", "ch"], ["check"]),
        (["perceptio", "data", "check", "--"], ["--full", "--quiet", "--json", "--help", "--debug"]),
        (["perceptio", "data", "check", "--sh"], []),
        (["perceptio", "data", "pack", "--sh"], ["--shard-bytes"]),
        (["perceptio", "data", "pack", "--fu"], []),
        (["perceptio", "data", "pack", "a", "b", "--split.by", ""], ["file", "folder", "group"]),
    ):
        words = " ".join(f"'{word}'" for word in line)
        code = f"source {script}; COMP_WORDS=({words}); COMP_CWORD={len(line) - 1}; _perceptio; echo ${{COMPREPLY[@]}}"
        done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, timeout=30, check=True)
        assert (done.stdout.split(), done.stderr) == (wanted, ""), line
    zsh, fish = tell("completion", "zsh").out, tell("completion", "fish").out
    assert "compdef _perceptio perceptio" in zsh
    (check,) = re.findall(r"'data check'\) options=\((.*)\) ;;", zsh)
    assert ("--full:" in check, "--shard-bytes:" in check) == (True, False)
    assert "-l image.size" in fish
    checking = "complete -c perceptio -n '__fish_seen_subcommand_from data; and __fish_seen_subcommand_from check' -l "
    assert (f"{checking}full " in fish, f"{checking}shard-bytes " in fish) == (True, False)


def test_the_weights_file_alone_predicts(trained: Trained, tell: Tell, mixed: Path, tmp_path: Path):
    alone = Path(shutil.copy(trained.run / "model.safetensors", tmp_path / "moved.safetensors"))
    assert tell("predict", alone, mixed, "--json").out == tell("predict", trained.run, mixed, "--json").out
    told = tell("evaluate", alone)
    assert told.code == 2
    assert "has no split.csv beside it: say which labelled data to use with --data" in told.err


def test_attend_draws_and_saves(trained: Trained, tell: Tell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    file = trained.data / "disc" / "00.png"
    assert tell("attend", trained.run, file) == (0, "00-attention.png\n", "")
    with Image.open(tmp_path / "00-attention.png") as drawn:
        assert drawn.width > 100
    chosen = ("attend", trained.run, file, "--latents", "0", "4", "--cross-attends", "1", "2")
    assert tell(*chosen, "--npz", "maps.npz", "--out", "plain.png").out == "plain.png\nmaps.npz\n"
    assert tell(*chosen, "--overlay", "--out", "over.png").code == 0
    assert (tmp_path / "over.png").read_bytes() != (tmp_path / "plain.png").read_bytes()
    assert tell(*chosen, "--softmax", "--npz", "soft.npz", "--out", "soft.png").code == 0
    with np.load(tmp_path / "maps.npz") as plain, np.load(tmp_path / "soft.npz") as soft:
        scores = plain["scores"]
        assert scores.shape == (2, 2, 16, 16)
        # The softmax of the scores is what --softmax gives: there is one head, so the mean over heads is no mean.
        exponents = np.exp(scores - scores.max(axis=(2, 3), keepdims=True))
        expected = exponents / exponents.sum(axis=(2, 3), keepdims=True)
        np.testing.assert_allclose(soft["scores"], expected, rtol=1e-4, atol=1e-7)


def test_attend_as_json_says_what_was_drawn(trained: Trained, tell: Tell, tmp_path: Path):
    file, out = trained.data / "disc" / "00.png", tmp_path / "a.png"
    told = tell("attend", trained.run, file, "--latents", "0", "4", "--out", out, "--json")
    assert (told.code, told.err) == (0, "")
    assert told.json == {
        "file": str(file), "out": [str(out)], "movie": [], "npz": [],
        "latents": [0, 4], "cross_attends": [1, 2], "softmax": False,
    }  # fmt: skip
    assert out.exists()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("--latents", "5"), "there is no latent 5: this model has 5, counted from 0"),
        (("--cross-attends", "3"), "there is no cross-attend 3: this model has 2, counted from 1"),
        (("--cross-attends", "0"), "there is no cross-attend 0: this model has 2, counted from 1"),
        (("--movie", "a.mp4"), "nothing in 00.png moves, so that there is nothing to film; leave the .mp4 away"),
        (("--out", "a.mp4"), "nothing in 00.png moves, so that there is nothing to film; leave the .mp4 away"),
        (("--out", "a.txt"), "attention is saved as .png, .npz or .mp4, got 'a.txt'"),
        (("--npz", "a.png"), "attention is saved as .npz here, got 'a.png'"),
        (("--movie", "a"), "attention is saved as .mp4 here, got 'a'"),
    ],
)
def test_attend_names_what_the_model_does_not_have(
    trained: Trained, tell: Tell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option, message: str
):
    monkeypatch.chdir(tmp_path)
    told = tell("attend", trained.run, trained.data / "disc" / "00.png", *option)
    assert (told.code, told.err) == (2, f"error: {message}\n")
    assert not list(tmp_path.iterdir()), "nothing was written"


def test_attend_writes_over_no_file_that_it_reads(trained: Trained, tell: Tell, tmp_path: Path, monkeypatch):
    picture = Path(shutil.copy(trained.data / "disc" / "00.png", tmp_path / "cat.png"))
    (tmp_path / "link.png").symlink_to(picture)
    (tmp_path / "one.csv").write_text("file\ncat.png\n")
    monkeypatch.chdir(tmp_path)
    before = picture.read_bytes()
    for asked, out in (("cat.png", "cat.png"), ("cat.png", "link.png"), ("link.png", picture), ("one.csv", "cat.png")):
        told = tell("attend", trained.run, asked, "--npz", "a.npz", "--out", out)
        assert (told.code, told.out) == (2, "")
        assert told.err == f"error: {out} is a file that attention is shown of; write to another one\n"
    assert (picture.read_bytes(), (tmp_path / "a.npz").exists()) == (before, False)
    assert tell("attend", trained.run, "cat.png", "--out", "maps.npz").out == "maps.npz\n"
    with np.load(tmp_path / "maps.npz") as saved:
        assert saved["scores"].ndim == 4


def test_attend_names_a_broken_file(trained: Trained, tell: Tell, mixed: Path):
    told = tell("attend", trained.run, mixed / "c.png")
    assert (told.code, told.err) == (3, f"error: {mixed / 'c.png'}: empty file (0 bytes)\n")


def test_recipes_lists_all(tell: Tell):
    assert list(tell("recipes", "--json").json) == list(RECIPES)
    text = tell("recipes")
    assert text.code == 0
    assert [line.split()[0] for line in text.out.splitlines()] == list(RECIPES)


def test_info_of_a_recipe_has_the_papers_numbers(tell: Tell):
    document = tell("info", "imagenet", "--json").json
    assert (document["num_tokens"], document["input_channels"]) == (50_176, 261)
    assert document["num_parameters"] == 44_912_254
    assert document["config"]["training"]["schedule"]["decay_epochs"] == [84.0, 102.0, 114.0]
    text = tell("info", "imagenet").out
    assert "224 x 224 x 3 = 50,176 inputs of 261 channels" in text
    assert "44,912,254 parameters with 1000 classes" in text


def test_info_of_a_run_has_its_data_and_result(trained: Trained, tell: Tell):
    document = tell("info", trained.run, "--json").json
    assert document["run"]["test"] == trained.document["test"]
    assert document["num_classes"] == 3
    assert document["run"]["num_parameters"] == document["num_parameters"]
    assert f"accuracy {trained.document['test']['accuracy']:.4f}" in tell("info", trained.run).out


@pytest.mark.parametrize("content", [None, "{}", '{"command": "x", "data": {}', '{"data": {"source": "d"}}', "[]"])
def test_info_gives_what_there_is(trained: Trained, tell: Tell, tmp_path: Path, content: str | None):
    shutil.copy(trained.run / "config.json", tmp_path)
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    text, document = tell("info", tmp_path), tell("info", tmp_path, "--json")
    assert (text.code, document.code) == (0, 0)
    assert "16 x 16 x 3 = 256 inputs of 17 channels" in text.out
    assert "unknown: neither run.json nor model.safetensors says how many classes" in text.out
    assert (document.json["num_classes"], document.json["num_parameters"]) == (None, None)
    shutil.copy(trained.run / "model.safetensors", tmp_path)
    assert tell("info", tmp_path, "--json").json["num_classes"] == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("trian",), r"unknown command 'trian'. Nearest: train"),
        (("train", "imagnet"), r"unknown recipe 'imagnet'. Nearest: imagenet"),
        (
            ("info", "fashon-sample"),
            r"unknown recipe 'fashon-sample', and no run and no data lies there. Nearest: fashion-",
        ),
        (("train", "fashion-sample", "--epocs", "3"), r"--epochs"),
        (("train", "fashion-sample", "--model.num-latent", "3"), r"--model.num-latents"),
        (("evaluate", "nowhere"), r"no model file nowhere"),
        (("predict", "nowhere", "a.png"), r"no model file nowhere"),
        (("train", "--resume", "nowhere"), r"nowhere is no run folder: it has no config.json"),
        (("train", "--config", "nowhere.json"), r"cannot read the config nowhere.json: No such file or directory"),
        (("train",), r"--data is missing: a folder with one sub-folder a class, or a CSV, JSONL or Parquet table"),
        (("train", "imagenet"), r"--data is missing"),
        (
            ("attend", "run", "a.png", "b.png"),
            r"unexpected word 'b.png' for perceptio attend: it takes RUN FILE; --help says more",
        ),
        (
            ("train", "imagenet", "--config", "c.json"),
            r"choose one of RECIPE, --config and --resume: each says which config the run has",
        ),
        (("train", "--resume", "r", "--out", "o"), r"--out has no effect with --resume; remove it"),
        (("train", "fashion-sample", "--device", "tpu"), r"--device must be one of auto, cpu, cuda: got 'tpu'"),
        (("train", "fashion-sample", "--batch-size", "0"), r"batch_size must be finite and greater than 0, got 0"),
        (("train", "--quiet", "fashon-sample"), r"unknown recipe 'fashon-sample'. Nearest: fashion-sample"),
        (("train", "--json", "--no-tensorboard", "imagenet"), r"--data is missing"),
        (
            ("train", "fashion-sample", "--recipe", "mine"),
            r"unknown option --recipe; did you mean --resume (run folder to go on with)",
        ),
        (("train", "fashion-sample", "--model.num-self-attend-heads", "0"), r"must be at least 1, got 0"),
        (
            ("train", "fashion-sample", "--model.num-cross-attend-heads", "7"),
            r"must divide model.qk_channels: got 7 and 64. Use 1 head, or set model.qk_channels=70",
        ),
        (("train", "fashion-sample", "--training.num-micro-batches", "3"), r"must divide batch_size: got 3 and 32"),
        (
            ("train", "--source.format", "smple"),
            r"--source.format must be one of auto, folder, manifest, idx, audioset, shards, sample: got 'smple'",
        ),
        (
            ("evaluate", "r", "--data", "d", "--split", "test"),
            "--split has no effect with --data, which is used whole; remove one of them",
        ),
        (("predict", "r", "-"), "- is no file; to read names from standard input, use --files-from -"),
        (("predict", "r", "a", "--top", "0"), "--top must be at least 1: got 0"),
        (
            ("predict", "r", "a", "--top", "1", "--json"),
            "--top has no effect with --json, which gives every class; remove one of them",
        ),
        (
            ("train", "fashion-sample", "--time", "30m", "--epochs", "3"),
            "--time and --epochs both say how long the run is; keep one of them",
        ),
        (("train", "."), "error: . is no recipe but lies here; did you mean --data . ?"),
        (("recipes", "imagenet"), "perceptio recipes lists them all; one is shown by: perceptio info imagenet"),
        (("train", "--resume", "r", "more"), "unexpected word 'more': --resume takes a run folder alone"),
        (
            ("train", "--resume", "r", "--batch-size", "3"),
            "--batch-size has no effect with --resume; remove it: a run goes on as it began, and only --epochs, "
            "--time, --device, --workers and --threads may change",
        ),
        (("train", "--resume", "r", "--epoch", "3"), "unknown option --epoch; did you mean --epochs (passes over"),
        (
            ("train", "fashion-sample", "--dry-run", "--out", "o"),
            "--out has no effect with --dry-run, which leaves nothing behind; remove it",
        ),
        (
            ("train", "fashion-sample", "--dry-run", "--time", "9m", "--sharding", "full"),
            "--time needs a trial batch, which --sharding full rules out; use --epochs",
        ),
        (
            ("train", "fashion-sample", "--sharding", "full"),
            "--sharding full has no effect in one process; remove it, or start several with torchrun",
        ),
        (("train", "fashion-sample", "--step", "3"), "--step has no effect without --resume; remove it"),
        (
            ("train", "fashion-sample", "--accept-changes"),
            "--accept-changes has no effect without --resume; remove it",
        ),
        (("data", "pack", "a"), "OUT is missing: perceptio data pack DATA OUT; --help says more"),
        (("data", "check", "a", "--ful"), "unknown option --ful; did you mean --full (decode every file and compare"),
        (
            ("data", "pack", "a", "b", "--shard-bytes", "5 miles"),
            "--shard-bytes must be a number of bytes, or one such",
        ),
        (("train", "--data", "nowhere", "--epocs", "3"), "unknown option --epocs; did you mean --epochs"),
        (
            ("train", "--data", "nowhere", "--epochs", "1", "fashion-mnits"),
            "unknown recipe 'fashion-mnits'. Nearest: fashion-mnist, fashion-sample. All: perceptio recipes",
        ),
        (("train", "--quiet", "imagenet", "--data", "x", "modelnet40"), "unexpected word 'modelnet40'"),
        (("train", "--data", "x", "--source.remember", "imagenet"), "the recipe comes first: perceptio train imagenet"),
        (
            ("train", "--source.remember", "false"),
            "--source.remember takes no value: got 'false'; --no-source.remember",
        ),
        (("info", "./nowhere"), "no folder nowhere/ here"),
        (("completion", "tcsh"), "bash|zsh|fish must be one of bash, zsh, fish: got 'tcsh'"),
        (("train", "fashion-sample", "--split.test", "1.5"), r"split.test must be at least 0 and below 1: got 1.5"),
    ],
)
def test_wrong_usage_is_answered_with_the_way_out(tell: Tell, tmp_path: Path, monkeypatch, arguments, message: str):
    monkeypatch.chdir(tmp_path)
    told = tell(*arguments)
    assert (told.code, told.out) == (2, "")
    assert message in " ".join(told.err.split()), told.err
    assert not list(tmp_path.iterdir()), "nothing was begun"


def test_a_gpu_that_is_not_there_is_said(tell: Tell, tmp_path: Path):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    told = tell("train", "fashion-sample", "--device", "cuda", "--out", tmp_path / "run")
    assert told.code == 2
    assert "--device cuda, but PyTorch finds no GPU here. Use --device cpu, or leave it away." in told.err


def test_a_run_without_a_number_says_so(tell: Tell, tmp_path: Path, monkeypatch):
    ending = (("Test", "no test result"), ("Report", "report.html"))
    result = RunResult(folder=tmp_path / "run", ended="finished", best_epoch=None, test={}, ending=ending)
    monkeypatch.setattr("perceptio.runs.train.train_run", lambda *given, **options: result)
    told = tell("train", "fashion-sample")
    assert (told.code, told.out) == (0, "Test      no test result\nReport    report.html\n")
    assert tell("train", "fashion-sample", "--json").json["best_epoch"] is None


def test_a_mistake_of_ours_is_one_line_and_the_cursor_comes_back(tell: Tell, monkeypatch):
    closed = []

    def fail(*given: Any, **options: Any) -> None:
        raise IndexError("list index\nout of range")

    monkeypatch.setattr("perceptio.runs.train.train_run", fail)
    monkeypatch.setattr("perceptio.screens.choice.PlainScreen.close", lambda screen: closed.append(screen))
    told = tell("train", "fashion-sample")
    line = "error: unexpected: IndexError: list index out of range; --debug shows where\n"
    assert (told.code, told.out, told.err) == (1, "", line)
    assert len(closed) == 1
    shown = tell("--debug", "train", "fashion-sample")
    assert shown.code == 1
    assert "Traceback" in shown.err
    assert "in fail" in shown.err


def test_the_command_is_recorded(tell: Tell, monkeypatch):
    seen = []

    def remember(config: Any, options: Any, **given: Any) -> RunResult:
        seen.append(options.command)
        return RunResult(folder=Path("run"), ended="finished", best_epoch=None, test={})

    monkeypatch.setattr("perceptio.runs.train.train_run", remember)
    monkeypatch.setattr("sys.argv", ["/usr/bin/perceptio", "train", "fashion-sample", "--out", "a b"])
    assert tell("train", "fashion-sample").code == 0
    assert seen == ["perceptio train fashion-sample --out 'a b'"]


def test_a_folder_that_cannot_be_made_is_said(tell: Tell):
    told = tell("train", "fashion-sample", "--out", "/proc/xx", "--quiet")
    assert told.code == 1
    assert re.fullmatch(r"error: .*: /proc/xx\n", told.err)


def test_a_folder_in_use_is_not_written_to(trained: Trained, tell: Tell):
    told = tell("train", "--config", trained.config, "--out", trained.run)
    assert told.code == 2
    assert "exists and is not an empty folder; choose another, or leave --out away" in told.err


@pytest.mark.parametrize("broken", [4, 15])
def test_data_that_cannot_be_used_has_exit_code_4(tell: Tell, tmp_path: Path, broken: int):
    data = make_picture_folder(tmp_path / "pictures", per_class=5)
    for path in sorted(data.rglob("*.png"))[:broken]:
        path.write_bytes(path.read_bytes()[:30])
    told = tell("train", "--data", data, "--out", tmp_path / "run")
    assert told.code == 4
    assert f"{broken} of 15 files in {data} cannot be used: {broken / 15:.0%}, the limit is 10%" in told.err
    assert f"first: disc/00.png; all: perceptio info {data}" in told.err


def test_a_class_that_is_nowhere_trained_has_exit_code_4(tell: Tell, tmp_path: Path):
    data = tmp_path / "list"
    make_picture_folder(data, per_class=4)
    rows = [(path, path.parent.name, "train") for path in sorted(data.rglob("*.png"))]
    rows = [(path, label, "test" if label == "disc" else part) for path, label, part in rows]
    lines = [f"{path.relative_to(data)},{label},{part}" for path, label, part in rows]
    (data / "metadata.csv").write_text("\n".join(["file,label,split", *lines]) + "\n")
    told = tell("train", "--data", data, "--out", tmp_path / "run")
    assert told.code == 4
    way_out = "give it files that can be read, or take it out of the data"
    assert f"no training sample has the class 'disc' (1 such classes); {way_out}" in told.err


def test_a_table_with_several_labels_trains_a_multi_label_run(tell: Tell, tmp_path: Path):
    random = np.random.default_rng(5)
    lines = ["file,labels"]
    for number in range(40):
        left, right = random.choice(CLASSES, 2)
        picture = np.concatenate([draw_picture(left, random), draw_picture(right, random)], axis=1)
        Image.fromarray(picture).save(tmp_path / f"{number:02d}.png")
        lines.append(f"{number:02d}.png,{'|'.join(sorted({str(left), str(right)})) if number % 3 else ''}")
    (tmp_path / "pairs.csv").write_text("\n".join(lines) + "\n")
    config = tiny_config(tmp_path / "pairs.csv", epochs=2.0)
    (tmp_path / "config.json").write_text(dump(to_json(config)))
    run = tmp_path / "run"
    done = tell("train", "--config", tmp_path / "config.json", "--out", run, "--json", "--workers", "0")
    assert done.code == 0, done.err
    assert set(done.json["test"]) == {"loss", "map"}
    page = (run / "report.html").read_text()
    assert "mean average precision" in page.lower()
    with (run / "split.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    samples = Counter(row["split"] for row in rows)
    everything = " | ".join(str(samples[split]) for split in ("train", "validation", "test"))
    assert f"| all | {everything} |" in (run / "README.md").read_text()
    with (run / "predictions.csv").open(newline="") as file:
        labels = {row["file"]: row["labels"] for row in csv.DictReader(file)}
    assert labels == {row["file"]: row["labels"] for row in rows if row["split"] == "test"}
    attended = re.findall(r"What latents attend to in (\d+\.png) \((.*?)\)\.", page)
    assert (
        {name for name, shown in attended if shown == "no label"}
        == {name for name, _ in attended if labels[name] == "[]"}
        != set()
    )
    told = tell("evaluate", run, "--json")
    assert told.json["confusion"] is None
    assert told.json["metrics"] == pytest.approx(done.json["test"], rel=1e-6)
    found = [row["average_precision"] for row in told.json["per_class"] if row["count"]]
    assert np.mean(found) == pytest.approx(done.json["test"]["map"])
    assert "average precision of " in tell("evaluate", run).out
    answer = tell("predict", run, tmp_path / "00.png", "--json").json
    assert set(answer["probabilities"]) == set(CLASSES)
    assert tell("predict", run, tmp_path / "00.png").code == 0


def test_help_may_be_a_command(tell: Tell):
    assert tell("help") == tell("--help")
    assert tell("help", "train") == tell("train", "--help")
    assert tell("help", "trian").code == 2


def test_help_is_given_for_every_command(tell: Tell):
    told = tell("--help")
    assert told.code == 0
    assert told.out.startswith("perceptio: the Perceiver")
    for name in COMMANDS:
        assert f"  {name} " in told.out
        for flag in ("-h", "--help"):
            one = tell(name, flag)
            assert (one.code, one.err) == (0, "")
            assert one.out.startswith(f"usage: perceptio {name}")
    assert tell().code == 2
    codes = (
        "exit codes: 0 done, 1 failed, 2 wrong usage, 3 some inputs failed, 4 data unusable, 130 interrupted, "
        "143 ended by SIGTERM"
    )
    assert codes in " ".join(HELP.split())


def test_all_fields_are_shown_with_their_meaning(tell: Tell):
    told = tell("train", "fashion-sample", "-H")
    assert told.code == 0
    for text in ("--model.num-latents", "Length of the latent array", "--training.optimizer.clip-norm"):
        assert text in told.out
    assert "--recipe" not in told.out


def test_version(tell: Tell):
    assert tell("--version").out == f"perceptio {__version__}\n"


def test_debug_shows_the_traceback(tell: Tell):
    told = tell("--debug", "evaluate", "nowhere")
    assert told.code == 2
    assert "Traceback" in told.err


HEAVY = ("torch", "tyro", "numpy", "PIL", "matplotlib", "accelerate", "jinja2", "pyarrow", "rich")


@pytest.mark.parametrize(
    "code",
    [
        "import perceptio",
        "from perceptio.cli.main import main; main(['--help'])",
        "from perceptio.cli.main import main; main(['train', '--help'])",
        "from perceptio.cli.main import main; main(['predict', '-h'])",
        "from perceptio.cli.main import main; main(['--version'])",
        "from perceptio.cli.main import main; main(['trian'])",
    ],
)
def test_help_and_import_load_nothing_heavy(code: str, tmp_path: Path):
    probe = f"import sys; {code}; print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    done = python("-c", probe, cwd=tmp_path)
    assert done.stderr.splitlines()[-1] == "[]", done.stderr


def test_the_model_loads_no_decoder_plots_or_command_line(tmp_path: Path):
    unwanted = ("PIL", "matplotlib", "tyro", "jinja2", "pyarrow", "triton", "gradio")
    probe = f"import sys, perceptio; perceptio.Perceiver; print([name for name in {unwanted!r} if name in sys.modules])"
    assert python("-c", probe, cwd=tmp_path).stdout == "[]\n"


def test_training_does_not_wait_for_what_only_sharding_needs(tmp_path: Path):
    unwanted = ("torch.distributed.fsdp", "torch.distributed.tensor", "matplotlib")
    probe = f"import sys, perceptio.runs.train; print([name for name in {unwanted!r} if name in sys.modules])"
    assert python("-c", probe, cwd=tmp_path).stdout == "[]\n"


@pytest.mark.slow
def test_a_second_ctrl_c_ends_at_once(trained: Trained, tmp_path: Path):
    """The first is sent at step 2, the second right after it: nothing more is saved."""
    run = tmp_path / "run"
    start = ("train", "--config", trained.config, "--out", run, "--workers", 0)
    done = disturbed(*start, cwd=tmp_path, stop_at=2, twice=True)
    assert done.returncode == 130, done.stderr
    assert done.stderr.endswith("interrupted\n")
    assert not list((run / "checkpoints").glob("step-*"))


@pytest.mark.slow
def test_sigterm_saves_and_stops_too(trained: Trained, tmp_path: Path):
    run = tmp_path / "run"
    start = ("train", "--config", trained.config, "--out", run, "--workers", 0)
    done = disturbed(*start, cwd=tmp_path, stop_at=2, signal_name="TERM")
    assert done.returncode == 143, done.stderr
    assert done.stdout == f"Stopped   saved; go on with: perceptio train --resume {run}\n"
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["step-000000002"]
    assert (run / "report.html").exists()
