"""Every recipe, whatever it is: it builds, its config survives JSON, and its smoke form trains."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from perceptio.data.limits import Limits
from perceptio.data.video_files import probe_video
from perceptio.errors import UsageError
from perceptio.modalities.registry import MODALITIES
from perceptio.models.counts import count_parameters
from perceptio.models.perceiver import build_perceiver
from perceptio.recipes.registry import RECIPE_CLASSES, RECIPES, describe_recipe, find_recipe
from perceptio.recipes.smoke import smoke
from perceptio.runs.attend import attend_file
from perceptio.runs.config import RunConfig, SourceConfig
from perceptio.runs.predict import predict_files
from perceptio.runs.serialisation import dump, from_json, to_json
from perceptio.runs.train import train_run
from perceptio.runs.workbench import TrainOptions
from perceptio.tasks.classification import build_task
from support.kinds import MAKERS, make_folder

every_recipe = pytest.mark.parametrize("name", RECIPES)


@every_recipe
def test_a_recipe_bears_its_name_and_says_what_it_is(name: str):
    assert find_recipe(name).recipe == name
    assert len(describe_recipe(name)) > 80


def test_every_recipe_says_how_many_classes_its_data_has():
    assert set(RECIPE_CLASSES) == set(RECIPES)
    assert all(count >= 2 for count in RECIPE_CLASSES.values())


@every_recipe
def test_a_recipe_builds_without_memory(name: str):
    config = find_recipe(name)
    with torch.device("meta"):
        model = build_perceiver(config.input_config(), config.model, 10)
    assert all(parameter.is_meta for parameter in model.parameters())
    assert count_parameters(model) > 10_000


@every_recipe
def test_a_recipe_survives_json(name: str):
    config = find_recipe(name)
    assert from_json(RunConfig, json.loads(dump(to_json(config)))) == config


@every_recipe
def test_the_smoke_form_keeps_the_structure(name: str):
    config, small = find_recipe(name), smoke(find_recipe(name))
    for field in ("num_cross_attends", "num_blocks", "cross_attend_placement", "share_cross_attends"):
        assert getattr(small.model, field) == getattr(config.model, field), field
    assert small.training == config.training
    assert list(small.streams.by_name) == list(config.streams.by_name)
    for stream, modality in config.streams.by_name.items():
        shrunk = small.streams.by_name[stream]
        assert type(shrunk) is type(modality)
        for field in ("column", "drop_probability"):
            assert getattr(shrunk, field) == getattr(modality, field), (stream, field)
        if hasattr(modality, "encoding"):
            for field in ("positions", "permutation_seed"):
                assert getattr(shrunk.encoding, field) == getattr(modality.encoding, field), (stream, field)
        assert shrunk.input_config().num_tokens <= 512, stream
    for field in ("absent", "modality_channels", "evaluation_clips"):
        assert getattr(small.streams, field) == getattr(config.streams, field), field


def test_there_is_a_maker_of_files_for_every_kind():
    assert set(MAKERS) == set(MODALITIES)


@every_recipe
def test_the_smoke_form_trains_two_steps(name: str, tmp_path: Path):
    """On generated files in a folder, whatever the recipe reads: its own source is tested with the sources."""
    recipe = find_recipe(name)
    data = make_folder(tmp_path / "files", recipe.streams)
    config = replace(smoke(recipe), data=str(data), source=SourceConfig())
    result = train_run(config, TrainOptions(out=tmp_path / "run", device="cpu", workers=0))
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (result.ended, facts["steps"]) == ("finished", 2)
    metric = build_task(recipe.task, multi_label=False).main_metric
    assert 0.0 <= result.test[metric] <= 1.0
    assert (tmp_path / "run" / "report.html").stat().st_size > 1_000
    file = sorted(path for path in data.rglob("*") if path.is_file())[0]
    answer, attention = next(predict_files(result.folder, [file])), attend_file(result.folder, file)
    assert answer.error is None
    assert all(path.stat().st_size > 1_000 for path in attention.save(tmp_path / "maps.png"))
    if "video" in recipe.streams.by_name:
        (film,) = attention.save(tmp_path / "maps.mp4")
        assert probe_video(film, Limits())["seconds"] > 0
    else:
        with pytest.raises(UsageError, match=r"^nothing in .* moves, so that there is nothing to film"):
            attention.save(tmp_path / "maps.mp4")
