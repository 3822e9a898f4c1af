import importlib
import json
import logging
import shutil
import socket
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from safetensors.torch import load_file

import perceptio
from perceptio.cli.main import main
from perceptio.errors import UsageError
from perceptio.json_values import finite
from perceptio.modalities.array import ArrayModality
from perceptio.modalities.streams import single_stream
from perceptio.runs.folder import RunFolder
from perceptio.runs.screen import SilentScreen
from support.configs import tiny_config
from support.pictures import CLASSES, make_picture_folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("api")
    data = make_picture_folder(folder / "pictures", per_class=10)
    return perceptio.train(tiny_config(), data=data, epochs=1, out=folder / "run", device="cpu", workers=0)


def pictures_of(run: perceptio.Run) -> list[Path]:
    return sorted((run.folder.parent / "pictures" / "disc").iterdir())[:3]


def test_every_name_is_there_and_no_other():
    for name in perceptio.__all__:
        assert getattr(perceptio, name) is not None
    assert set(dir(perceptio)) == set(perceptio.__all__)
    with pytest.raises(AttributeError, match="module 'perceptio' has no attribute 'trian'"):
        importlib.import_module("perceptio").trian  # noqa: B018


def test_training_returns_the_run(run):
    assert (run.ended, run.best_epoch) == ("finished", 1)
    assert set(run.test) >= {"loss", "accuracy"}
    assert (run.folder / "report.html").is_file()
    assert run.classes == CLASSES
    assert run.config.epochs == 1
    assert run.facts["suspects"] == 0
    assert eval(repr(run)).folder == run.folder


def test_the_same_object_evaluates_predicts_and_attends(run, tmp_path: Path):
    assert dict(run.evaluate().values) == pytest.approx(dict(run.test), rel=1e-6)
    other = run.evaluate(data=run.folder.parent / "pictures", workers=0)
    assert other.confusion.sum() == 30
    files = pictures_of(run)
    answers = list(run.predict(files))
    assert [answer.file for answer in answers] == [str(file) for file in files]
    assert all(answer.label in CLASSES for answer in answers)


def test_attention_is_saved_as_the_suffix_says(run, tmp_path: Path):
    attention = run.attend(pictures_of(run)[0], latents=(0, 3), cross_attends=(2,))
    (picture,) = attention.save(tmp_path / "maps.png")
    assert picture.read_bytes().startswith(b"\x89PNG")
    (over,) = attention.save(str(tmp_path / "over.png"), overlay=True)
    assert over.read_bytes() != picture.read_bytes()
    (numbers,) = attention.save(tmp_path / "maps.npz")
    with np.load(numbers) as saved:
        assert (saved["latents"].tolist(), saved["steps"].tolist()) == ([0, 3], [2])
    with pytest.raises(UsageError, match=r"attention is saved as \.png, \.npz or \.mp4, got 'maps\.jpg'"):
        attention.save("maps.jpg")
    with pytest.raises(UsageError, match=r"overlay has no effect on 'maps\.npz'; only a \.png has one"):
        attention.save("maps.npz", overlay=True)
    with pytest.raises(UsageError, match=r"\.png is a file that attention is shown of; write to another one$"):
        attention.save(pictures_of(run)[0])


def test_any_number_of_files_is_answered_one_after_the_other(run):
    file = pictures_of(run)[0]
    asked = 0

    def endless():
        nonlocal asked
        while True:
            asked += 1
            yield file

    answers = run.predict(endless(), device="cpu")
    assert next(answers).label in CLASSES
    assert asked < 200


def test_a_bare_model_file_is_a_run_too(run, tmp_path: Path):
    alone = shutil.copy(run.folder / "model.safetensors", tmp_path)
    bare = perceptio.load(alone)
    assert [answer.label for answer in bare.predict(pictures_of(run))] == [
        answer.label for answer in run.predict(pictures_of(run))
    ]
    assert (bare.folder, bare.test, bare.best_epoch, bare.ended) == (tmp_path, {}, None, None)
    assert bare.classes == CLASSES


def test_the_saved_config_repeats_the_run(run, tmp_path: Path):
    again = perceptio.train(run.folder / "config.json", out=tmp_path / "again", device="cpu", workers=0)
    assert dict(again.test) == dict(run.test)
    assert load_file(again.folder / "model.safetensors").keys() == load_file(run.folder / "model.safetensors").keys()
    for name, value in load_file(run.folder / "model.safetensors").items():
        assert value.equal(load_file(again.folder / "model.safetensors")[name]), name
    for name in ("split.csv", "predictions.csv", "skipped.csv", "config.json"):
        assert (again.folder / name).read_bytes() == (run.folder / name).read_bytes(), name


