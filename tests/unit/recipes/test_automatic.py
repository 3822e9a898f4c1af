from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from perceptio.modalities.array import ArrayModality
from perceptio.modalities.image import SIDES
from perceptio.modalities.streams import Streams, single_stream
from perceptio.recipes.automatic import (
    GPU_FLOPS_PER_SECOND,
    GPU_SECONDS,
    MIN_EPOCHS,
    Choice,
    choose_config,
    choose_epochs,
    choose_model,
    choose_size,
    flops_per_second,
    sizes_of,
    training_flops,
)
from perceptio.runs.config import RunConfig, SourceConfig
from perceptio.runs.data import Survey, survey_data
from support.configs import TINY_PICTURES
from support.pictures import make_picture_folder

BUDGET = 1.5e13  # ten minutes on two cores


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Survey:
    folder = make_picture_folder(tmp_path_factory.mktemp("small") / "pictures", per_class=10)
    return survey_data(str(folder), SourceConfig())


def with_sides(survey: Survey, *shapes: tuple[int, int]) -> Survey:
    facts = {
        str(number): {"image": {"height": float(height), "width": float(width)}}
        for number, (height, width) in enumerate(shapes)
    }
    return replace(survey, facts=facts)


def side_of(streams: Streams) -> int:
    height, width = streams.by_name["image"].size
    assert height == width
    return height


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
    sides = {}
    for filled in (16, 32, 47, 100, 4000):
        sizes = sizes_of(with_sides(survey, (filled, 500)))
        sides[filled] = side_of(choose_size(sizes, model, 1, BUDGET).streams)
    assert sides == {16: 32, 32: 32, 47: 32, 100: 96, 4000: 224}


def test_the_side_shrinks_with_the_budget_and_keeps_to_it(survey: Survey):
    model, sizes, found = choose_model(30), sizes_of(with_sides(survey, (500, 400))), []
    for samples in (1, 3_000, 10_000, 30_000, 10**9):
        streams = choose_size(sizes, model, samples, BUDGET).streams
        found.append(side_of(streams))
        assert found[-1] == 32 or training_flops(model, streams.input_config(), samples) <= BUDGET
    assert found == sorted(found, reverse=True)
    assert (found[0], found[-1]) == (224, 32)


def test_sizes_come_cheapest_first(survey: Survey):
    model, sizes = choose_model(30), sizes_of(with_sides(survey, (500, 400)))
    costs = [training_flops(model, size.streams.input_config(), 1) for size in sizes]
    assert costs == sorted(costs)
    assert [side_of(size.streams) for size in sizes] == [32, 48, 64, 96, 128, 160, 224]
    assert sizes[3].why == (
        "96 x 96 pixels: the files' shorter side is 400 (median); 24 frequency bands an axis: a quarter of the side, "
        "the paper has 64 at 224 pixels"
    )


def test_the_median_of_the_shorter_sides_counts(survey: Survey):
    (size,) = sizes_of(with_sides(survey, (10, 90), (80, 30), (50, 50)))
    assert "the files' shorter side is 30 (median)" in size.why
    (sample,) = sizes_of(survey_data(None, SourceConfig(format="sample")))
    assert (side_of(sample.streams), "the smallest side, as for all arrays" in sample.why) == (32, True)


def test_streams_that_offer_fewer_sizes_keep_their_largest(survey: Survey):
    """Sizes go up together; each stream's own offer depends on its own files, and its column stays."""
    two = Streams(
        by_name={"big": replace(TINY_PICTURES, column="big"), "small": replace(TINY_PICTURES, column="small")},
        modality_channels=7,
    )
    facts = {"1": {"big": {"height": 70.0, "width": 99.0}, "small": {"height": 20.0, "width": 20.0}}}
    sizes = sizes_of(replace(survey, streams=two, facts=facts))
    assert [[size.streams.by_name[name].size[0] for name in ("big", "small")] for size in sizes] == [
        [32, 32], [48, 32], [64, 32]
    ]  # fmt: skip
    for size in sizes:
        assert {name: modality.column for name, modality in size.streams.by_name.items()} == {
            "big": "big", "small": "small"
        }  # fmt: skip
        assert size.streams.modality_channels == 7
        assert size.why.count("pixels: the files' shorter side") == 2


def test_a_choice_reads_files_as_they_were_looked_at(survey: Survey):
    """In the same column and layout, and an option that a reason names is the stream's, not its kind's."""
    looked_with = ArrayModality(column="maps", channels_last=False, axis_names=("north", "east"))
    channels = {f"{what}_{channel}": 1.0 for what in ("mean", "square") for channel in range(40)}
    facts = {"1": {"maps": {"axis_0": 32.0, "channels": 40.0, **channels}}}
    found = sizes_of(replace(survey, streams=Streams(by_name={"maps": looked_with}), facts=facts))
    for size in found:
        modality = size.streams.by_name["maps"]
        assert isinstance(modality, ArrayModality)
        kept = (modality.column, modality.channels_last, modality.axis_names)
        assert kept == ("maps", False, ("north", "east"))
    assert "(--no-maps.channels-last if it holds places)" in found[-1].why


