from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from perceptio.data.limits import Limits
from perceptio.errors import FileError, UsageError
from perceptio.inputs.grid import GridEncoding
from perceptio.modalities.array import ArrayModality
from perceptio.randomness import generator

LIMITS = Limits()
SIGNAL = ArrayModality(axes=(12,), channels=3, encoding=GridEncoding(num_bands=2))
VOLUME = ArrayModality(axes=(4, 6, 10), channels=2, encoding=GridEncoding(patch=(2, 3, 5), num_bands=2))


def save(path: Path, values: np.ndarray) -> Path:
    np.save(path, values)
    return path


def test_the_middle_is_seen_in_evaluation_and_any_window_in_training():
    values = np.arange(17 * 3, dtype=np.float32).reshape(17, 3)
    content = SIGNAL.open(values, LIMITS)
    np.testing.assert_array_equal(content.view(0.0, None), values[2:14])
    starts = {int(content.view(0.0, generator(0, "array", number))[0, 0]) // 3 for number in range(60)}
    assert starts == set(range(6))


def test_a_smaller_array_stays_as_it_is_in_whole_patches():
    content = VOLUME.open(np.ones((3, 6, 11, 2)), LIMITS)
    assert content.view(0.0, None).shape == (2, 6, 10, 2)
    tiny = VOLUME.open(np.ones((1, 1, 1, 2)), LIMITS).view(0.0, None)
    assert tiny.shape == (2, 3, 5, 2)
    assert tiny.sum() == 2.0, "what is missing from a patch is zero"


def test_an_array_of_one_axis_has_one_channel():
    one = replace(SIGNAL, channels=1)
    assert one.open(np.ones(12), LIMITS).view(0.0, None).shape == (12, 1)
    flat = replace(one, axes=(12, 3), channels_last=False)
    assert flat.open(np.ones((12, 3)), LIMITS).view(0.0, None).shape == (12, 3, 1)


def test_each_channel_is_standardised():
    modality = replace(SIGNAL, mean=(1.0, 2.0, 3.0), std=(2.0, 4.0, 8.0))
    values = torch.tensor([[[3.0, 6.0, 11.0]]])
    assert modality.prepare(values).tolist() == [[[1.0, 1.0, 1.0]]]


def test_facts_give_lengths_and_statistics(tmp_path: Path):
    values = np.random.default_rng(0).normal(5.0, 3.0, (13, 7, 2))
    facts = VOLUME.probe(save(tmp_path / "a.npy", values), LIMITS)
    assert (facts["axis_0"], facts["axis_1"], facts["channels"]) == (13, 7, 2)
    assert facts["mean_1"] == pytest.approx(values[..., 1].mean(), rel=1e-6)
    assert facts["square_0"] == pytest.approx((values[..., 0] ** 2).mean(), rel=1e-6)


def test_candidates_take_the_median_length_and_the_statistics_of_all_files(tmp_path: Path):
    random, facts = np.random.default_rng(0), []
    for number, length in enumerate((300, 301, 302, 5000, 40)):
        values = random.normal((10.0, -1.0), (2.0, 0.5), (length, 2))
        facts.append(SIGNAL.probe(save(tmp_path / f"{number}.npy", values), LIMITS))
    found = ArrayModality.candidates(facts)
    assert [candidate.modality.input_config().num_tokens for candidate in found] == [150, 301]
    modality = found[-1].modality
    assert isinstance(modality, ArrayModality)
    assert (modality.axes, modality.channels) == ((301,), 2)
    assert modality.mean == pytest.approx((10.0, -1.0), abs=0.2)
    assert modality.std == pytest.approx((2.0, 0.5), rel=0.1)
    assert found[-1].why == "301 x 2 in patches of 1: the files are 301 (median)"


def test_many_channels_are_told_with_the_way_out(tmp_path: Path):
    """Maps of 32 x 40 places have the shape of 32 places of 40 channels; nobody can tell but their owner."""
    values = np.random.default_rng(0).normal(size=(32, 40))
    paths = {channels: save(tmp_path / f"{channels}.npy", values[:, :channels]) for channels in (40, 17, 16, 1)}
    facts = {channels: SIGNAL.probe(path, LIMITS) for channels, path in paths.items()}
    whys = {channels: ArrayModality.candidates([fact])[-1].why for channels, fact in facts.items()}
    assert whys[40] == (
        "32 x 40 in patches of 1: the files are 32 (median); the last axis, 40 long, taken as channels "
        "(--no-array.channels-last if it holds places)"
    )
    assert "17 long" in whys[17]
    assert "taken as channels" not in whys[16] + whys[1]
    flat = replace(SIGNAL, channels=1, channels_last=False).probe(paths[40], LIMITS)
    (*_, candidate) = ArrayModality.candidates([flat])
    assert candidate.why == "32 x 40 x 1 in patches of 1 x 1: the files are 32 x 40 (median)"
    assert SIGNAL.summary([facts[40]]) == "32 x 40 channels (median)"
    assert SIGNAL.summary([facts[1]]) == "32 values (median)"
    assert SIGNAL.summary([flat]) == "32 x 40 values (median)"
    assert SIGNAL.summary([]) == ""


@pytest.mark.parametrize(("offset", "size"), [(0.0, 1e-7), (3e-5, 1e-9), (5_000_123.0, 40.0), (-2.0, 1e-4)])
def test_channels_of_any_scale_are_standardised(tmp_path: Path, offset: float, size: float):
    """Fields in tesla and capacities in farad are small, times since 1970 large."""
    values = np.random.default_rng(0).normal(offset, size, (4000, 1))
    (*_, candidate) = ArrayModality.candidates([SIGNAL.probe(save(tmp_path / "a.npy", values), LIMITS)])
    modality = candidate.modality
    assert isinstance(modality, ArrayModality)
    seen = modality.prepare(torch.from_numpy(values.astype(np.float32)[None]))
    assert abs(float(seen.mean())) < 0.05
    assert float(seen.std()) == pytest.approx(1.0, abs=0.05)


def test_a_constant_channel_keeps_its_scale(tmp_path: Path):
    facts = [SIGNAL.probe(save(tmp_path / "a.npy", np.full((9, 2), 7.0)), LIMITS)]
    modality = ArrayModality.candidates(facts)[0].modality
    assert isinstance(modality, ArrayModality)
    assert (modality.mean, modality.std) == ((7.0, 7.0), (1.0, 1.0))
    for value in (0.0, 1e-7, 0.1, 123_456_789.0):
        facts = [SIGNAL.probe(save(tmp_path / f"{value}.npy", np.full((4001, 1), value)), LIMITS)]
        assert ArrayModality.candidates(facts)[0].modality.std == (1.0,), value


def test_the_majority_says_how_many_axes_and_channels_there_are(tmp_path: Path):
    shapes = [(20, 3), (21, 3), (20, 22, 3)]
    facts = [SIGNAL.probe(save(tmp_path / f"{n}.npy", np.ones(shape)), LIMITS) for n, shape in enumerate(shapes)]
    modality = ArrayModality.candidates(facts)[-1].modality
    for fact in facts[:2]:
        modality.admit(fact)
    with pytest.raises(FileError, match=r"^has 2 axes and 3 channels, 20 x 22 long; expected 1 axis and 3 channels \("):
        modality.admit(facts[2])


def test_another_shape_is_refused_with_the_rule():
    with pytest.raises(
        FileError,
        match=r"^has 1 axis and 12 channels, 3 long; expected 1 axis and 3 channels \(channels come last\)$",
    ):
        SIGNAL.open(np.ones((3, 12)), LIMITS)
    for values in (np.ones(100), np.ones((100, 1))):
        with pytest.raises(FileError, match=r"^has 1 axis and 1 channel, 100 long; expected 1 axis and 3 channels \("):
            SIGNAL.open(values, LIMITS)
    flat = replace(SIGNAL, axes=(12, 3), channels=1, channels_last=False)
    with pytest.raises(
        FileError, match=r"^has 1 axis and 1 channel, 12 long; expected 2 axes and 1 channel \(channels have no axis\)$"
    ):
        flat.open(np.ones(12), LIMITS)


def test_fixed_places_need_whole_arrays():
    learned = replace(SIGNAL, encoding=GridEncoding(positions="learned", learned_channels=4))
    assert not learned.sizes_differ
    with pytest.raises(FileError, match=r"^is 11 long; with learned or permuted positions it must fill 12$"):
        learned.open(np.ones((11, 3)), LIMITS)


def test_names_of_axes_are_compared(tmp_path: Path):
    named = replace(SIGNAL, axis_names=("time", "sensor"))
    path = tmp_path / "a.npz"
    np.savez(path, values=np.ones((12, 3)), axes=np.array(["sensor", "time"]))
    with pytest.raises(FileError, match=r"^its axes are sensor, time; expected time, sensor$"):
        named.open(path, LIMITS)
    SIGNAL.open(path, LIMITS)


@pytest.mark.parametrize("modality", [SIGNAL, VOLUME, replace(SIGNAL, axes=(8, 10)), ArrayModality(axes=(2, 3, 4, 5))])
def test_pictures_and_scores_are_laid_out_alike(modality: ArrayModality):
    values = np.random.default_rng(0).normal(size=(*modality.axes, modality.channels)).astype(np.float32)
    picture = modality.picture(values)
    assert (picture.dtype, picture.ndim, picture.shape[2]) == (np.uint8, 3, 1)
    assert (picture.min(), picture.max()) == (0, 255) or len(modality.axes) > 1
    tokens = modality.input_config().token_axes
    scores = np.arange(np.prod(tokens), dtype=np.float64).reshape(tokens)
    spread = modality.spread(values, scores)
    assert spread.shape[0] <= picture.shape[0]
    assert spread.shape[1] <= picture.shape[1]


def test_scores_lie_where_the_slices_of_the_picture_do():
    """Each token's value is its own mean, so that the picture, averaged by patches, is the spread."""
    tokens = np.random.default_rng(0).uniform(size=(2, 2, 2))
    values = tokens.repeat(2, axis=0).repeat(3, axis=1).repeat(5, axis=2)[..., None].astype(np.float32)
    modality = replace(VOLUME, channels=1)
    picture = modality.picture(values)[..., 0] / 255
    spread = modality.spread(values, tokens)
    # Between two slices a token's width, in white, where no score is.
    assert (picture.shape, spread.shape) == ((6, 4 * 10 + 3 * 5), (2, 4 * 2 + 3))
    gaps = np.isnan(spread).all(axis=0)
    assert np.flatnonzero(gaps).tolist() == [2, 5, 8]
    scaled = (spread - tokens.min()) / (tokens.max() - tokens.min())
    np.testing.assert_allclose(picture[::3, ::5], np.where(gaps, 1.0, scaled), atol=1 / 255)


def test_an_array_of_one_value_makes_a_picture():
    assert ArrayModality(axes=(1,)).picture(np.zeros((1, 1), np.float32)).shape == (1, 1, 1)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"axes": ()}, r"axes must be 1 to 8 lengths and channels a number, all at least 1: got \(\) and 1"),
        ({"channels": 0}, r"axes must be 1 to 8 lengths"),
        ({"mean": (1.0, 2.0)}, r"mean must have one value, or one for each of the 1 channels: got 2"),
        ({"std": (0.0,)}, r"std must be above 0 in every channel: got \(0.0,\)"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes: dict[str, object], reason: str):
    with pytest.raises(UsageError, match=f"^{reason}"):
        ArrayModality(**changes)


def test_the_shrunk_form_is_small_and_keeps_its_structure():
    small = VOLUME.shrunk()
    assert small.encoding.patch == VOLUME.encoding.patch
    assert small.input_config().num_tokens <= 8
    assert ArrayModality(axes=(256,)).shrunk().axes == (4,)
