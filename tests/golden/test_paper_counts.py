"""Parameters and operations of the paper's models, on the meta device: they cost nothing."""

import json
from pathlib import Path

import pytest
import torch

from perceptio.inputs.grid import GridEncoding, GridInputConfig
from perceptio.models.config import PerceiverConfig
from perceptio.models.counts import count_flops, count_parameters
from perceptio.models.perceiver import Perceiver, build_perceiver

IMAGENET = GridInputConfig(axes=(224, 224), channels=3)
GOLDEN = json.loads((Path(__file__).parent / "parameter_counts.json").read_text())["models"]


def build_on_meta(grid: GridInputConfig, config: PerceiverConfig, num_classes: int) -> Perceiver:
    with torch.device("meta"):
        return build_perceiver(grid, config, num_classes)


def config_of(row: dict) -> PerceiverConfig:
    return PerceiverConfig(**{k: v for k, v in row.items() if k not in ("name", "parameters", "paper_gflops")})


@pytest.mark.parametrize("row", GOLDEN, ids=lambda row: row["name"])
def test_parameters_equal_the_papers(row: dict) -> None:
    assert count_parameters(build_on_meta(IMAGENET, config_of(row), 1000)) == row["parameters"]


@pytest.mark.parametrize("row", GOLDEN, ids=lambda row: row["name"])
def test_operations_are_within_0_3_percent_of_the_papers(row: dict) -> None:
    flops = count_flops(config_of(row), num_tokens=50_176, input_channels=261, num_outputs=1000)
    assert flops.total / 1e9 == pytest.approx(row["paper_gflops"], rel=0.003)


def test_the_default_config_is_the_papers_model() -> None:
    assert PerceiverConfig() == config_of(next(row for row in GOLDEN if row["name"] == "8 cross-attends"))
    assert (IMAGENET.num_tokens, IMAGENET.input_channels) == (50_176, 261)


def test_learned_positions() -> None:
    grid = GridInputConfig(axes=(224, 224), channels=3, encoding=GridEncoding(positions="learned"))
    model = build_on_meta(grid, PerceiverConfig(num_cross_attends=1), 1000)
    assert grid.input_channels == 131
    # By the formulas of paper.md g: 1 cross-attend over 131 channels, 6 self-attends, latents, head, 50,176 x 128.
    cross = 2 * 1024 + 2 * 131 + (1025 * 131) + 2 * (131 * 131 + 131) + (131 * 1024 + 1024) + 2 * 1024 + 2 * 1025 * 1024
    assert count_parameters(model) == cross + 6 * 6_301_696 + 524_288 + 1_025_000 + 50_176 * 128 == 48_189_577


def test_modelnet40_counts() -> None:
    # Three axes of 64 bands without sample channels are 387 channels, as the paper's point clouds have; its 2
    # cross-attends and 6 shared layers then have 44.77M parameters with 40 classes.
    config = PerceiverConfig(num_cross_attends=2, num_blocks=2)
    grid = GridInputConfig(axes=(10, 10, 20), channels=387, encoding=GridEncoding(positions="none"))
    model = build_on_meta(grid, config, 40)
    assert count_parameters(model) == 44_772_202
    flops = count_flops(config, num_tokens=2_000, input_channels=387, num_outputs=40)
    assert flops.total / 1e9 == pytest.approx(101.7, rel=0.001)


def test_audioset_operations_of_two_unshared_iterations() -> None:
    config = PerceiverConfig(
        num_cross_attends=2,
        num_blocks=2,
        num_self_attends_per_block=8,
        share_cross_attends="none",
        share_latent_transformers="none",
    )
    for num_tokens, gflops in ((13_024, 177.3), (17_344, 194.1)):
        total = count_flops(config, num_tokens=num_tokens, input_channels=487, num_outputs=527).total
        assert total / 1e9 == pytest.approx(gflops, rel=0.001)


def test_operations_split_into_a_part_in_m_n_and_a_part_in_n_squared() -> None:
    def total(num_tokens: int, num_latents: int) -> int:
        config = PerceiverConfig(num_latents=num_latents)
        return count_flops(config, num_tokens=num_tokens, input_channels=261, num_outputs=1000).total

    # Linear in M: equal steps of M cost equally much.
    assert total(3000, 64) - total(2000, 64) == total(2000, 64) - total(1000, 64)
    # Quadratic in N, and the mixed second difference (the M N part) is 8 cross-attends of 4 F operations.
    mixed = total(2000, 128) - total(2000, 64) - total(1000, 128) + total(1000, 64)
    assert mixed == 8 * 4 * 261 * 1000 * 64
    third = total(1000, 256) - 3 * total(1000, 192) + 3 * total(1000, 128) - total(1000, 64)
    assert third == 0


def test_shared_keys_and_values_are_counted() -> None:
    flops = count_flops(PerceiverConfig(), num_tokens=50_176, input_channels=261, num_outputs=1000)
    assert flops.shared == 6 * 2 * 50_176 * 261 * 2 * 261