def test_a_finished_run_resumed_gives_the_same_result(run):
    before = dict(run.test)
    assert dict(perceptio.train(resume=run.folder).test) == before


def test_resume_takes_epochs_and_nothing_that_it_would_ignore(run, tmp_path: Path):
    ignored = {"config": "imagenet", "data": "photos", "batch_size": 3, "learning_rate": 0.1, "seed": 1, "out": "x"}
    for name, value in ignored.items():
        message = rf"^{name} has no effect with resume='.*', which goes on with its own; remove it$"
        with pytest.raises(UsageError, match=message):
            perceptio.train(resume=run.folder, **{name: value})
    for name, value in {"step": 3, "accept_changes": True}.items():
        with pytest.raises(UsageError, match=rf"^{name} has no effect without resume; remove it"):
            perceptio.train("fashion-sample", **{name: value})
    copied = Path(shutil.copytree(run.folder, tmp_path / "longer"))
    longer = perceptio.train(resume=copied, epochs=2.0)
    assert (longer.ended, longer.config.epochs, longer.best_epoch) == ("finished", 2.0, 2)


def test_typed_values_win_over_those_of_the_config(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """And data may be named from where one stands."""
    monkeypatch.chdir(run.folder.parent)
    made = perceptio.train(
        tiny_config(), data="pictures", epochs=1, batch_size=4, learning_rate=1e-4, seed=3, out=tmp_path / "run",
        device="cpu", workers=0,
    )  # fmt: skip
    config = RunFolder(made.folder).read_config()
    assert config.data == str(run.folder.parent / "pictures")
    assert (config.epochs, config.batch_size, config.learning_rate, config.seed) == (1, 4, 1e-4, 3)
    monkeypatch.chdir(tmp_path)
    assert dict(perceptio.load("run").evaluate().values) == pytest.approx(dict(made.test), rel=1e-6)


def test_what_suits_the_files_is_chosen_told_and_may_be_changed(run, tmp_path: Path):
    data = run.folder.parent / "pictures"
    chosen = perceptio.choose(data, device="cpu")
    assert (chosen.recipe, chosen.data) == ("automatic", str(data))

    class Listener(SilentScreen):
        facts: ClassVar[list[str]] = []

        def fact(self, label: str, text: str) -> None:
            self.facts.append(label)

    made = perceptio.train(data=data, epochs=1, out=tmp_path / "run", device="cpu", workers=0, screen=Listener())
    # Warm-up is a tenth of the epochs, patience a third and ten at least.
    schedule = replace(chosen.training.schedule, warmup_epochs=0.1)
    training = replace(chosen.training, patience_epochs=10.0, schedule=schedule)
    assert made.config == replace(chosen, epochs=1, training=training)
    assert "Recipe" in Listener.facts or "Model" in Listener.facts


def test_what_is_chosen_keeps_to_how_files_are_laid_out(tmp_path: Path):
    for number in range(20):
        folder = tmp_path / "maps" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / f"{number}.npy", np.full((6, 20), float(number)))
    places = single_stream(ArrayModality(channels_last=False))
    for streams, expected in ((None, ((6,), 20)), (places, ((6, 20), 1))):
        found = perceptio.choose(tmp_path / "maps", streams=streams, device="cpu").streams.by_name["array"]
        assert (found.axes, found.channels) == expected


def test_nothing_is_shown_and_nobody_is_called(
    run,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
):
    """No output, no log line, and no connection to anywhere: no telemetry, no version check, no download."""
    caplog.set_level(logging.DEBUG, logger="perceptio")
    called: list[object] = []

    def refuse(self: socket.socket, address: object) -> None:
        called.append(address)
        raise OSError("no network in this test")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *given, **named: called.append(given))
    made = perceptio.train(
        tiny_config(), data=run.folder.parent / "pictures", epochs=1, out=tmp_path / "run", device="cpu", workers=0
    )
    assert len(list(made.predict([*pictures_of(run), tmp_path / "none.png"]))) == 4
    made.evaluate(split="validation", workers=0)
    made.attend(pictures_of(run)[0]).save(tmp_path / "maps.png")
    perceptio.info("imagenet")
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")
    assert [record for record in caplog.records if record.name.startswith("perceptio")] == []
    assert called == []


