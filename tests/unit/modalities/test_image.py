from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from perceptio.data.image_config import ImageConfig
from perceptio.data.image_reader import ImageReader
from perceptio.data.limits import Limits
from perceptio.errors import FileError, UsageError
from perceptio.inputs.grid import GridEncoding
from perceptio.modalities.contract import Content
from perceptio.modalities.image import SIDES, ImageModality, bands_of
from perceptio.modalities.streams import StreamReader, single_stream
from perceptio.randomness import generator

PICTURE = np.random.default_rng(0).integers(0, 256, (23, 37, 3), dtype=np.uint8)
SMALL = ImageModality(size=(11, 13), randaugment_layers=1, evaluation_crop=1.0, encoding=GridEncoding(num_bands=3))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    Image.fromarray(PICTURE).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def test_it_has_every_option_of_the_image_config_with_its_default_and_meaning():
    of_modality = {field.name: field.default for field in fields(ImageModality)}
    of_config = {field.name: field.default for field in fields(ImageConfig)}
    assert of_config.items() <= of_modality.items()
    assert set(of_modality) - set(of_config) == {"column", "drop_probability", "encoding"}
    with pytest.raises(UsageError, match=r"^flip_probability must lie in 0 to 1: got 1\.5$"):
        ImageModality(flip_probability=1.5)


def test_views_are_those_of_the_image_reader(path: Path):
    content = SMALL.open(path, Limits())
    assert isinstance(content, Content)
    assert content.seconds is None
    reader = ImageReader(SMALL, Limits())
    image = reader.decode(path)
    for number in range(3):
        view = content.view(0.0, generator(0, "test", number))
        np.testing.assert_array_equal(view, reader.training_view(image, generator(0, "test", number)))
    np.testing.assert_array_equal(content.view(0.0, None), reader.evaluation_view(image))
    content.close()


def test_a_file_and_its_array_are_one_picture(path: Path):
    from_file, from_array = (SMALL.open(item, Limits()).view(0.0, None) for item in (path, PICTURE))
    np.testing.assert_array_equal(from_file, from_array)
    assert from_file.shape == (11, 13, 3)


def test_a_header_tells_height_and_width(path: Path):
    assert SMALL.probe(path, Limits()) == {"height": 23, "width": 37}
    SMALL.check(path, Limits())
    path.write_bytes(path.read_bytes()[:-40])
    assert SMALL.probe(path, Limits()) == {"height": 23, "width": 37}
    with pytest.raises(FileError, match=r"^truncated PNG file"):
        SMALL.check(path, Limits())


def test_evaluation_sees_the_mirror_image_if_it_is_to(path: Path):
    plain = StreamReader(single_stream(SMALL), Limits()).evaluation_views({"": path})
    both = StreamReader(single_stream(replace(SMALL, evaluation_flip=True)), Limits()).evaluation_views({"": path})
    (view,) = plain
    assert len(both) == 2
    np.testing.assert_array_equal(both[0]["image"], view["image"])
    np.testing.assert_array_equal(both[1]["image"], view["image"][:, ::-1])
    torch.from_numpy(both[1]["image"])  # raises on an array that runs backwards


def test_a_batch_is_standardised_by_mean_and_deviation():
    modality = replace(SMALL, mean=(0.5, 0.2, 0.0), std=(0.5, 0.1, 4.0))
    found = modality.prepare(torch.tensor([0, 51, 255], dtype=torch.uint8).reshape(1, 1, 1, 3))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.flatten(), torch.tensor([-1.0, 0.0, 0.25]))


def test_people_see_the_view_and_its_scores_as_they_are():
    values, scores = PICTURE[:8, :12], np.arange(6.0).reshape(2, 3)
    assert SMALL.picture(values) is values
    assert SMALL.spread(values, scores) is scores


def test_size_channels_and_encoding_make_the_input():
    config = SMALL.input_config()
    assert (config.raw_shape, config.input_channels) == (((11, 13), 3), 3 + 2 * 7)
    assert SMALL.describe() == "11 x 13 x 3"
    whole = ImageModality(geometry="fit")
    assert (SMALL.sizes_differ, whole.sizes_differ) == (False, True)
    assert (SMALL.clip_seconds, SMALL.blends) == (None, True)


@pytest.mark.parametrize(
    "encoding",
    [
        GridEncoding(),
        GridEncoding(patch=(4, 4), permutation_seed=3),
        GridEncoding(positions="learned", learned_channels=7),
    ],
)
def test_the_small_form_keeps_the_structure(encoding: GridEncoding):
    whole = ImageModality(encoding=encoding)
    small = whole.shrunk()
    assert small.size == (16, 16)
    assert small.encoding == (replace(encoding, num_bands=4) if encoding.positions == "fourier" else encoding)
    assert replace(small, size=whole.size, encoding=encoding) == whole
    small.input_config()


def facts(*sides: tuple[int, int]) -> list[dict[str, float]]:
    return [{"height": float(height), "width": float(width)} for height, width in sides]


def test_candidates_are_squares_that_half_of_the_files_fill():
    found = ImageModality.candidates(facts((99, 500), (60, 97), (700, 101)))  # shorter sides 60, 99, 101
    assert [candidate.modality.size for candidate in found] == [(32, 32), (48, 48), (64, 64), (96, 96)]
    assert found[2].why == (
        "64 x 64 pixels: the files' shorter side is 99 (median); 16 frequency bands an axis: a quarter of the side, "
        "the paper has 64 at 224 pixels"
    )
    for candidate in found:
        modality = candidate.modality
        assert modality.encoding.num_bands == bands_of(modality.size[0])
        assert (modality.crop_area, modality.randaugment_layers) == ((0.35, 1.0), 2)
        assert modality.randaugment_relative_lengths
    assert [candidate.modality.size[0] for candidate in ImageModality.candidates(facts((4000, 3000)))] == list(SIDES)


def test_arrays_get_the_smallest_side():
    (candidate,) = ImageModality.candidates(())
    assert candidate.modality.size == (32, 32)
    assert candidate.why == (
        "32 x 32 pixels: the smallest side, as for all arrays; 8 frequency bands an axis: a quarter of the side, the "
        "paper has 64 at 224 pixels"
    )


def test_bands_grow_with_the_side():
    assert [bands_of(side) for side in (8, 32, 100, 224, 400)] == [4, 8, 25, 56, 64]


def test_films_among_pictures_are_counted_and_the_way_to_see_them_whole_is_said(tmp_path: Path) -> None:
    pictures = [Image.fromarray(np.full((4, 6), value, np.uint8)) for value in (0, 200)]
    pictures[0].save(tmp_path / "film.gif", save_all=True, append_images=pictures[1:])
    pictures[0].save(tmp_path / "still.gif")
    facts = [ImageModality().probe(tmp_path / name, Limits()) for name in ("film.gif", "still.gif")]
    assert facts == [{"height": 4, "width": 6, "animated": 1}, {"height": 4, "width": 6}]
    assert ImageModality().summary(facts) == (
        "6 x 4 pixels (median), 1 animated: their first frames; --source.kinds video sees all"
    )
    assert ImageModality().summary(facts[1:]) == "6 x 4 pixels (median)"
