"""The core of separable cross-attention as one differentiable operation (`torch.ops.perceptio.separable_attend`).

Registered with PyTorch, with shapes and gradient, so that torch.compile, torch.export and activation checkpointing see
one opaque node. The backward pass recomputes the attention weights from the log-sum-exp; it cannot be differentiated
again.
"""

from typing import Any

import torch
from torch import Tensor, library

from perceptio.kernels.separable.backends import load_backend
from perceptio.kernels.separable.contract import BackendName, Queries, Reads, Tokens


def separable_attend(queries: Queries, tokens: Tokens, backend: BackendName) -> Reads:
    """Returns what the rows read, differentiable in everything but the mask.

    Under autocast it computes in float32.

    Raises:
        ValueError: when the tensors differ in type or device, or their shapes do not fit each other.
    """
    floats = (queries.channels, queries.outer, queries.inner, tokens.channels, tokens.rho)
    kinds = {(tensor.dtype, tensor.device) for tensor in floats}
    if len(kinds) != 1:
        raise ValueError(f"queries and tokens must have one type and device, got {sorted(map(str, kinds))}")
    shared, rows, width = queries.channels.shape
    batch, channels, outer, inner = tokens.channels.shape
    if (
        shared not in (1, batch)
        or width != channels
        or queries.outer.shape != (shared, rows, outer)
        or queries.inner.shape != (shared, rows, inner)
    ):
        raise ValueError(
            f"queries of shapes {[tuple(tensor.shape) for tensor in floats[:3]]} do not fit tokens of shape "
            f"{tuple(tokens.channels.shape)}: expected (B or 1, R, c), (B or 1, R, O), (B or 1, R, I) and (B, c, O, I)"
        )
    if tokens.rho.shape != (batch, outer, inner) or (
        tokens.present is not None and tokens.present.shape != (batch, outer, inner)
    ):
        raise ValueError(f"rho and present must have shape {(batch, outer, inner)}")
    if tokens.present is not None:
        # A value that is not finite would survive a weight of zero.
        tokens = Tokens(
            tokens.channels.masked_fill(~tokens.present[:, None], 0.0),
            tokens.rho.masked_fill(~tokens.present, 0.0),
            tokens.present.contiguous(),
        )
    arguments = [*_queries_of(queries), tokens.channels, tokens.rho]
    return Reads(*_attend(*(tensor.contiguous() for tensor in arguments), tokens.present, backend))


@library.custom_op("perceptio::separable_attend", mutates_args=())
def _attend(
    channels_q: Tensor,
    outer_q: Tensor,
    inner_q: Tensor,
    channels: Tensor,
    rho: Tensor,
    present: Tensor | None,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    reads = load_backend(backend).attend(Queries(channels_q, outer_q, inner_q), Tokens(channels, rho, present))
    return reads.channels, reads.outer, reads.inner, reads.lse


@_attend.register_fake
def _(
    channels_q: Tensor, outer_q: Tensor, inner_q: Tensor, channels: Tensor, rho: Tensor, *_: object
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    batch, rows = len(rho), channels_q.shape[1]
    return (*_gradient_shapes(channels_q, outer_q, inner_q, batch), channels_q.new_empty(batch, rows))


@library.custom_op("perceptio::separable_attend_query_gradients", mutates_args=())
def _query_gradients(
    channels_q: Tensor,
    outer_q: Tensor,
    inner_q: Tensor,
    channels: Tensor,
    rho: Tensor,
    present: Tensor | None,
    lse: Tensor,
    channel_grads: Tensor,
    outer_grads: Tensor,
    inner_grads: Tensor,
    delta: Tensor,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor]:
    found = load_backend(backend).query_gradients(
        Queries(channels_q, outer_q, inner_q),
        Tokens(channels, rho, present),
        lse,
        Reads(channel_grads, outer_grads, inner_grads, lse),
        delta,
    )
    return _queries_of(found)


@_query_gradients.register_fake
def _(
    channels_q: Tensor, outer_q: Tensor, inner_q: Tensor, channels: Tensor, rho: Tensor, *_: object
) -> tuple[Tensor, Tensor, Tensor]:
    return _gradient_shapes(channels_q, outer_q, inner_q, len(rho))


@library.custom_op("perceptio::separable_attend_token_gradients", mutates_args=())
def _token_gradients(
    channels_q: Tensor,
    outer_q: Tensor,
    inner_q: Tensor,
    channels: Tensor,
    rho: Tensor,
    present: Tensor | None,
    lse: Tensor,
    channel_grads: Tensor,
    outer_grads: Tensor,
    inner_grads: Tensor,
    delta: Tensor,
    backend: str,
) -> tuple[Tensor, Tensor]:
    return load_backend(backend).token_gradients(
        Queries(channels_q, outer_q, inner_q),
        Tokens(channels, rho, present),
        lse,
        Reads(channel_grads, outer_grads, inner_grads, lse),
        delta,
    )


@_token_gradients.register_fake
def _(
    channels_q: Tensor, outer_q: Tensor, inner_q: Tensor, channels: Tensor, rho: Tensor, *_: object
) -> tuple[Tensor, Tensor]:
    return torch.empty_like(channels), torch.empty_like(rho)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    *tensors, backend = inputs
    ctx.backend = backend
    ctx.save_for_backward(*tensors, *output)


def _backward(
    ctx: Any, channel_grads: Tensor, outer_grads: Tensor, inner_grads: Tensor, lse_grads: Tensor
) -> tuple[Tensor | None, ...]:
    channels_q, outer_q, inner_q, channels, rho, present, *reads = ctx.saved_tensors
    *marginals, lse = reads
    grads = [grad.contiguous() for grad in (channel_grads, outer_grads, inner_grads)]
    # delta_n = sum_m P_nm dP_nm: a row's score gradients sum to the gradient of its log-sum-exp.
    delta = sum((grad * read).sum(dim=-1) for grad, read in zip(grads, marginals, strict=True)) - lse_grads
    nothing_present = lse == -torch.inf
    lse = torch.where(nothing_present, torch.inf, lse)
    arguments = (channels_q, outer_q, inner_q, channels, rho, present, lse, *grads, delta, ctx.backend)
    needed = ctx.needs_input_grad
    query_grads: list[Tensor | None] = [None, None, None]
    if any(needed[:3]):
        shared = len(channels_q) < len(rho)
        query_grads = [
            (grad.sum(dim=0, keepdim=True) if shared else grad) if wanted else None
            for grad, wanted in zip(_query_gradients(*arguments), needed[:3], strict=True)
        ]
    token_grads = _token_gradients(*arguments) if any(needed[3:5]) else (None, None)
    return (*query_grads, *token_grads, None, None)


_attend.register_autograd(_backward, setup_context=_setup_context)
for _operation in (_attend, _query_gradients, _token_gradients):
    for _device in ("cpu", "cuda"):
        _operation.register_autocast(_device, torch.float32)


def _queries_of(queries: Queries) -> tuple[Tensor, Tensor, Tensor]:
    return queries.channels, queries.outer, queries.inner


def _gradient_shapes(channels_q: Tensor, outer_q: Tensor, inner_q: Tensor, batch: int) -> tuple[Tensor, Tensor, Tensor]:
    """Returns empty tensors shaped as the queries of a batch."""
    return (
        channels_q.new_empty(batch, *channels_q.shape[1:]),
        outer_q.new_empty(batch, *outer_q.shape[1:]),
        inner_q.new_empty(batch, *inner_q.shape[1:]),
    )
