import numpy as np
import pytest
import torch

from perceptio.data.mixing import Mixing, MixingConfig, draw_mixing, mix, place_box
from perceptio.randomness import generator

BATCH, CLASSES = 31, 7
SHAPES = [(5, 7), (13,), (3, 5, 2)]


def one_hot() -> torch.Tensor:
    return torch.eye(CLASSES)[torch.arange(BATCH) % CLASSES]


def numbered(shape: tuple[int, ...]) -> torch.Tensor:
    """Each sample is filled with its own number, so that every pixel says where it comes from."""
    numbers = torch.arange(BATCH, dtype=torch.float32).reshape(BATCH, *([1] * len(shape)), 1)
    return numbers.expand(BATCH, *shape, 3).clone()


def found_partners(seed: int) -> list[int]:
    """The partner that each sample has where it is mixed."""
    return generator(seed).permutation(BATCH).tolist()


def mix_all(
    inputs: torch.Tensor, targets: torch.Tensor, config: MixingConfig, random: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    return mix(inputs, targets, draw_mixing(config, len(inputs), random))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", range(3))
def test_cutmix_targets_are_the_share_of_pixels_kept(shape: tuple[int, ...], seed: int):
    inputs, targets = numbered(shape), one_hot()
    mixed, soft = mix_all(inputs, targets, MixingConfig(cutmix_share=1.0), generator(seed))
    shares = []
    for row in range(BATCH):
        places = mixed[row].reshape(-1, 3)
        assert (places == places[:, :1]).all(), "a place is replaced with all its channels"
        origins = places[:, 0].long().tolist()
        partner = found_partners(seed)[row]
        assert set(origins) <= {row, partner}
        expected = torch.zeros(CLASSES)
        for origin in origins:
            expected += targets[origin] / len(origins)
        torch.testing.assert_close(soft[row], expected)
        if partner != row:
            shares.append(origins.count(row) / len(origins))
    assert 0.0 < np.mean(shares) < 1.0
    assert len(set(shares)) > 3, "boxes differ between samples"


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", range(3))
def test_mixup_targets_are_the_weight_of_every_pixel(shape: tuple[int, ...], seed: int):
    inputs, targets = numbered(shape), one_hot()
    mixed, soft = mix_all(inputs, targets, MixingConfig(mixup_share=1.0, mixup_alpha=0.7), generator(seed))
    for row, partner in enumerate(found_partners(seed)):
        if partner == row:
            torch.testing.assert_close(mixed[row], inputs[row])
            continue
        weights = (mixed[row] - partner) / (row - partner)
        assert weights.max() - weights.min() < 1e-4
        weight = weights.mean()
        assert -1e-5 <= weight <= 1 + 1e-5
        torch.testing.assert_close(
            soft[row], weight * targets[row] + (1 - weight) * targets[partner], rtol=0, atol=1e-5
        )


def test_shares_decide_how_many_are_mixed_and_how():
    """Binomial with n = 31 x 40: 0.3 and 0.2 lie within five standard deviations of what is counted."""
    config = MixingConfig(mixup_share=0.3, cutmix_share=0.2)
    counts = {"whole": 0, "blended": 0, "pasted": 0}
    for seed in range(40):
        inputs = numbered((11, 13))
        mixed, _ = mix_all(inputs, one_hot(), config, generator(seed))
        for row, partner in enumerate(found_partners(seed)):
            values = set(mixed[row].flatten().tolist())
            if partner == row or values <= {float(row)}:
                counts["whole"] += 1
            elif values <= {float(row), float(partner)}:
                counts["pasted"] += 1
            else:
                counts["blended"] += 1
    total = 31 * 40
    # A partner of itself (1 of 31) and a box of no pixel count as whole, and a blend of weight below 1e-7 as pasted.
    assert counts["blended"] / total == pytest.approx(0.3 * 30 / 31, abs=5 * np.sqrt(0.3 * 0.7 / total) + 0.02)
    assert counts["pasted"] / total == pytest.approx(0.2 * 30 / 31, abs=5 * np.sqrt(0.2 * 0.8 / total) + 0.02)


def test_off_changes_nothing_and_says_so():
    config = MixingConfig()
    assert not config.active
    assert MixingConfig(mixup_share=0.1).active
    assert MixingConfig(cutmix_share=0.1).active
    inputs, targets = numbered((3, 5)), one_hot()
    mixed, soft = mix_all(inputs, targets, config, generator(0))
    assert torch.equal(mixed, inputs)
    assert torch.equal(soft, targets)


def test_the_inputs_stay_as_they_are():
    inputs, targets = numbered((5, 7)), one_hot()
    mix_all(inputs, targets, MixingConfig(mixup_share=0.5, cutmix_share=0.5), generator(0))
    assert torch.equal(inputs, numbered((5, 7)))
    assert torch.equal(targets, one_hot())


def test_the_same_generator_gives_the_same_mix_another_gives_another():
    config = MixingConfig(mixup_share=0.5, cutmix_share=0.5)
    results = [mix_all(numbered((5, 7)), one_hot(), config, generator(seed)) for seed in (1, 1, 2)]
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])
    assert not torch.equal(results[0][0], results[2][0])


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_a_box_away_from_the_borders_has_the_share(share: float):
    """All boxes of a share that are not cut have the same size; a cut one is smaller."""
    lengths = (101, 103)
    sizes = []
    for seed in range(50):
        box = place_box(lengths, share, generator(seed).uniform(size=3))
        assert all(0 <= part.start <= part.stop <= length for part, length in zip(box, lengths, strict=True))
        sizes.append(np.prod([part.stop - part.start for part in box]) / np.prod(lengths))
    assert max(sizes) <= share + 0.02
    if share == 0.25:
        assert max(sizes) > share - 0.02


