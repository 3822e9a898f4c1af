from dataclasses import replace

import pytest

from perceptio.data.image_config import ImageConfig
from perceptio.data.mixing import MixingConfig
from perceptio.inputs.grid import GridEncoding
from perceptio.runs.config import SourceConfig
from support.configs import tiny_config


@pytest.mark.parametrize("name", ["epochs", "batch_size", "learning_rate"])
def test_what_must_be_positive(name: str):
    with pytest.raises(ValueError, match=rf"{name} must be greater than 0, got 0"):
        replace(tiny_config(), **{name: 0})


def test_mixing_needs_images_of_one_size():
    config = tiny_config()
    fit = ImageConfig(size=(16, 16), geometry="fit", randaugment_layers=0)
    mixing = replace(config.training, mixing=MixingConfig(mixup_share=0.5))
    with pytest.raises(ValueError, match=r"training.mixing needs images of one size: image.geometry='fit' gives many"):
        replace(config, image=fit, training=mixing)


def test_an_input_that_cannot_be_is_refused_with_the_config():
    with pytest.raises(ValueError, match=r"patch must divide the axes: got patch \(3, 3\) and axes \(16, 16\)"):
        replace(tiny_config(), encoding=GridEncoding(patch=(3, 3)))


def test_the_allowed_share_of_broken_files_is_a_share():
    with pytest.raises(ValueError, match=r"max_skipped must lie in \[0, 1\), got 1.0"):
        SourceConfig(max_skipped=1.0)


def test_the_input_is_the_images_size_and_the_encoding():
    grid = tiny_config().input_config()
    assert (grid.axes, grid.channels, grid.num_tokens) == ((16, 16), 3, 256)
    assert grid.input_channels == 3 + 2 * (2 * 3 + 1)
