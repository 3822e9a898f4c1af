"""Softmax attention on projected queries, keys and values."""

import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from perceptio.shapes import Bool, Float, Tensor

BLOCK_ELEMENTS = 2**22
"""Scores that `attend_with_lse` holds at one time, unless a single row has more."""


def attend(
    q_BHNE: Float[Tensor, "B H N E"],
    k_BHME: Float[Tensor, "B H M E"],
    v_BHMV: Float[Tensor, "B H M V"],
    byte_mask: Bool[Tensor, "B M"] | None = None,
    dropout: float = 0.0,
    scale: float | None = None,
) -> Float[Tensor, "B H N V"]:
    """Returns softmax(scale q k^T) v over the M bytes that are present.

    Args:
        byte_mask: True where a byte is present; None means all are. A sample with no byte present gets zeros, not
            NaN, as in the official code's `attend`.
        dropout: share of attention weights set to zero; the caller passes 0.0 outside training.
        scale: of the scores; None: 1 / sqrt(E).
    """
    if byte_mask is None:
        return functional.scaled_dot_product_attention(q_BHNE, k_BHME, v_BHMV, dropout_p=dropout, scale=scale)
    any_present = byte_mask.any(dim=1, keepdim=True)
    # A softmax over nothing is 0/0. Such samples attend everything, and their result is then dropped: the product
    # with zero, unlike the NaN, has a gradient of zero.
    attended_mask = (byte_mask | ~any_present)[:, None, None, :]
    attended = functional.scaled_dot_product_attention(
        q_BHNE, k_BHME, v_BHMV, attn_mask=attended_mask, dropout_p=dropout, scale=scale
    )
    return attended * any_present[:, None, :, None].to(attended.dtype)


def attend_with_lse(
    q_BRC: Float[Tensor, "_ R C"], x_BMC: Float[Tensor, "B M C"], byte_mask: Bool[Tensor, "B M"] | None = None
) -> tuple[Float[Tensor, "B R C"], Float[Tensor, "B R"]]:
    """Returns softmax(q x^T) x over the bytes that are present, and the log-sum-exp of the scores, -inf over none.

    A few rows at a time, recomputed in the backward pass: for results that are to be merged with others. What needs no
    log-sum-exp is faster with `attend`.
    """
    batch, num_tokens, _ = x_BMC.shape
    size = max(1, BLOCK_ELEMENTS // (batch * num_tokens))
    parts = [
        checkpoint(_attend_rows, rows, x_BMC, byte_mask, use_reentrant=False)
        for rows in torch.split(q_BRC.expand(batch, -1, -1), size, dim=1)
    ]
    return torch.cat([part[0] for part in parts], dim=1), torch.cat([part[1] for part in parts], dim=1)


def _attend_rows(rows: Tensor, x_BMC: Tensor, byte_mask: Tensor | None) -> tuple[Tensor, Tensor]:
    scores = rows @ x_BMC.transpose(1, 2)
    if byte_mask is None:
        weights, lse = _softmax_with_lse(scores)
        return weights @ x_BMC, lse
    any_present = byte_mask.any(dim=1)[:, None]
    attended = byte_mask | ~any_present
    weights, lse = _softmax_with_lse(scores.masked_fill(~attended[:, None], -torch.inf))
    attended_rows = (weights @ x_BMC) * any_present[..., None].to(weights.dtype)
    return attended_rows, lse.masked_fill(~any_present, -torch.inf)


def _softmax_with_lse(scores: Tensor) -> tuple[Tensor, Tensor]:
    return torch.softmax(scores, dim=-1), torch.logsumexp(scores, dim=-1)


def attention_scores(q_BHNE: Float[Tensor, "B H N E"], k_BHME: Float[Tensor, "B H M E"]) -> Float[Tensor, "B H N M"]:
    """Returns the scores before the softmax, q k^T / sqrt(E): what paper Fig. 3 shows."""
    scale: float = q_BHNE.shape[-1] ** -0.5
    return scale * (q_BHNE @ k_BHME.transpose(-1, -2))
