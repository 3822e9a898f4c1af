"""The two layers of the Perceiver, each attention and a feed-forward part around residuals (paper App. C)."""

from torch import nn

from perceptio.modules.attention import CrossAttention, SelfAttention
from perceptio.modules.byte_view import ByteView
from perceptio.modules.feed_forward import FeedForward, GeluKind
from perceptio.modules.reading.contract import Reader
from perceptio.shapes import Float, Tensor


class CrossAttend(nn.Module):
    """x = z + Attention(z, bytes); x + FeedForward(LN(x)). The only part that sees the byte array."""

    def __init__(
        self,
        attention: CrossAttention,
        latent_channels: int,
        *,
        widening_factor: int,
        gelu: GeluKind,
        dropout: float,
    ) -> None:
        super().__init__()
        self.attention = attention
        self.feed_forward_norm = nn.LayerNorm(latent_channels)
        self.feed_forward = FeedForward(latent_channels, widening_factor=widening_factor, gelu=gelu)
        self.dropout = nn.Dropout(dropout)

    def prepare(self, view: ByteView) -> Reader:
        """Returns what depends on the byte array alone, to be computed once for all iterations that share weights."""
        return self.attention.prepare(view)

    def read(self, latents: Float[Tensor, "_ N D"], view: ByteView) -> Float[Tensor, "B N D"]:
        """Returns the latents updated by a byte array that nothing else with these weights will read."""
        updated: Tensor = self(latents, self.prepare(view))
        return updated

    def forward(self, latents: Float[Tensor, "_ N D"], prepared: Reader) -> Float[Tensor, "B N D"]:
        """Returns the latents updated by the byte array; latents that a batch shares may come once."""
        latents = latents + self.dropout(self.attention(latents, prepared))
        updated: Tensor = latents + self.dropout(self.feed_forward(self.feed_forward_norm(latents)))
        return updated


class SelfAttend(nn.Module):
    """x = z + Attention(z, z); x + FeedForward(LN(x)): one layer of the latent transformer."""

    def __init__(
        self,
        attention: SelfAttention,
        latent_channels: int,
        *,
        widening_factor: int,
        gelu: GeluKind,
        dropout: float,
    ) -> None:
        super().__init__()
        self.attention = attention
        self.feed_forward_norm = nn.LayerNorm(latent_channels)
        self.feed_forward = FeedForward(latent_channels, widening_factor=widening_factor, gelu=gelu)
        self.dropout = nn.Dropout(dropout)

    def forward(self, latents: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
        """Returns the latents updated by each other."""
        latents = latents + self.dropout(self.attention(latents))
        updated: Tensor = latents + self.dropout(self.feed_forward(self.feed_forward_norm(latents)))
        return updated


class LatentTransformer(nn.Sequential):
    """A stack of `SelfAttend` layers (paper section 3.1)."""

    def __init__(self, *layers: SelfAttend) -> None:
        super().__init__(*layers)
