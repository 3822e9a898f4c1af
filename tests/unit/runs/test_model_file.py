import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from perceptio.errors import UsageError
from perceptio.models.perceiver import build_perceiver
from perceptio.modules.reading.choice import ReadingConfig
from perceptio.runs.model_file import ModelFacts, find_model_file, read_model, write_model
from perceptio.runs.serialisation import to_json
from support.configs import tiny_config
from support.pictures import CLASSES

FACTS = ModelFacts(config=tiny_config(), classes=CLASSES, task="single_label")


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(7)
    model = build_perceiver(FACTS.config.input_config(), FACTS.config.model, len(CLASSES))
    nn.init.normal_(model.head.logits.weight)
    return model


@pytest.fixture
def file(tmp_path: Path, model: nn.Module) -> Path:
    write_model(tmp_path / "model.safetensors", model.state_dict(), FACTS)
    return tmp_path / "model.safetensors"


def header(facts: ModelFacts = FACTS, **changes) -> dict[str, str]:
    content = {"format": 2, "config": to_json(facts.config), "classes": facts.classes, "task": facts.task, "step": 3}
    return {"perceptio": json.dumps({**content, **changes})}


def test_weights_config_and_classes_come_back(file: Path, model: nn.Module):
    found, facts = read_model(file)
    assert facts == FACTS
    inputs = {"image": torch.rand(2, 16, 16, 3)}
    assert torch.equal(found(inputs), model(inputs))


def test_the_backend_of_the_machine_that_trained_is_not_asked_for(model: nn.Module, tmp_path: Path):
    there = replace(FACTS.config.model, reading=ReadingConfig(method="separable", backend="triton"))
    facts = replace(FACTS, config=replace(FACTS.config, model=there))
    write_model(tmp_path / "model.safetensors", model.state_dict(), facts)
    found, read = read_model(tmp_path / "model.safetensors")
    assert read == facts
    inputs = {"image": torch.rand(2, 16, 16, 3)}
    torch.testing.assert_close(found(inputs), model(inputs), rtol=1e-4, atol=1e-5)


def test_the_same_model_gives_the_same_bytes(file: Path, model: nn.Module, tmp_path: Path):
    write_model(tmp_path / "again.safetensors", model.state_dict(), FACTS)
    assert file.read_bytes() == (tmp_path / "again.safetensors").read_bytes()


def test_writing_over_a_file_leaves_no_other(file: Path, model: nn.Module):
    write_model(file, model.state_dict(), FACTS)
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_reading_moves_no_global_generator(file: Path):
    state = torch.get_rng_state()
    read_model(file)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("content", [b"", b"no safetensors", b"\xff" * 64])
def test_damaged_files_are_refused(tmp_path: Path, content: bytes):
    (tmp_path / "m").write_bytes(content)
    with pytest.raises(UsageError, match=r"m is damaged or no safetensors file: "):
        read_model(tmp_path / "m")


def test_a_truncated_file_is_refused(file: Path):
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(UsageError, match=r"is damaged or no safetensors file: "):
        read_model(file)


def test_another_projects_file_is_refused(tmp_path: Path):
    save_file({"a": torch.zeros(2)}, tmp_path / "m", metadata={"format": "pt"})
    with pytest.raises(UsageError, match=r"is no Perceptio model: its header has no entry 'perceptio'"):
        read_model(tmp_path / "m")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 1}, r"has format 1, this version reads 2"),
        ({"format": 3}, r"has format 3, this version reads 2"),
        ({"config": {"recipe": "x"}}, r"the field epochs is missing"),
        ({"unsure_at": "often"}, r"is damaged or no safetensors file: unsure_at must be a number: got 'often'$"),
        ({"classes": ["a", "b"]}, r"head.logits.weight must have shape \(2, 24\), got \(3, 24\)"),
    ],
)
def test_a_header_that_does_not_fit_is_refused(tmp_path: Path, model: nn.Module, changes, message: str):
    save_file(model.state_dict(), tmp_path / "m", metadata=header(**changes))
    with pytest.raises(UsageError, match=message):
        read_model(tmp_path / "m")


def test_missing_and_unknown_tensors_are_named(tmp_path: Path, model: nn.Module):
    tensors = model.state_dict()
    save_file({name: tensor for name, tensor in tensors.items() if name != "latents"}, tmp_path / "a", header())
    with pytest.raises(UsageError, match=r"a lacks the tensor latents"):
        read_model(tmp_path / "a")
    save_file({**tensors, "latent": torch.zeros(2)}, tmp_path / "b", header())
    with pytest.raises(UsageError, match=r"b holds an unknown tensor latent. Nearest: latents"):
        read_model(tmp_path / "b")


