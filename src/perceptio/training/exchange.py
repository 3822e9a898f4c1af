"""Gradients averaged over all processes, many in one exchange: each costs a wait, whatever its size."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

BUCKET_BYTES = 25 * 2**20
"""Of gradients that travel together, copied into one tensor; a larger one travels alone, and is not copied."""


def own_gradients(model: nn.Module) -> list[Tensor]:
    """Returns the gradients of all parameters, in the order that every process has."""
    gradients = []
    for parameter in model.parameters():
        assert parameter.grad is not None, "every parameter takes part in every step"
        gradients.append(parameter.grad)
    return gradients


def average(tensors: Sequence[Tensor], num_processes: int) -> None:
    """Replaces each tensor by its mean over all processes, which must call this with the same shapes in one order."""
    for bucket in buckets(tensors, BUCKET_BYTES):
        if len(bucket) == 1:
            torch.distributed.all_reduce(bucket[0])
            bucket[0].div_(num_processes)
            continue
        together = torch.cat([tensor.reshape(-1) for tensor in bucket])
        torch.distributed.all_reduce(together)
        together.div_(num_processes)
        means = torch.split(together, [tensor.numel() for tensor in bucket])
        for tensor, mean in zip(bucket, means, strict=True):
            tensor.copy_(mean.view(tensor.shape))


def buckets(tensors: Sequence[Tensor], most_bytes: int) -> Iterator[list[Tensor]]:
    """Yields the tensors in their order, together as long as they have one type and at most so many bytes."""
    bucket, size = list[Tensor](), 0
    for tensor in tensors:
        if bucket and (tensor.dtype != bucket[0].dtype or size + tensor.nbytes > most_bytes):
            yield bucket
            bucket, size = [], 0
        bucket.append(tensor)
        size += tensor.nbytes
    if bucket:
        yield bucket
