"""Separable attention the long way: every score in one tensor, gradients by autograd."""

import torch

from perceptio.kernels.separable.contract import Queries, Reads, Tokens


def attend_densely(queries: Queries, tokens: Tokens) -> Reads:
    """Returns what `separable_attend` returns, by way of the whole (B, R, O, I) map."""
    batch = len(tokens.rho)
    channels, outer, inner = (part.expand(batch, -1, -1) for part in (queries.channels, queries.outer, queries.inner))
    scores = torch.einsum("brc,bcoi->broi", channels, tokens.channels) + outer[..., None] + inner[:, :, None]
    scores = scores * tokens.rho[:, None]
    if tokens.present is not None:
        scores = scores.masked_fill(~tokens.present[:, None], -torch.inf)
    lse = scores.flatten(2).logsumexp(dim=2)
    weights = torch.exp(scores - torch.where(lse == -torch.inf, 0.0, lse)[..., None, None]) * tokens.rho[:, None]
    sums = torch.einsum("broi,bcoi->brc", weights, tokens.channels)
    return Reads(sums, weights.sum(dim=3), weights.sum(dim=2), lse)


def draw_case(
    *,
    batch: int = 2,
    shared: bool = False,
    rows: int = 5,
    channels: int = 3,
    outer: int = 4,
    inner: int = 6,
    masked: bool = False,
    dtype: torch.dtype = torch.float64,
    score_size: float = 1.0,
    channel_size: float = 1.0,
) -> tuple[Queries, Tokens]:
    """Returns random queries and tokens that want gradients; with a mask, the last sample has nothing present."""

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=dtype)

    asked = 1 if shared else batch
    present = None
    if masked:
        present = torch.rand(batch, outer, inner) < 0.7
        present[-1] = False
    queries = Queries(
        (draw(asked, rows, channels) * score_size / channel_size).requires_grad_(),
        (draw(asked, rows, outer) * score_size).requires_grad_(),
        (draw(asked, rows, inner) * score_size).requires_grad_(),
    )
    tokens = Tokens(
        (draw(batch, channels, outer, inner) * channel_size).requires_grad_(),
        (draw(batch, outer, inner).abs() + 0.5).requires_grad_(),
        present,
    )
    return queries, tokens


def leaves(queries: Queries, tokens: Tokens) -> list[torch.Tensor]:
    """Returns the tensors that want gradients."""
    return [queries.channels, queries.outer, queries.inner, tokens.channels, tokens.rho]


def weighted_sum(reads: Reads) -> torch.Tensor:
    """Returns a number that depends on every entry, each with its own weight; -inf in the lse is left out."""
    finite = torch.where(reads.lse == -torch.inf, 0.0, reads.lse)
    generator = torch.Generator().manual_seed(7)
    parts = (reads.channels, reads.outer, reads.inner, finite)
    return sum(
        (part * torch.randn(part.shape, generator=generator, dtype=torch.float64).to(part)).sum() for part in parts
    )  # type: ignore[return-value]  # `sum` might return its start, 0