def test_a_missing_file_is_said(tmp_path: Path):
    with pytest.raises(UsageError, match=r"no model file .*none"):
        read_model(tmp_path / "none")


def test_a_run_folder_stands_for_its_model(file: Path, tmp_path: Path):
    assert find_model_file(tmp_path) == file
    assert find_model_file(file) == file
    with pytest.raises(UsageError, match=r"no model file .*none\.$"):
        find_model_file(tmp_path / "nowhere" / "none")
    (tmp_path / "young").mkdir()
    (tmp_path / "young" / "config.json").touch()
    with pytest.raises(UsageError, match=r"no model file .*s\. Training writes it after the first evaluation\.$"):
        find_model_file(tmp_path / "young")


def test_a_path_that_leads_to_no_model_names_the_runs_that_do(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    with pytest.raises(UsageError, match=r"^no model file photos/model\.safetensors\.$"):
        find_model_file(Path("photos"))
    for age, name in enumerate(("photos-001", "photos-002", "sounds-001", "sounds-002")):
        model = tmp_path / "runs" / name / "model.safetensors"
        model.parent.mkdir(parents=True)
        model.touch()
        os.utime(model, (age, age))
    with pytest.raises(UsageError, match=r"^no model file photos-001\. Did you mean runs/photos-001 \?$"):
        find_model_file(Path("photos-001"))
    latest = "Runs with a model, the latest first: runs/sounds-002, runs/sounds-001, runs/photos-002"
    for path in ("photos", "runs", "none", "runs/photos-009"):
        with pytest.raises(UsageError, match=rf"^no model file {path}.*\. {latest}$"):
            find_model_file(Path(path))


def test_the_task_is_kept(tmp_path: Path, model: nn.Module):
    write_model(tmp_path / "m", model.state_dict(), replace(FACTS, task="multi_label"))
    assert read_model(tmp_path / "m")[1].task == "multi_label"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_no_numbers_are_refused(tmp_path: Path, model: nn.Module, value: float):
    tensors = model.state_dict()
    tensors["latents"].view(-1)[-1] = value
    write_model(tmp_path / "m", tensors, FACTS)
    with pytest.raises(UsageError, match=r"m: latents holds values that are no finite numbers; the file is damaged$"):
        read_model(tmp_path / "m")


@pytest.mark.parametrize("kind", [torch.float64, torch.float16, torch.int32])
def test_weights_of_another_dtype_are_refused(tmp_path: Path, model: nn.Module, kind: torch.dtype):
    tensors = model.state_dict()
    tensors["latents"] = tensors["latents"].to(kind)
    save_file(tensors, tmp_path / "m", metadata=header())
    with pytest.raises(UsageError, match=r"m: latents must hold F32, got [FI]\d\d$"):
        read_model(tmp_path / "m")


@pytest.mark.parametrize(
    "changes",
    [{"config": 7}, {"classes": "abc"}, {"classes": [1, 2, 3]}, {"task": "regression"}, {"step": "3"}, {"format": "2"}],
)
def test_an_entry_of_other_kinds_is_refused(tmp_path: Path, model: nn.Module, changes):
    save_file(model.state_dict(), tmp_path / "m", metadata=header(**changes))
    with pytest.raises(UsageError, match=r"its entry 'perceptio' lacks config, classes, task or step$"):
        read_model(tmp_path / "m")


def config_that_asks(**changes) -> dict:
    config = to_json(FACTS.config)
    config["model"].update(changes)
    return config


def test_a_config_that_asks_for_a_terabyte_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("perceptio.runs.model_file.safe_open", lambda *given, **named: pytest.fail("opened"))
    config = config_that_asks(num_latents=10**8, latent_channels=2**12)
    save_file({"latents": torch.zeros(1)}, tmp_path / "m", metadata=header(config=config))
    assert (tmp_path / "m").stat().st_size < 10_000
    with pytest.raises(UsageError, match=r"m: latents must have shape \(100000000, 4096\), got \(1,\)$"):
        read_model(tmp_path / "m")


def test_a_config_that_asks_for_very_many_layers_is_refused(tmp_path: Path, model: nn.Module):
    config = config_that_asks(num_blocks=10**6, num_self_attends_per_block=30)
    save_file(model.state_dict(), tmp_path / "m", metadata=header(config=config))
    with pytest.raises(UsageError, match=r"m: its config asks for 30,000,002 layers; the limit is 20,000$"):
        read_model(tmp_path / "m")


def test_a_config_that_torch_cannot_build_is_refused(tmp_path: Path, model: nn.Module):
    config = config_that_asks(num_latents=10**17, latent_channels=24 * 10**10)
    save_file(model.state_dict(), tmp_path / "m", metadata=header(config=config))
    with pytest.raises(UsageError, match=r"m: its config asks for a model that cannot be built: "):
        read_model(tmp_path / "m")
