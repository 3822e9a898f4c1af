"""What chosen latents attend to: the scores of each cross-attend over the input (paper Fig. 3)."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import cast

import numpy as np
import torch

from perceptio.inputs.contract import Input
from perceptio.inputs.streams import StreamsInput
from perceptio.models.perceiver import Perceiver
from perceptio.modules.layers import CrossAttend
from perceptio.modules.reading.contract import Reader
from perceptio.shapes import Float, Tensor


def cross_attend_maps(
    model: Perceiver,
    inputs: Mapping[str, Tensor],
    *,
    latents: Sequence[int],
    cross_attends: Sequence[int],
    softmax: bool = False,
) -> dict[str, np.ndarray]:
    """Returns (cross-attends, latents, \\*token axes) for each stream of one sample, the mean over heads.

    Args:
        inputs: each stream of the sample, (1, \\*axes, channels), as the model's `StreamsInput` takes them.
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
    return _by_stream(stacked, cast(StreamsInput, model.input), inputs)


def most_telling_latents(model: Perceiver, inputs: Mapping[str, Tensor], count: int) -> list[int]:
    """Returns the latents whose maps of the first cross-attend say most about this input, without near copies.

    A map is made of position and content. Latents are ranked by the share of content: how much their map changes,
    beside its own spread, when every place gets the input's mean value. A map that correlates above 0.95 with one
    already taken is passed over while others are left.
    """
    map_of, empty_map_of = _first_maps(model, inputs), _first_maps(model, {k: _mean(v) for k, v in inputs.items()})
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


def _mean(values: Float[Tensor, "1 *axes channels"]) -> Float[Tensor, "1 *axes channels"]:
    places = tuple(range(1, values.ndim - 1))
    return values.mean(dim=places, keepdim=True).expand_as(values)


def _map_of(
    cross_attend: CrossAttend, latents: Float[Tensor, "1 N D"], prepared: Reader, latent: int, *, softmax: bool
) -> Float[Tensor, " M"]:
    """Returns one latent's map: a model's N x M maps, together, may not fit into memory."""
    scores = cross_attend.attention.scores(latents[:, latent : latent + 1], prepared)[0, :, 0]
    return (torch.softmax(scores, dim=-1) if softmax else scores).mean(dim=0)


def _first_maps(model: Perceiver, inputs: Mapping[str, Tensor]) -> Callable[[int], np.ndarray]:
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


def _by_stream(maps: np.ndarray, streams: StreamsInput, inputs: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Cuts maps (.., M) into those of the streams, each in its own axes and order."""
    found, start = {}, 0
    for name in streams.streams:
        if name not in inputs:
            if streams.config.absent == "zeros":  # then they have tokens all the same
                start += streams.config.streams[name].num_tokens
            continue
        stream = streams.stream(name)
        axes = stream.token_axes(tuple(inputs[name].shape[1:-1]))
        stop = start + math.prod(axes)
        found[name] = _undo_permutation(maps[..., start:stop], stream).reshape(*maps.shape[:-1], *axes)
        start = stop
    return found


def _undo_permutation(maps: np.ndarray, stream: Input) -> np.ndarray:
    order = stream.token_order()
    if order is None:
        return maps
    placed = np.empty_like(maps)
    placed[..., order.numpy()] = maps
    return placed
