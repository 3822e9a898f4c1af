"""The paper's input sizes (section 4), and sizes and operations that follow from them (rounded figures: derived)."""

import pytest
import torch

from perceptio.models.counts import count_flops, count_parameters
from perceptio.models.perceiver import build_perceiver
from perceptio.recipes.registry import RECIPE_CLASSES, find_recipe

# (recipe, inputs a sample, channels, millions of parameters, GFLOP)
ROWS = [
    ("imagenet", 50_176, 261, 44.912254, 706.3),
    ("imagenet-learned", 50_176, 131, 48.189577, None),
    ("audioset-raw", 480, 257, None, None),
    ("audioset-mel", 4_800, 130, None, None),
    ("audioset-video", 12_544, 483, None, None),
    ("audioset-raw-video", 13_024, 487, 109.05, 177.3),
    ("audioset-mel-video", 17_344, 487, 109.05, 194.1),
    ("audioset-mel-video-tuned", 17_344, 487, 109.05, 194.1),
    ("modelnet40", 2_048, 387, 44.77, None),
]


@pytest.mark.parametrize(("name", "tokens", "channels", "parameters", "flops"), ROWS, ids=[row[0] for row in ROWS])
def test_a_recipe_has_the_papers_sizes(
    name: str, tokens: int, channels: int, parameters: float | None, flops: float | None
) -> None:
    config, classes = find_recipe(name), RECIPE_CLASSES[name]
    size = config.input_config()
    assert (size.num_tokens, size.input_channels) == (tokens, channels)
    if parameters is not None:
        with torch.device("meta"):
            model = build_perceiver(size, config.model, classes)
        # To the last digit that is given.
        assert count_parameters(model) / 1e6 == pytest.approx(parameters, abs=0.005)
    if flops is not None:
        total = count_flops(config.model, num_tokens=tokens, input_channels=channels, num_outputs=classes).total
        assert total / 1e9 == pytest.approx(flops, rel=0.001)


def test_what_the_paper_says_of_audioset_training() -> None:
    both = find_recipe("audioset-mel-video")
    tuned = find_recipe("audioset-mel-video-tuned")
    assert (both.epochs, both.task.kind, both.streams.evaluation_clips) == (100, "multi_label", 16)
    assert {name: stream.clip_seconds for name, stream in both.streams.by_name.items()} == {
        "video": 1.28,
        "audio": 1.28,
    }
    assert {name: stream.drop_probability for name, stream in both.streams.by_name.items()} == {
        "video": 0.3,
        "audio": 0.0,
    }
    assert {name: stream.drop_probability for name, stream in tuned.streams.by_name.items()} == {
        "video": 0.3,
        "audio": 0.1,
    }
    assert both.streams.by_name["audio"].spec_augment.is_on
    assert not tuned.streams.by_name["audio"].spec_augment.is_on
    assert (both.streams.absent, both.streams.modality_channels) == ("zeros", 4)


def test_what_the_paper_says_of_modelnet_training() -> None:
    config = find_recipe("modelnet40")
    points = config.streams.by_name["points"]
    assert (config.batch_size, config.learning_rate, config.training.schedule.kind) == (512, 0.001, "constant")
    assert (points.num_bands, points.max_frequency, points.scaling) == (64, 1120.0, (0.99, 1.01))
    steps = config.epochs * int(9_843 * (1 - config.split.validation)) // config.batch_size
    assert 49_000 < steps < 51_000
