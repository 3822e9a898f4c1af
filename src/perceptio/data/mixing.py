"""Mixup and cutmix: each sample is mixed with a partner from the same batch, or the part of it that runs at once."""

from dataclasses import dataclass

import numpy as np
import torch

from perceptio.shapes import Float, Tensor


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
        if self.mixup_alpha <= 0:
            raise ValueError(f"mixup_alpha must be greater than 0, got {self.mixup_alpha}")

    @property
    def active(self) -> bool:
        """Whether any sample is mixed."""
        return self.mixup_share + self.cutmix_share > 0


def mix(
    inputs: Float[Tensor, "B *axes channels"],
    targets: Float[Tensor, "B classes"],
    config: MixingConfig,
    random: np.random.Generator,
) -> tuple[Float[Tensor, "B *axes channels"], Float[Tensor, "B classes"]]:
    """Returns mixed inputs and targets; targets are mixed by the share of the input that each side keeps."""
    batch, *lengths, _ = inputs.shape
    partners = torch.from_numpy(random.permutation(batch)).to(inputs.device)
    kinds = random.uniform(size=batch)
    kept = np.ones(batch)
    mixed = inputs.clone()
    for row in range(batch):
        if kinds[row] < config.mixup_share:
            kept[row] = random.beta(config.mixup_alpha, config.mixup_alpha)
            mixed[row] = torch.lerp(inputs[partners[row]], inputs[row], kept[row])
        elif kinds[row] < config.mixup_share + config.cutmix_share:
            box = draw_box(tuple(lengths), random.uniform(), random)
            mixed[row][box] = inputs[partners[row]][box]
            area = np.prod([part.stop - part.start for part in box])
            kept[row] = 1.0 - area / np.prod(lengths)
    share = torch.from_numpy(kept).to(targets)[:, None]
    return mixed, share * targets + (1 - share) * targets[partners]


def draw_box(lengths: tuple[int, ...], share: float, random: np.random.Generator) -> tuple[slice, ...]:
    """Returns a box of about `share` of a grid, centred anywhere and cut at the borders."""
    scale = share ** (1 / len(lengths))
    box = []
    for length in lengths:
        half = scale * length / 2
        centre = random.uniform(0, length)
        box.append(slice(max(0, round(centre - half)), min(length, round(centre + half))))
    return tuple(box)
