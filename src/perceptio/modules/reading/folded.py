"""Folding: the projections move from the M tokens to the N latents. Any byte array; pays when heads x latents are few.

q . (W x + c) = (W^T q) . x + q . c, and the last term is the same for all tokens: the softmax drops it. The weights of
a softmax sum to one, so the values' projection can follow the sum. Key and value of a token are then one and the same
vector, its normalised channels.
"""

from dataclasses import dataclass

import torch
from einops import einsum, rearrange

from perceptio.kernels.attention import attend, attend_with_lse
from perceptio.modules.byte_view import ByteView
from perceptio.modules.reading.contract import ByteProjections, centred
from perceptio.shapes import Bool, Float, Tensor


@dataclass(frozen=True)
class FoldedReader:
    """Normalised tokens and the projections that were not applied to them."""

    x_BMC: Float[Tensor, "B M C"]
    byte_mask: Bool[Tensor, "B M"] | None
    projections: ByteProjections

    def attend(self, q_BHNE: Float[Tensor, "_ H N E"], dropout: float) -> Float[Tensor, "B H N V"]:
        """Returns what the queries read."""
        assert dropout == 0.0, "dropped weights do not sum to one"
        x_B1MC = self.x_BMC[:, None]
        rows = self._folded(q_BHNE).expand(len(x_B1MC), -1, -1, -1)
        attended = attend(rows, x_B1MC, x_B1MC, self.byte_mask, scale=1.0)
        values = self._values(attended, q_BHNE.shape[1])
        bias = rearrange(self.projections.value_bias, "(H V) -> H 1 V", H=q_BHNE.shape[1])
        if self.byte_mask is None:
            return values + bias
        return values + bias * self.byte_mask.any(dim=1)[:, None, None, None].to(bias.dtype)

    def read(self, q_BHNE: Float[Tensor, "_ H N E"]) -> tuple[Tensor, Tensor]:
        """Returns the read values without their bias, and the log-sum-exp of the scores without their constant."""
        attended, lse = attend_with_lse(self._folded(q_BHNE)[:, 0], self.x_BMC, self.byte_mask)
        heads = q_BHNE.shape[1]
        return self._values(attended[:, None], heads), rearrange(lse, "B (H N) -> B H N", H=heads)

    def scores(self, q_BHNE: Float[Tensor, "_ H N E"]) -> Float[Tensor, "B H N M"]:
        """Returns the attention scores before the softmax."""
        heads = q_BHNE.shape[1]
        products = self._folded(q_BHNE)[:, 0] @ self.x_BMC.transpose(1, 2)
        return rearrange(products, "B (H N) M -> B H N M", H=heads) + score_constant(q_BHNE, self.projections)

    def _folded(self, q_BHNE: Tensor) -> Float[Tensor, "_ 1 R C"]:
        """Returns the queries of all heads as rows of one head: the heads read the same tokens."""
        # Centred: what the mean of a folded query adds to a score is zero, and its rounding is not.
        weight = rearrange(centred(self.projections.key_weight), "(H E) C -> H E C", H=q_BHNE.shape[1])
        folded = einsum(scaled(q_BHNE), weight, "B H N E, H E C -> B H N C")
        return rearrange(folded, "B H N C -> B 1 (H N) C")

    def _values(self, attended: Float[Tensor, "B 1 R C"], num_heads: int) -> Float[Tensor, "B H N V"]:
        weight = rearrange(self.projections.value_weight, "(H V) C -> H V C", H=num_heads)
        per_head = rearrange(attended, "B 1 (H N) C -> B H N C", H=num_heads)
        values: Tensor = einsum(per_head, weight, "B H N C, H V C -> B H N V")
        return values


def read_folded(view: ByteView, projections: ByteProjections) -> FoldedReader:
    """Returns the tokens, normalised and not projected."""
    return FoldedReader(view.normalised(), view.byte_array.mask(), projections)


def scaled(q_BHNE: Tensor) -> Tensor:
    """Returns the queries with the scale of dot-product attention, 1 / sqrt(E)."""
    scale: float = q_BHNE.shape[-1] ** -0.5
    return q_BHNE * scale


def score_constant(q_BHNE: Tensor, projections: ByteProjections) -> Float[Tensor, "_ H N 1"]:
    """Returns what the key bias adds to all scores of a query: the softmax drops it, a picture of scores shows it."""
    bias = rearrange(projections.key_bias, "(H E) -> H 1 E", H=q_BHNE.shape[1]).to(q_BHNE.dtype)
    return torch.sum(scaled(q_BHNE) * bias, dim=-1, keepdim=True)
