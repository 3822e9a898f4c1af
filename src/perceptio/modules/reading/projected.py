"""The textbook way: keys and values of every token, and scaled dot-product attention. Any byte array."""

from dataclasses import dataclass

import torch
from einops import rearrange
from torch.nn import functional

from perceptio.kernels.attention import attend, attention_scores
from perceptio.modules.byte_view import ByteView
from perceptio.modules.reading.contract import ByteProjections
from perceptio.shapes import Bool, Float, Tensor


@dataclass(frozen=True)
class ProjectedReader:
    """Keys and values, with which tokens are present."""

    k_BHME: Float[Tensor, "B H M E"]
    v_BHMV: Float[Tensor, "B H M V"]
    byte_mask: Bool[Tensor, "B M"] | None

    def attend(self, q_BHNE: Float[Tensor, "_ H N E"], dropout: float) -> Float[Tensor, "B H N V"]:
        """Returns what the queries read."""
        return attend(q_BHNE.expand(len(self.k_BHME), -1, -1, -1), self.k_BHME, self.v_BHMV, self.byte_mask, dropout)

    def scores(self, q_BHNE: Float[Tensor, "_ H N E"]) -> Float[Tensor, "B H N M"]:
        """Returns the attention scores before the softmax."""
        return attention_scores(q_BHNE.expand(len(self.k_BHME), -1, -1, -1), self.k_BHME)


def read_projected(view: ByteView, projections: ByteProjections) -> ProjectedReader:
    """Returns keys and values; one product makes both."""
    weight = torch.cat([projections.key_weight, projections.value_weight])
    bias = torch.cat([projections.key_bias, projections.value_bias])
    projected = functional.linear(view.normalised(), weight, bias)
    keys, values = torch.split(projected, [len(projections.key_weight), len(projections.value_weight)], dim=-1)
    k, v = (rearrange(part, "B M (H E) -> B H M E", H=projections.num_heads) for part in (keys, values))
    return ProjectedReader(k, v, view.byte_array.mask())
