"""The core in plain PyTorch, for any device: a few rows at a time against all tokens.

The slowest backend, several passes over memory for each row; the one that always works, and the best where a token has
many sample channels, since its products are matrix products.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from perceptio.kernels.separable.contract import Queries, Reads, Tokens
from perceptio.shapes import Tensor

BLOCK_ELEMENTS = 2**20
"""Scores that exist at one time, unless a single row has more. Four megabytes in float32: what a CPU's cache holds."""


@dataclass(frozen=True)
class TorchBackend:
    """Implements `Backend`."""

    block_elements: int = BLOCK_ELEMENTS

    def attend(self, queries: Queries, tokens: Tokens) -> Reads:
        """Returns what the rows read."""
        batch, rows = len(tokens.rho), queries.channels.shape[1]
        reads = _empty_reads(queries, batch)
        for b, part in self._blocks(batch, rows, math.prod(tokens.rho.shape[1:])):
            scores = _scores(queries, tokens, b, part)
            top = scores.flatten(1).amax(dim=1)
            masses = _exponentials(scores, torch.where(top == -torch.inf, torch.zeros_like(top), top))
            # Divided by their sum at the end: a shift by the log-sum-exp would carry its rounding into every weight.
            mass = masses.flatten(1).sum(dim=1)
            share = torch.where(mass == 0, mass, 1 / mass)[:, None]
            weights = masses.mul_(tokens.rho[b])
            reads.channels[b, part] = share * (weights.flatten(1) @ tokens.channels[b].flatten(1).T)
            reads.outer[b, part] = share * weights.sum(dim=2)
            reads.inner[b, part] = share * weights.sum(dim=1)
            reads.lse[b, part] = top + torch.log(mass)
        return reads

    def query_gradients(self, queries: Queries, tokens: Tokens, lse: Tensor, grads: Reads, delta: Tensor) -> Queries:
        """Returns the gradients of the queries, one per sample."""
        batch, rows = lse.shape
        found = _empty_reads(queries, batch)
        for b, part in self._blocks(batch, rows, math.prod(tokens.rho.shape[1:])):
            probabilities = _exponentials(_scores(queries, tokens, b, part), lse[b, part])
            weight_grads = _additive(grads.channels[b, part], grads.outer[b, part], grads.inner[b, part], tokens, b)
            rho = tokens.rho[b]
            score_grads = probabilities * (weight_grads * rho - delta[b, part, None, None]) * rho
            found.channels[b, part] = score_grads.flatten(1) @ tokens.channels[b].flatten(1).T
            found.outer[b, part] = score_grads.sum(dim=2)
            found.inner[b, part] = score_grads.sum(dim=1)
        return Queries(found.channels, found.outer, found.inner)

    def token_gradients(
        self, queries: Queries, tokens: Tokens, lse: Tensor, grads: Reads, delta: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Returns the gradients of sample channels and rho."""
        batch, rows = lse.shape
        channel_grads, rho_grads = torch.zeros_like(tokens.channels), torch.zeros_like(tokens.rho)
        for b, part in self._blocks(batch, rows, math.prod(tokens.rho.shape[1:])):
            asked = (queries.channels[b % len(queries.channels), part], grads.channels[b, part])
            raw = _raw_scores(queries, tokens, b, part)
            rho = tokens.rho[b]
            probabilities = _exponentials(_masked(raw * rho, tokens, b), lse[b, part])
            weight_grads = _additive(grads.channels[b, part], grads.outer[b, part], grads.inner[b, part], tokens, b)
            score_grads = probabilities * (weight_grads * rho - delta[b, part, None, None])
            rho_grads[b] += (score_grads * raw + probabilities * weight_grads).sum(dim=0)
            for factors, values in zip(asked, (score_grads * rho, probabilities * rho), strict=True):
                channel_grads[b] += (factors.T @ values.flatten(1)).reshape(channel_grads[b].shape)
        return channel_grads, rho_grads

    def _blocks(self, batch: int, rows: int, num_tokens: int) -> Iterator[tuple[int, slice]]:
        size = max(1, self.block_elements // num_tokens)
        for b in range(batch):
            for start in range(0, rows, size):
                yield b, slice(start, min(start + size, rows))


def _empty_reads(queries: Queries, batch: int) -> Reads:
    _, rows, width = queries.channels.shape
    empty = queries.channels.new_empty
    return Reads(
        channels=empty(batch, rows, width),
        outer=empty(batch, rows, queries.outer.shape[2]),
        inner=empty(batch, rows, queries.inner.shape[2]),
        lse=empty(batch, rows),
    )


def _additive(channels: Tensor, outer: Tensor, inner: Tensor, tokens: Tokens, b: int) -> Tensor:
    """Returns channels . u + outer + inner of some rows at every token, (rows, O, I)."""
    products = (channels @ tokens.channels[b].flatten(1)).reshape(len(channels), *tokens.rho.shape[1:])
    return products.add_(outer[:, :, None]).add_(inner[:, None, :])


def _raw_scores(queries: Queries, tokens: Tokens, b: int, part: slice) -> Tensor:
    shared = b % len(queries.channels)
    return _additive(
        queries.channels[shared, part], queries.outer[shared, part], queries.inner[shared, part], tokens, b
    )


def _scores(queries: Queries, tokens: Tokens, b: int, part: slice) -> Tensor:
    return _masked(_raw_scores(queries, tokens, b, part).mul_(tokens.rho[b]), tokens, b)


def _masked(scores: Tensor, tokens: Tokens, b: int) -> Tensor:
    return scores if tokens.present is None else scores.masked_fill_(~tokens.present[b], -torch.inf)


def _exponentials(scores: Tensor, shift: Tensor) -> Tensor:
    return scores.sub_(shift[:, None, None]).exp_()
