"""How much memory a training step takes, found by going through one with tensors that have a shape and no numbers."""

import copy
import weakref
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from perceptio.models.perceiver import Perceiver
from perceptio.tasks.classification import Task


@dataclass(frozen=True, kw_only=True)
class MemoryNeed:
    """Bytes.

    Attributes:
        parameters: the weights. Their gradients take as much, the optimizer's two moments twice as much.
        largest_parameter: of them, the largest; an update needs a few tensors of its size for a moment.
        step: the most that one micro-batch's forward and backward pass hold at any time, gradients included.
    """

    parameters: int
    largest_parameter: int
    step: int

    @property
    def total(self) -> int:
        """Weights, moments, and the larger of a pass through the model and the update."""
        return 3 * self.parameters + max(self.step, self.parameters + 4 * self.largest_parameter)


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """What is needed to go through a step without numbers.

    Attributes:
        model: with its weights, which are left alone.
        shapes: of one sample's values, channels last, by stream.
        autocast: whether the pass runs in bf16 where that is safe.
        checkpoint_activations: whether activations are recomputed.
    """

    model: Perceiver
    task: Task
    shapes: Mapping[str, tuple[int, ...]]
    num_classes: int
    autocast: bool
    checkpoint_activations: bool

    def need(self, num_samples: int) -> MemoryNeed:
        """Returns what training takes with so many samples at once, on a CPU."""
        with FakeTensorMode(allow_non_fake_inputs=True):
            model = self._without_numbers()
            sizes = [4 * parameter.numel() for parameter in model.parameters()]
            with _Held() as held:
                self._pass(model, num_samples)
        return MemoryNeed(parameters=sum(sizes), largest_parameter=max(sizes), step=held.most)

    def _without_numbers(self) -> Perceiver:
        """Returns the model with other weights, of the same shapes and without memory."""
        others: dict[int, Any] = {
            id(parameter): nn.Parameter(torch.empty(parameter.shape)) for parameter in self.model.parameters()
        }
        model = copy.deepcopy(self.model, others).train()
        model.checkpoint_activations = self.checkpoint_activations
        return model

    def _pass(self, model: Perceiver, num_samples: int) -> None:
        inputs = {name: torch.zeros(num_samples, *shape) for name, shape in self.shapes.items()}
        precision: AbstractContextManager[Any] = nullcontext()
        if self.autocast:
            precision = torch.autocast("cpu", dtype=torch.bfloat16)
        with precision:
            outputs = model(inputs).float()
        torch.autograd.backward(self.task.loss(outputs, torch.zeros(num_samples, self.num_classes)))


class _Held(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch gives this class no types
    """Counts the bytes of all tensors that were made inside and are still there: now, and at most."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # the same
        self.now = 0
        self.most = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self, function: Any, types: Any, arguments: tuple[Any, ...] = (), named: dict[str, Any] | None = None
    ) -> Any:
        """Runs an operation and takes note of what it returns."""
        found = function(*arguments, **(named or {}))
        for value in tree_leaves(found):
            if isinstance(value, Tensor):
                self._take(value.untyped_storage())
        return found

    def _take(self, storage: torch.UntypedStorage) -> None:
        key = id(storage)  # torch keeps one object a storage for as long as there is one
        if key in self._known:
            return
        self._known.add(key)
        self.now += storage.nbytes()
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self._let_go, key, storage.nbytes())

    def _let_go(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size
