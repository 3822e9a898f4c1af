from dataclasses import replace
from pathlib import Path

import pytest

from perceptio.data.image_config import ImageConfig
from perceptio.data.mixing import MixingConfig
from perceptio.inputs.grid import GridEncoding
from perceptio.runs.config import SourceConfig, absolute_data
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


@pytest.mark.parametrize(
    ("encoding", "named"),
    [
        (GridEncoding(positions="learned"), "encoding.positions='learned'"),
        (GridEncoding(permutation_seed=0), "encoding.permutation_seed"),
    ],
)
def test_what_is_tied_to_places_needs_images_of_one_size(encoding: GridEncoding, named: str):
    fit = ImageConfig(size=(16, 16), geometry="fit", randaugment_layers=0)
    with pytest.raises(ValueError, match=rf"{named} needs images of one size: image.geometry='fit' gives many. Use"):
        replace(tiny_config(), image=fit, encoding=encoding)
    replace(tiny_config(), image=fit)


def test_heads_divide_the_widths():
    model = replace(tiny_config().model, num_cross_attend_heads=2)
    with pytest.raises(ValueError, match=r"must divide model.qk_channels: got 2 and 17. Use 1 head, or set .*=18"):
        replace(tiny_config(), model=model)
    replace(tiny_config(), model=replace(model, qk_channels=18))
    with pytest.raises(ValueError, match=r"num_cross_attend_heads must divide model.v_channels: got 2 and 7"):
        replace(tiny_config(), model=replace(model, qk_channels=18, v_channels=7))


def test_micro_batches_divide_the_batch():
    training = replace(tiny_config().training, num_micro_batches=3)
    with pytest.raises(
        ValueError, match=r"num_micro_batches must divide batch_size: got 3 and 8. Use a batch_size of 9"
    ):
        replace(tiny_config(), training=training)


def test_data_means_the_same_from_every_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/she")
    assert absolute_data("photos/", "auto") == str(tmp_path / "photos")
    assert absolute_data("../photos", "folder") == str(tmp_path.parent / "photos")
    assert absolute_data("~/photos", "auto") == "/home/she/photos"
    assert absolute_data("/photos", "auto") == "/photos"
    for data, format in ((None, "sample"), ("fashion-sample", "sample"), (None, "auto"), (" ", "auto")):
        assert absolute_data(data, format) == data


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