def with_samples(survey: Survey, count: int) -> Survey:
    """As many records; nothing is read of them but how many they are."""
    usable = (survey.usable * (count // len(survey.usable) + 1))[:count]
    return replace(with_sides(survey, (500, 400)), usable=usable)


def cost_of(choice: Choice, count: int) -> float:
    config = choice.config
    return training_flops(config.model, config.input_config(), count * config.epochs)


@pytest.mark.parametrize("has_gpu", [False, True])
def test_training_stays_within_the_budget_or_says_that_it_cannot(survey: Survey, has_gpu: bool):
    budget = GPU_FLOPS_PER_SECOND * GPU_SECONDS if has_gpu else BUDGET
    for count in sorted({round(50 * 10 ** (step / 8)) for step in range(35)} | {9_999, 10_000, 50_000, 500_000, 10**6}):
        choice = choose_config(with_samples(survey, count), has_gpu=has_gpu)
        config, reasons = choice.config, {reason.label: reason.text for reason in choice.reasons}
        cost, over = cost_of(choice, count), "more than the" in reasons["Time"]
        smallest = (config.model, side_of(config.streams), config.epochs) == (choose_model(0), SIDES[0], MIN_EPOCHS)
        assert over == (cost > budget), count
        assert not over or smallest, count
        assert ("smaller than so many call for" in reasons["Model"]) == (config.model != choose_model(count)), count
        assert ("fewer than so many" in reasons["Schedule"]) == (config.epochs < choose_epochs(count)), count
        assert MIN_EPOCHS <= config.epochs <= choose_epochs(count)


def test_the_budget_grows_with_the_cores(survey: Survey, monkeypatch: pytest.MonkeyPatch):
    many = with_samples(survey, 30_000)
    on_two = choose_config(many, has_gpu=False)
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    on_many = choose_config(many, has_gpu=False)
    assert cost_of(on_many, 30_000) > 2 * cost_of(on_two, 30_000)
    assert flops_per_second(has_gpu=False) == 64 * 1.25e10


def test_every_choice_is_a_config_with_reasons(survey: Survey):
    choice = choose_config(survey, has_gpu=False)
    assert (choice.config.recipe, choice.config.data) == ("automatic", survey.data)
    assert side_of(choice.config.streams) == 32
    text = "\n".join(f"{reason.label}: {reason.text}" for reason in choice.reasons)
    for part in (
        "Input: 32 x 32 pixels", "(median)", "8 frequency bands", "48 latents", "30 samples", "80 epochs",
        "Time: about a minute of computing on the CPU",
    ):  # fmt: skip
        assert part in text, part
    large = choose_config(with_samples(survey, 20_000), has_gpu=False)
    assert side_of(large.config.streams) == 32
    assert large.reasons[0].text.endswith("; less than the files have, so that training on the CPU takes about 10 min")
    assert "reduced" not in choice.reasons[0].text
    assert "a GPU" in choose_config(survey, has_gpu=True).reasons[-1].text


def test_typed_epochs_and_a_time_decide_the_rest(survey: Survey):
    typed = choose_config(survey, has_gpu=False, epochs=3.0)
    assert (typed.config.epochs, typed.config.training.schedule.warmup_epochs) == (3.0, pytest.approx(0.3))
    assert {reason.label for reason in typed.reasons} == {"Input", "Model", "Training"}
    many = with_samples(survey, 20_000)
    hour, ten_minutes = (choose_config(many, has_gpu=False, seconds=seconds) for seconds in (3_600.0, 600.0))
    assert cost_of(ten_minutes, 20_000) < cost_of(hour, 20_000) <= 6 * BUDGET


def test_a_reason_holds_while_its_fields_are_as_chosen(survey: Survey):
    choice = choose_config(survey, has_gpu=False)
    config = choice.config

    def labels(changed: RunConfig) -> list[str]:
        return [reason.label for reason in choice.reasons_for(changed)]

    assert labels(config) == ["Input", "Input", "Model", "Schedule", "Training", "Time"]
    assert labels(replace(config, seed=3)) == labels(config)
    assert labels(replace(config, epochs=2.0)) == ["Input", "Input", "Model", "Training"]
    assert labels(replace(config, model=replace(config.model, num_latents=3))) == [
        "Input",
        "Input",
        "Schedule",
        "Training",
    ]
    larger = replace(config.streams.by_name["image"], size=(48, 48))
    assert labels(replace(config, streams=single_stream(larger))) == ["Model", "Schedule", "Training"]


def test_the_embedded_sample_needs_no_path():
    source = SourceConfig(format="sample")
    config = choose_config(survey_data(None, source), has_gpu=False, source=source).config
    assert (config.data, config.source) == (None, source)


def test_few_samples_still_give_several_steps_an_epoch(survey: Survey):
    config = choose_config(survey, has_gpu=True).config
    assert 4 <= config.batch_size <= len(survey.usable) // 5


def test_no_choice_depends_on_where_the_files_lie(tmp_path: Path, survey: Survey):
    elsewhere = survey_data(str(make_picture_folder(tmp_path / "p", per_class=10)), SourceConfig())
    first, second = (choose_config(each, has_gpu=False).config for each in (survey, elsewhere))
    assert replace(first, data=None) == replace(second, data=None)


def test_whether_samples_are_mirrored_follows_from_the_classes(survey: Survey):
    seen = {}
    for classes in (("left", "right"), ("cat", "dog")):
        choice = choose_config(replace(survey, source=replace(survey.source, classes=classes)), has_gpu=False)
        (text,) = [reason.text for reason in choice.reasons if "mirrors" in reason.text]
        seen[classes] = choice.config.streams.by_name["image"].flip_probability, text.split(";")[0].split(":")[0]
    assert seen[("left", "right")] == (0.0, "training mirrors no sample")
    assert seen[("cat", "dog")] == (0.5, "training mirrors half of the samples")
