"""Mixup and cutmix: samples are mixed with partners from the same global batch, wherever those are processed.

What is random about it is drawn for the whole batch at once (`draw_mixing`), before anybody knows which process or
micro-batch a sample falls to. A micro-batch takes its rows of it and loads the partners that it does not hold anyway.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from perceptio.shapes import Float, Tensor

MAX_AXES = 3
"""Axes of the grids that can be mixed."""


@dataclass(frozen=True, kw_only=True)
class MixingConfig:
    """Off by default, as in the paper. The official code of Perceiver IO uses half of each, with mixup_alpha 0.2."""

    mixup_share: float = 0.0
    """Share of samples that are blended with a partner (mixup)."""
    mixup_alpha: float = 0.2
    """The blend's weight is drawn from Beta(alpha, alpha)."""
    cutmix_share: float = 0.0
    """Share of samples in which a box is replaced by the partner's (cutmix); the box's share of the area is uniform."""

    def __post_init__(self) -> None:
        if min(self.mixup_share, self.cutmix_share) < 0 or self.mixup_share + self.cutmix_share > 1:
            raise ValueError(
                "mixup_share and cutmix_share must be at least 0 and at most 1 together, got "
                f"{self.mixup_share} and {self.cutmix_share}"
            )
        if not 0.0 < self.mixup_alpha < math.inf:
            raise ValueError(f"mixup_alpha must be finite and greater than 0, got {self.mixup_alpha}")
        if self.mixup_share == 0 and self.mixup_alpha != 0.2:
            raise ValueError("mixup_alpha has no effect without mixup_share; set one, or leave it at its default, 0.2")

    @property
    def active(self) -> bool:
        """Whether any sample is mixed."""
        return self.mixup_share + self.cutmix_share > 0


@dataclass(frozen=True)
class Mixing:
    """Who is mixed with whom and how, one entry a sample.

    Attributes:
        partners: (B,) row of each sample's partner; its own row where it stays whole.
        kept: (B,) weight of the sample itself in a blend with its partner; 1 where it is not blended.
        replaced: (B,) share of the area in the box that the partner's replaces, before the box is cut at the borders; 0
            where there is none.
        centres: (B, MAX_AXES) the box's centre, in shares of each axis.
    """

    partners: np.ndarray
    kept: np.ndarray
    replaced: np.ndarray
    centres: np.ndarray

    def __len__(self) -> int:
        return len(self.partners)

    def part(self, rows: Sequence[int]) -> tuple["Mixing", list[int]]:
        """Returns the mixing of some rows, and the guests: partners that are none of them, to be appended in order."""
        chosen = list(rows)
        guests = list(dict.fromkeys(row for row in self.partners[chosen].tolist() if row not in set(chosen)))
        new_row = {row: number for number, row in enumerate([*chosen, *guests])}
        partners = np.array([new_row[row] for row in self.partners[chosen].tolist()], dtype=np.int64)
        return Mixing(partners, self.kept[chosen], self.replaced[chosen], self.centres[chosen]), guests


def draw_mixing(config: MixingConfig, batch_size: int, random: np.random.Generator) -> Mixing:
    """Returns how the samples of a batch are mixed."""
    partners = random.permutation(batch_size)
    kinds = random.uniform(size=batch_size)
    weights = random.beta(config.mixup_alpha, config.mixup_alpha, size=batch_size)
    areas = random.uniform(size=batch_size)
    centres = random.uniform(size=(batch_size, MAX_AXES))
    blended = kinds < config.mixup_share
    pasted = ~blended & (kinds < config.mixup_share + config.cutmix_share)
    return Mixing(
        partners=np.where(blended | pasted, partners, np.arange(batch_size)),
        kept=np.where(blended, weights, 1.0),
        replaced=np.where(pasted, areas, 0.0),
        centres=centres,
    )


def mix(
    inputs: Float[Tensor, "loaded *axes channels"], targets: Float[Tensor, "loaded classes"], mixing: Mixing
) -> tuple[Float[Tensor, "B *axes channels"], Float[Tensor, "B classes"]]:
    """Returns mixed inputs and targets; targets are mixed by the share of the input that each side keeps.

    Args:
        inputs, targets: of the samples of `mixing`, and of guests after them.
    """
    batch, lengths = len(mixing), tuple(inputs.shape[1:-1])
    kept = mixing.kept.copy()
    mixed = inputs[:batch].clone()
    for row in np.flatnonzero(mixing.partners != np.arange(batch)).tolist():
        partner = mixing.partners[row]
        if mixing.replaced[row] > 0:
            box = place_box(lengths, mixing.replaced[row], mixing.centres[row])
            mixed[row][box] = inputs[partner][box]
            kept[row] = 1.0 - np.prod([part.stop - part.start for part in box]) / np.prod(lengths)
        else:
            mixed[row] = torch.lerp(inputs[partner], inputs[row], kept[row])
    share = torch.from_numpy(kept).to(targets)[:, None]
    partners = torch.from_numpy(mixing.partners).to(targets.device)
    return mixed, share * targets[:batch] + (1 - share) * targets[partners]


def place_box(lengths: tuple[int, ...], share: float, centre: np.ndarray) -> tuple[slice, ...]:
    """Returns a box of about `share` of a grid around a centre, given in shares of the axes, cut at the borders."""
    scale = share ** (1 / len(lengths))
    box = []
    for length, middle in zip(lengths, centre.tolist(), strict=False):
        half = scale * length / 2
        box.append(slice(max(0, round(middle * length - half)), min(length, round(middle * length + half))))
    return tuple(box)