@pytest.mark.parametrize("places", [range(31), range(7), range(24, 31), range(1, 31, 3), [5]])
def test_a_part_of_a_batch_is_mixed_as_in_the_whole(places):
    inputs, targets = numbered((5, 7)), one_hot()
    whole = draw_mixing(MixingConfig(mixup_share=0.4, cutmix_share=0.4), BATCH, generator(3))
    expected = [tensor[list(places)] for tensor in mix(inputs, targets, whole)]
    mixing, guests = whole.part(places)
    loaded = [*places, *guests]
    assert len(loaded) == len(set(loaded)), "nothing is loaded twice"
    found = mix(inputs[loaded], targets[loaded], mixing)
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1], expected[1])


def test_only_partners_of_mixed_samples_are_guests():
    whole = Mixing(
        partners=np.array([3, 1, 4, 3, 0]), kept=np.array([0.5, 1, 1, 1, 0.5]), replaced=np.array([0, 0, 0.3, 0, 0]),
        centres=np.zeros((5, 3)),
    )  # fmt: skip
    assert whole.part([0, 1])[1] == [3]
    assert whole.part([1, 3])[1] == []
    assert whole.part([2, 4])[1] == [0]
    assert len(whole.part([2, 4])[0]) == 2
    assert draw_mixing(MixingConfig(), BATCH, generator(0)).part(range(10))[1] == []


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"mixup_share": -0.1},
            r"^mixup_share and cutmix_share must be at least 0 and at most 1 together, got -0.1 and 0.0",
        ),
        ({"mixup_share": 0.6, "cutmix_share": 0.5}, r"at least 0 and at most 1 together, got 0.6 and 0.5"),
        ({"mixup_alpha": 0.0}, r"mixup_alpha must be finite and greater than 0, got 0.0"),
        (
            {"mixup_alpha": 3.0},
            r"mixup_alpha has no effect without mixup_share; set one, or leave it at its default, 0.2",
        ),
        ({"mixup_alpha": float("inf")}, r"mixup_alpha must be finite and greater than 0, got inf"),
    ],
)
def test_values_out_of_range_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        MixingConfig(**fields)
