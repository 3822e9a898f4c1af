"""Weights spread over all processes (FSDP2): each keeps a part of every parameter, its gradient and its moments."""

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, TypeGuard, cast

import torch
from torch import Tensor, nn

from perceptio.models.perceiver import Perceiver

# PyTorch's sharding takes over a second to import, which every command would wait for: `shard` imports it, and before
# that nothing can be sharded.
if TYPE_CHECKING:
    from torch.distributed.fsdp import FSDPModule
    from torch.distributed.tensor import DTensor

Sharding = Literal["none", "full"]


def shard(model: Perceiver, device: torch.device, num_processes: int) -> None:
    """Spreads a model's parameters over the processes, in place, and moves them to the device.

    The layers of the latent transformers, most of a Perceiver's weights, are gathered one at a time when they run. The
    rest stays gathered from the start of a step to its end: a cross-attend prepares the byte array once and reads it
    in many iterations, so that its weights are in use all the while.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device.type, (num_processes,))
    for transformer in model.latent_transformers:
        for layer in transformer.children():
            fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)


def is_sharded(model: nn.Module) -> bool:
    """Returns whether `shard` has been at the model."""
    fsdp = sys.modules.get("torch.distributed.fsdp")
    return fsdp is not None and isinstance(model, fsdp.FSDPModule)


def reduce_gradients(model: nn.Module, reduce: bool) -> None:
    """Says whether the next backward pass of a sharded model sums its gradients over the processes."""
    if is_sharded(model):
        cast("FSDPModule", model).set_requires_gradient_sync(reduce)


def whole(tensor: Tensor) -> Tensor:
    """Returns all of a tensor of which this process holds a part; all processes must call this in the same order."""
    return tensor.full_tensor() if _is_part(tensor) else tensor


def part_of(tensor: Tensor, like: Tensor) -> Tensor:
    """Returns what this process keeps of a whole tensor that belongs to the parameter `like`: the first process's."""
    if _is_part(like):
        from torch.distributed.tensor import distribute_tensor

        return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements)
    return tensor.to(like.device)


def copy_whole(source: nn.Module, target: nn.Module) -> None:
    """Copies a sharded model's weights into a plain one; all processes must call this."""
    weights: Mapping[str, Tensor] = source.state_dict()
    with torch.no_grad():
        for name, value in target.state_dict().items():
            value.copy_(whole(weights[name]))


def _is_part(tensor: Tensor) -> "TypeGuard[DTensor]":
    parts = sys.modules.get("torch.distributed.tensor")
    return parts is not None and isinstance(tensor, parts.DTensor)
