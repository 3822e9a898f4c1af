from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from perceptio.models.counts import count_flops
from perceptio.recipes.automatic import (
    CPU_FLOPS_BUDGET,
    choose_config,
    choose_epochs,
    choose_model,
    choose_side,
    median_short_side,
)
from perceptio.runs.config import SourceConfig
from perceptio.runs.data import Survey, survey_data
from support.pictures import make_picture_folder


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Survey:
    folder = make_picture_folder(tmp_path_factory.mktemp("small") / "pictures", per_class=10)
    return survey_data(str(folder), SourceConfig())


def with_sides(survey: Survey, *shapes: tuple[int, int]) -> Survey:
    return Survey(
        source=survey.source, data=survey.data, usable=survey.usable, skipped=(), copies=(),
        shapes={str(number): shape for number, shape in enumerate(shapes)},
    )  # fmt: skip


def test_more_samples_get_a_larger_model_and_fewer_epochs():
    counts = (10, 9_999, 10_000, 50_000, 500_000, 1_281_167)
    widths = [choose_model(count).latent_channels for count in counts]
    assert widths == [128, 128, 256, 512, 1024, 1024]
    assert choose_model(1_281_167).num_latents == 512, "the paper's own"
    epochs = [choose_epochs(count) for count in counts]
    assert all(first >= second for first, second in pairwise(epochs))
    assert (epochs[0], choose_epochs(1_000), epochs[-1]) == (80, 40, 20)


def test_the_side_is_no_larger_than_the_files_fill(survey: Survey):
    model = choose_model(30)
    sides = {
        filled: choose_side(with_sides(survey, (filled, 500)), model, 1, CPU_FLOPS_BUDGET)
        for filled in (16, 32, 47, 100, 4000)
    }
    assert sides == {16: 32, 32: 32, 47: 32, 100: 96, 4000: 224}


def test_the_side_shrinks_with_the_budget_and_keeps_to_it(survey: Survey):
    model, large, found = choose_model(30), with_sides(survey, (500, 400)), []
    for samples in (1, 3_000, 10_000, 30_000, 10**9):
        side = choose_side(large, model, samples, CPU_FLOPS_BUDGET)
        found.append(side)
        channels = 3 + 2 * (2 * max(4, min(64, side // 4)) + 1)
        flops = count_flops(model, num_tokens=side * side, input_channels=channels, num_outputs=1)
        assert side == 32 or 3 * (flops.total - flops.shared) * samples <= CPU_FLOPS_BUDGET
    assert found == sorted(found, reverse=True)
    assert (found[0], found[-1]) == (224, 32)


def test_the_median_of_the_shorter_sides_counts(survey: Survey):
    assert median_short_side(with_sides(survey, (10, 90), (80, 30), (50, 50))) == 30
    sample = survey_data(None, SourceConfig(format="sample"))
    assert median_short_side(sample) == 28


def test_every_choice_is_a_config_with_reasons(survey: Survey):
    choice = choose_config(survey, has_gpu=False)
    assert (choice.config.recipe, choice.config.data) == ("automatic", survey.data)
    assert choice.config.image.size == (32, 32)
    text = "\n".join(f"{label}: {reason}" for label, reason in choice.reasons)
    for part in ("32 x 32 pixels", "(median)", "the CPU", "8 frequency bands", "48 latents", "30 samples", "80 epochs"):
        assert part in text, part
    assert "a GPU" in choose_config(survey, has_gpu=True).reasons[0][1]


def test_few_samples_still_give_several_steps_an_epoch(survey: Survey):
    config = choose_config(survey, has_gpu=True).config
    assert 4 <= config.batch_size <= len(survey.usable) // 5


def test_no_choice_depends_on_where_the_files_lie(tmp_path: Path, survey: Survey):
    elsewhere = survey_data(str(make_picture_folder(tmp_path / "p", per_class=10)), SourceConfig())
    first, second = (choose_config(each, has_gpu=False).config for each in (survey, elsewhere))
    assert replace(first, data=None) == replace(second, data=None)