def test_info_is_the_document_of_the_command(run, capfd: pytest.CaptureFixture[str]):
    for what in ("imagenet", run.folder):
        assert main(["info", str(what), "--json"]) == 0
        assert json.loads(capfd.readouterr().out) == json.loads(json.dumps(finite(perceptio.info(what))))
    assert perceptio.info("imagenet")["num_tokens"] == 50_176
    with pytest.raises(UsageError, match=r"unknown recipe 'imagnet'\. Nearest: imagenet"):
        perceptio.info("imagnet")


def test_a_model_that_is_not_there_is_said_at_the_call(tmp_path: Path):
    with pytest.raises(UsageError, match=r"no model file .*nowhere"):
        perceptio.load(tmp_path / "nowhere")
    with pytest.raises(UsageError, match=r"no model file .*nowhere"):
        perceptio.Run(tmp_path / "nowhere").predict([])


def test_one_file_and_one_name_are_one(run):
    file = pictures_of(run)[0]
    (expected,) = run.predict([file])
    for one in (file, str(file), {"": file}):
        assert [(answer.label, answer.probabilities) for answer in run.predict(one)] == [
            (expected.label, expected.probabilities)
        ]
    assert dict(run.evaluate(streams="image").values) == dict(run.evaluate().values)


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": np.int64(3)}, r"^seed must be of type int, got np.int64\(3\)$"),
        ({"batch_size": 8.0}, r"^batch_size must be of type int, got 8.0$"),
        ({"data": Path("x")}, r"^data must be of type str, got .*Path\('x'\)$"),
    ],
)
def test_a_config_that_could_not_be_saved_is_refused_before_it_is_trained(changes, message: str, tmp_path: Path):
    with pytest.raises(UsageError, match=message):
        perceptio.train(replace(tiny_config(), **changes), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize("device", ["gpu", "cuda:1", "CPU"])
def test_an_unknown_device_is_refused(run, device: str):
    with pytest.raises(UsageError, match=rf"^device must be one of auto, cpu, cuda: got '{device}'$"):
        run.predict([], device=device)


def test_a_split_is_of_the_runs_own_samples(run):
    with pytest.raises(
        UsageError, match=r"^--split has no effect with --data, which is used whole; remove one of them$"
    ):
        run.evaluate(data="pictures", split="train")


def test_recipes_are_found_by_name():
    assert perceptio.recipe("imagenet").epochs == 120
    with pytest.raises(UsageError, match="unknown recipe 'imagnet'"):
        perceptio.train("imagnet")


def test_nothing_given_says_what_is_missing():
    with pytest.raises(UsageError, match="--data is missing"):
        perceptio.train()


def test_a_time_and_epochs_contradict_each_other():
    with pytest.raises(UsageError, match=r"^time and epochs both say how long the run is; keep one of them$"):
        perceptio.train("fashion-sample", time=60.0, epochs=3)


def test_shards_are_packed_and_checked_in_silence(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    data, out = make_picture_folder(tmp_path / "pictures", per_class=10), tmp_path / "shards"
    with pytest.raises(
        UsageError, match=r"^split and seed have no effect without draw_splits=True; add it, or remove them$"
    ):
        perceptio.pack(data, out, seed=3)
    packed = perceptio.pack(data, out, draw_splits=True, seed=3)
    assert (packed.num_samples, packed.left_out) == (30, ())
    assert {name.split("-")[1] for name in packed.shards} == {"train", "validation", "test"}
    checked = perceptio.check(out, full=True)
    assert (checked.problems, checked.lost_share, len(checked.survey.usable)) == ((), 0.0, 30)
    assert tuple(capsys.readouterr()) == ("", "")


def test_packing_and_checking_tell_a_screen(tmp_path: Path):
    told: list[str] = []

    class Screen(SilentScreen):
        def work(self, what: str, done: int, total: int) -> None:
            told.append(what)

    data = make_picture_folder(tmp_path / "pictures", per_class=4)
    perceptio.pack(data, tmp_path / "shards", screen=Screen())
    perceptio.check(tmp_path / "shards", screen=Screen())
    assert set(told) == {"packing", "checking shards", "reading files"}
