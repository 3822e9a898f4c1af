"""Attention maps of one file (paper Fig. 3)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from perceptio.data.batches import standardise
from perceptio.data.image_config import ImageConfig
from perceptio.data.image_reader import ImageReader
from perceptio.data.limits import Limits
from perceptio.evaluation.attention_maps import cross_attend_maps, most_telling_latents
from perceptio.models.perceiver import Perceiver
from perceptio.reporting.attention import AttentionMaps, draw_attention, save_attention_npz
from perceptio.runs.model_file import find_model_file, read_model

SHOWN_LATENTS = 8


@dataclass(frozen=True, kw_only=True)
class Attention:
    """Maps of one file, ready to be drawn or saved."""

    image: np.ndarray
    maps: AttentionMaps
    title: str

    def draw(self, path: Path, *, overlay: bool = False) -> None:
        """Writes a PNG."""
        draw_attention(self.image, self.maps, path, overlay=overlay, title=self.title)

    def save(self, path: Path) -> None:
        """Writes the numbers as npz."""
        save_attention_npz(path, self.maps, self.image)


def attend_file(
    run: Path,
    file: Path,
    *,
    latents: Sequence[int] = (),
    cross_attends: Sequence[int] = (),
    softmax: bool = False,
) -> Attention:
    """Returns what chosen latents of a run's model attend to in a file.

    Args:
        latents: which latents, from 0; empty: the eight whose maps say most about the file.
        cross_attends: which cross-attends, from 1; empty: the first, the second and the last.
        softmax: attention weights instead of scores.

    Raises:
        FileError: when the file cannot be read.
        UsageError: when there is no model.
        ValueError: for a latent or cross-attend that the model does not have.
    """
    model, facts = read_model(find_model_file(run))
    for number in cross_attends:
        if not 1 <= number <= model.config.num_cross_attends:
            raise ValueError(
                f"there is no cross-attend {number}: this model has {model.config.num_cross_attends}, counted from 1"
            )
    reader = ImageReader(facts.config.image, Limits())
    view = reader.evaluation_view(reader.decode(file))
    maps = attention_of(
        model,
        view,
        facts.config.image,
        latents=latents,
        cross_attends=[number - 1 for number in cross_attends],
        softmax=softmax,
    )
    return Attention(image=view, maps=maps, title=file.name)


def attention_of(
    model: Perceiver,
    view: np.ndarray,
    config: ImageConfig,
    *,
    latents: Sequence[int] = (),
    cross_attends: Sequence[int] = (),
    softmax: bool = False,
) -> AttentionMaps:
    """Returns the maps of a view, uint8 (height, width, channels). Cross-attends count from 0 here."""
    device = model.latents.device
    inputs = standardise(torch.from_numpy(view)[None].to(device), config.mean, config.std)
    last = model.config.num_cross_attends - 1
    steps = list(cross_attends) or sorted({0, min(1, last), last})
    chosen = list(latents) or most_telling_latents(model, inputs, SHOWN_LATENTS)
    scores = cross_attend_maps(model, inputs, latents=chosen, cross_attends=steps, softmax=softmax)
    return AttentionMaps(scores=scores, steps=tuple(step + 1 for step in steps), latents=tuple(chosen), softmax=softmax)
