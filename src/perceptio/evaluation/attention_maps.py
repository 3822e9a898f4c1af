"""What chosen latents attend to: the scores of each cross-attend over the input (paper Fig. 3)."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch

from perceptio.models.perceiver import Perceiver
from perceptio.modules.layers import CrossAttend
from perceptio.modules.reading.contract import Reader
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

    def observe(number: int, cross_attend: CrossAttend, latent_array: Tensor, prepared: Reader) -> bool:
        if number in cross_attends:
            shown = [_map_of(cross_attend, latent_array, prepared, latent, softmax=softmax) for latent in latents]
            maps[number] = torch.stack(shown)
        return number < max(cross_attends)

    with _evaluating(model), torch.inference_mode():
        model.encode(model.input(inputs), observe)
    stacked = torch.stack([maps[number] for number in cross_attends]).float().cpu().numpy()
    token_axes = [length // size for length, size in zip(inputs.shape[1:-1], model.input.config.patch, strict=True)]
    return _undo_permutation(stacked, model).reshape(len(cross_attends), len(latents), *token_axes)


def most_telling_latents(model: Perceiver, inputs: Float[Tensor, "1 *axes channels"], count: int) -> list[int]:
    """Returns the latents whose maps of the first cross-attend say most about this input, without near copies.

    A map is made of position and content. Latents are ranked by the share of content: how much their map changes,
    beside its own spread, when every place gets the input's mean value. A map that correlates above 0.95 with one
    already taken is passed over while others are left.
    """
    places = tuple(range(1, inputs.ndim - 1))
    empty = inputs.mean(dim=places, keepdim=True).expand_as(inputs)
    map_of, empty_map_of = _first_maps(model, inputs), _first_maps(model, empty)
    ranked = sorted(range(model.config.num_latents), key=lambda n: (-_content_share(map_of(n), empty_map_of(n)), n))
    taken: list[int] = []
    pictures: list[np.ndarray] = []
    for latent in ranked:
        if len(taken) == count:
            break
        picture = _standardised(map_of(latent))
        if max((abs(float((picture * other).mean())) for other in pictures), default=0.0) < 0.95:
            taken.append(latent)
            pictures.append(picture)
    taken += [latent for latent in ranked if latent not in taken]
    return taken[:count]


def _map_of(
    cross_attend: CrossAttend, latents: Float[Tensor, "1 N D"], prepared: Reader, latent: int, *, softmax: bool
) -> Float[Tensor, " M"]:
    """Returns one latent's map: a model's N x M maps, together, may not fit into memory."""
    scores = cross_attend.attention.scores(latents[:, latent : latent + 1], prepared)[0, :, 0]
    return (torch.softmax(scores, dim=-1) if softmax else scores).mean(dim=0)


def _first_maps(model: Perceiver, inputs: Float[Tensor, "1 *axes channels"]) -> Callable[[int], np.ndarray]:
    """Returns a function from a latent to its map of the first cross-attend."""
    seen: list[tuple[CrossAttend, Tensor, Reader]] = []

    def observe(number: int, cross_attend: CrossAttend, latent_array: Tensor, prepared: Reader) -> bool:
        seen.append((cross_attend, latent_array, prepared))
        return False

    with _evaluating(model), torch.inference_mode():
        model.encode(model.input(inputs), observe)

    def map_of(latent: int) -> np.ndarray:
        with torch.inference_mode():
            found: np.ndarray = _map_of(*seen[0], latent, softmax=False).float().cpu().numpy()
        return found

    return map_of


def _content_share(found: np.ndarray, empty: np.ndarray) -> float:
    return float((found - empty).std() / max(found.std(), 1e-12))


def _standardised(values: np.ndarray) -> np.ndarray:
    standardised: np.ndarray = (values - values.mean()) / max(float(values.std()), 1e-12)
    return standardised


@contextmanager
def _evaluating(model: Perceiver) -> Iterator[None]:
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


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
