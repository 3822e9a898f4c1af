"""Segments read each by its own method, and merged: a softmax over all tokens is one over each segment's mass."""

from dataclasses import dataclass

import torch
from einops import rearrange

from perceptio.modules.reading.contract import ByteProjections
from perceptio.modules.reading.folded import FoldedReader
from perceptio.modules.reading.precision import full_precision
from perceptio.modules.reading.separable import SeparableReader
from perceptio.shapes import Float, Tensor


@dataclass(frozen=True)
class MergedReader:
    """Readers of parts of a byte array, all with one set of weights."""

    parts: tuple[SeparableReader | FoldedReader, ...]
    places: tuple[Tensor, ...]
    """For each part the places of its tokens in the dense byte array."""
    projections: ByteProjections

    def attend(self, q_BHNE: Float[Tensor, "_ H N E"], dropout: float) -> Float[Tensor, "B H N V"]:
        """Returns what the queries read."""
        assert dropout == 0.0, "dropped weights do not sum to one"
        reads = [part.read(q_BHNE) for part in self.parts]
        with full_precision(q_BHNE.device):
            lse = torch.stack([part_lse.to(reads[0][1].dtype) for _, part_lse in reads])
            nothing = lse.amax(dim=0) == -torch.inf
            # A softmax over nothing is 0/0, and its gradient too; such rows get equal shares of zeros.
            shares = torch.softmax(torch.where(nothing, torch.zeros_like(lse), lse), dim=0)
            values = sum(share[..., None] * value for share, (value, _) in zip(shares, reads, strict=True))
            assert isinstance(values, Tensor)
            bias = rearrange(self.projections.value_bias, "(H V) -> H 1 V", H=q_BHNE.shape[1])
            return values + torch.where(nothing[..., None], torch.zeros_like(bias), bias)

    def scores(self, q_BHNE: Float[Tensor, "_ H N E"]) -> Float[Tensor, "B H N M"]:
        """Returns the attention scores before the softmax, in the order of the dense byte array."""
        found = torch.cat([part.scores(q_BHNE) for part in self.parts], dim=-1)
        return found[..., torch.argsort(torch.cat(self.places))]
