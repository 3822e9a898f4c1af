"""What chosen latents attend to: the scores of each cross-attend over the input (paper Fig. 3)."""

from collections.abc import Sequence

import numpy as np
import torch

from perceptio.models.perceiver import Perceiver
from perceptio.modules.attention import KeysValues
from perceptio.modules.layers import CrossAttend
from perceptio.shapes import Float, Tensor


def cross_attend_maps(
    model: Perceiver,
    inputs: Float[Tensor, "1 *axes channels"],
    *,
    latents: Sequence[int],
    cross_attends: Sequence[int],
    softmax: bool = False,
) -> np.ndarray:
    """Returns (cross-attends, latents, *token axes) of one sample, the mean over heads.

    Args:
        latents: which latents, from 0.
        cross_attends: which cross-attends of the iteration, from 0.
        softmax: attention weights instead of scores. The paper shows scores: weights are "very sparse and hard to
            interpret" (section 4.1).

    Raises:
        ValueError: for a latent or cross-attend that the model does not have.
    """
    _check_range("latent", latents, model.config.num_latents)
    _check_range("cross-attend", cross_attends, model.config.num_cross_attends)
    maps: dict[int, Tensor] = {}

    def observe(number: int, cross_attend: CrossAttend, latent_array: Tensor, prepared: KeysValues) -> bool:
        if number in cross_attends:
            scores = cross_attend.attention.scores(latent_array[:, list(latents)], prepared)
            maps[number] = (torch.softmax(scores, dim=-1) if softmax else scores)[0].mean(dim=0)
        return number < max(cross_attends)

    was_training = model.training
    model.eval()
    with torch.inference_mode():
        model.encode(model.input(inputs), observe)
    model.train(was_training)
    stacked = torch.stack([maps[number] for number in cross_attends]).float().cpu().numpy()
    token_axes = [length // size for length, size in zip(inputs.shape[1:-1], model.input.config.patch, strict=True)]
    return _undo_permutation(stacked, model).reshape(len(cross_attends), len(latents), *token_axes)


def most_telling_latents(model: Perceiver, inputs: Float[Tensor, "1 *axes channels"], count: int) -> list[int]:
    """Returns the latents whose maps of the first cross-attend say most about this input, without near copies.

    A map is made of position and content. Latents are ranked by the share of content: how much their map changes,
    beside its own spread, when every place gets the input's mean value. A map that correlates above 0.95 with one
    already taken is passed over while others are left.
    """
    everyone = range(model.config.num_latents)
    places = tuple(range(1, inputs.ndim - 1))
    empty = inputs.mean(dim=places, keepdim=True).expand_as(inputs)
    maps, empty_maps = (
        cross_attend_maps(model, shown, latents=everyone, cross_attends=[0])[0].reshape(len(everyone), -1)
        for shown in (inputs, empty)
    )
    spread = np.maximum(maps.std(axis=1), 1e-12)
    content_share = (maps - empty_maps).std(axis=1) / spread
    centred = (maps - maps.mean(axis=1, keepdims=True)) / spread[:, None]
    ranked = [int(latent) for latent in np.argsort(-content_share, kind="stable")]
    taken: list[int] = []
    for latent in ranked:
        likeness = [abs(float((centred[latent] * centred[other]).mean())) for other in taken]
        if max(likeness, default=0.0) < 0.95:
            taken.append(latent)
    taken += [latent for latent in ranked if latent not in taken]
    return taken[:count]


def _check_range(what: str, chosen: Sequence[int], count: int) -> None:
    for number in chosen:
        if not 0 <= number < count:
            raise ValueError(f"there is no {what} {number}: this model has {count}, counted from 0")


def _undo_permutation(maps: np.ndarray, model: Perceiver) -> np.ndarray:
    order = model.input.token_order()
    if order is None:
        return maps
    placed = np.empty_like(maps)
    placed[..., order.numpy()] = maps
    return placed
