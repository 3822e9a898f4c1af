"""An exponential moving average of the weights, which often generalises better than the weights of the last step."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from perceptio.errors import DataError
from perceptio.training.sharding import part_of


class WeightAverage:
    """The average of a model's weights after each step so far, the newest weighing most.

    After step t it is sum over i of decay^(t - i) w_i / sum over i of decay^(t - i), i from 1 to t: a true weighted
    mean from the first step on. The weights that training began with have no part in it, so nothing must be warmed up.

    Attributes:
        tensors: the average, in float32, by the names of the model's state; what is no floating-point number, as is.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = model
        self.decay = decay
        self.tensors = {name: _as_average(value).clone() for name, value in model.state_dict().items()}

    def load(self, tensors: Mapping[str, Tensor] | None) -> None:
        """Goes on from a checkpoint's average.

        Raises:
            DataError: when the checkpoint has none.
        """
        if tensors is None:
            raise DataError(
                "training.average_decay is on, but the checkpoint holds no average: it was off when this run began. "
                "Set it back to null in config.json, or start a new run"
            )
        for name, average in self.tensors.items():
            average.copy_(part_of(tensors[name], average))

    def update(self, count: int) -> None:
        """Takes in the weights after optimizer step `count`, counted from 1."""
        share = (1 - self.decay) / (1 - self.decay**count)
        for name, value in self.model.state_dict().items():
            average = self.tensors[name]
            if average.is_floating_point():
                average.lerp_(_as_average(value), share)
            else:
                average.copy_(value)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Gives the model the average for a while, then its own weights back, to the bit."""
        state = self.model.state_dict()
        own = {name: value.clone() for name, value in state.items()}
        _copy(self.tensors, state)
        try:
            yield
        finally:
            _copy(own, state)


def _as_average(value: Tensor) -> Tensor:
    detached = value.detach()
    return detached.float() if detached.is_floating_point() else detached


def _copy(source: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> None:
    with torch.no_grad():
        for name, value in target.items():
            value.copy_(source[name])
