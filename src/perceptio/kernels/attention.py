"""Softmax attention on projected queries, keys and values."""

from torch.nn import functional

from perceptio.shapes import Bool, Float, Tensor


def attend(
    q_BHNE: Float[Tensor, "B H N E"],
    k_BHME: Float[Tensor, "B H M E"],
    v_BHMV: Float[Tensor, "B H M V"],
    byte_mask: Bool[Tensor, "B M"] | None = None,
    dropout: float = 0.0,
) -> Float[Tensor, "B H N V"]:
    """Returns softmax(q k^T / sqrt(E)) v over the M bytes that are present.

    Args:
        byte_mask: True where a byte is present; None means all are. A sample with no byte present gets zeros, not
            NaN, as in the official code's `attend`.
        dropout: share of attention weights set to zero; the caller passes 0.0 outside training.
    """
    if byte_mask is None:
        return functional.scaled_dot_product_attention(q_BHNE, k_BHME, v_BHMV, dropout_p=dropout)
    any_present = byte_mask.any(dim=1, keepdim=True)
    # A softmax over nothing is 0/0. Such samples attend everything, and their result is then dropped: the product
    # with zero, unlike the NaN, has a gradient of zero.
    attended_mask = (byte_mask | ~any_present)[:, None, None, :]
    attended = functional.scaled_dot_product_attention(
        q_BHNE, k_BHME, v_BHMV, attn_mask=attended_mask, dropout_p=dropout
    )
    return attended * any_present[:, None, :, None].to(attended.dtype)


def attention_scores(q_BHNE: Float[Tensor, "B H N E"], k_BHME: Float[Tensor, "B H M E"]) -> Float[Tensor, "B H N M"]:
    """Returns the scores before the softmax, q k^T / sqrt(E): what paper Fig. 3 shows."""
    scale: float = q_BHNE.shape[-1] ** -0.5
    return scale * (q_BHNE @ k_BHME.transpose(-1, -2))
