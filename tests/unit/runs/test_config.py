import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from perceptio.data.mixing import MixingConfig
from perceptio.errors import UsageError
from perceptio.inputs.grid import GridEncoding
from perceptio.modalities.image import ImageModality
from perceptio.modalities.streams import Streams, single_stream
from perceptio.modules.reading.choice import ReadingConfig
from perceptio.runs.config import SourceConfig, absolute_data
from perceptio.tasks.classification import TaskConfig
from support.configs import TINY_PICTURES, tiny_config


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("batch_size", 0),
        *((name, value) for name in ("epochs", "learning_rate") for value in (0.0, math.nan, math.inf)),
    ],
)
def test_what_must_be_positive(name: str, value: float):
    with pytest.raises(ValueError, match=rf"^{name} must be finite and greater than 0, got {value}$"):
        replace(tiny_config(), **{name: value})


FIT = ImageModality(size=(16, 16), geometry="fit", randaugment_layers=0, encoding=GridEncoding(num_bands=3))


def test_mixing_needs_images_of_one_size():
    mixing = replace(tiny_config().training, mixing=MixingConfig(mixup_share=0.5))
    message = (
        "training.mixing needs samples of one size, and these streams give many: use image.geometry='crop', or leave "
        "training.mixing at its default."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        replace(tiny_config(), streams=single_stream(FIT), training=mixing)
    replace(tiny_config(), training=mixing)


def test_mixing_needs_a_single_stream_that_can_be_blended():
    mixing = replace(tiny_config().training, mixing=MixingConfig(mixup_share=0.5))

    class Unblended(ImageModality):
        blends = False

    two = Streams(by_name={"left": TINY_PICTURES, "right": TINY_PICTURES})
    for streams, named in ((two, "left, right"), (single_stream(Unblended(**vars(TINY_PICTURES))), "image")):
        message = (
            "training.mixing blends two samples place by place, which takes a single stream of pictures, sound, video "
            f"or arrays: got {named}. Leave it at its default."
        )
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            replace(tiny_config(), streams=streams, training=mixing)
        replace(tiny_config(), streams=streams)


@pytest.mark.parametrize("encoding", [GridEncoding(positions="learned"), GridEncoding(permutation_seed=0)])
def test_what_is_tied_to_places_needs_images_of_one_size(encoding: GridEncoding):
    message = (
        "learned positions and encoding.permutation_seed need samples of one size, and these streams give many. Use "
        "Fourier positions, or a reading that gives one size, such as image.geometry='crop'."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        replace(tiny_config(), streams=single_stream(replace(FIT, encoding=encoding)))
    replace(tiny_config(), streams=single_stream(FIT))
    replace(tiny_config(), streams=single_stream(replace(TINY_PICTURES, encoding=encoding)))


def test_heads_divide_the_widths():
    model = replace(tiny_config().model, num_cross_attend_heads=2)
    with pytest.raises(ValueError, match=r"must divide model.qk_channels: got 2 and 17. Use 1 head, or set .*=18"):
        replace(tiny_config(), model=model)
    replace(tiny_config(), model=replace(model, qk_channels=18))
    with pytest.raises(ValueError, match=r"num_cross_attend_heads must divide model.v_channels: got 2 and 7"):
        replace(tiny_config(), model=replace(model, qk_channels=18, v_channels=7))


def test_separable_attention_needs_a_grid():
    model = replace(tiny_config().model, reading=ReadingConfig(method="separable"))
    message = (
        "model.reading.method='separable' needs a stream with Fourier positions on a grid, and image has none. "
        "Leave it at 'auto'."
    )
    learned = single_stream(replace(TINY_PICTURES, encoding=GridEncoding(positions="learned")))
    with pytest.raises(UsageError, match=f"^{re.escape(message)}$"):
        replace(tiny_config(), streams=learned, model=model)
    replace(tiny_config(), model=model)


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ReadingConfig(method="seperable"), "method must be one of auto, projected, folded, separable, got"),
        (lambda: ReadingConfig(backend="cuda"), "backend must be one of auto, torch, numba, triton, got 'cuda'"),
        (
            lambda: TaskConfig(kind="multilabel"),
            "kind must be one of auto, single_label, multi_label, got 'multilabel'",
        ),
        (lambda: GridEncoding(positions="sine"), "positions must be one of fourier, learned, none, got 'sine'"),
        (lambda: SourceConfig(check="whole"), "check must be one of auto, header, full, got 'whole'"),
        (lambda: replace(single_stream(FIT), absent="none"), "absent must be one of masked, zeros, got 'none'"),
    ],
)
def test_a_word_that_is_no_choice_is_refused_where_it_is_written(make: Callable[[], object], message: str):
    with pytest.raises(UsageError, match=f"^{re.escape(message)}"):
        make()


def test_micro_batches_divide_the_batch():
    training = replace(tiny_config().training, num_micro_batches=3)
    message = r"^training\.num_micro_batches must divide batch_size: got 3 and 8\. Use a batch_size of 9\.$"
    with pytest.raises(ValueError, match=message):
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
        replace(tiny_config(), streams=single_stream(replace(TINY_PICTURES, encoding=GridEncoding(patch=(3, 3)))))


def test_the_allowed_share_of_broken_files_is_a_share():
    with pytest.raises(ValueError, match=r"max_skipped must lie in \[0, 1\), got 1.0"):
        SourceConfig(max_skipped=1.0)


def test_the_input_is_the_images_size_and_the_encoding():
    streams = tiny_config().input_config()
    grid = streams.streams["image"]
    assert (grid.raw_shape, grid.num_tokens) == (((16, 16), 3), 256)
    assert streams.num_tokens == 256
    assert streams.input_channels == grid.input_channels == 3 + 2 * (2 * 3 + 1)
