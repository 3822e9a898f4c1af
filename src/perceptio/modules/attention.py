"""Multi-head attention with its layer norms and projections."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import nn
from torch.nn import functional

from perceptio.kernels.attention import attend, attention_scores
from perceptio.modules.byte_array import ByteArray
from perceptio.modules.initialisation import make_linear
from perceptio.shapes import Bool, Float, Tensor

LAYER_NORM_EPS = 1e-5


class ByteView:
    """A byte array as all cross-attends of one forward pass look at it: what they share is computed once, when asked.

    A cross-attend asks for what its way of attending needs. The textbook way needs the normalised matrix; others can
    work from the byte array's structure and never ask for it.
    """

    def __init__(self, byte_array: ByteArray) -> None:
        self.byte_array = byte_array
        self._normalised: Tensor | None = None

    def normalised(self) -> Float[Tensor, "B M C"]:
        """Returns each token with mean 0 and variance 1: layer norm without gain and bias."""
        if self._normalised is None:
            channels = self.byte_array.num_channels
            self._normalised = functional.layer_norm(self.byte_array.dense(), (channels,), eps=LAYER_NORM_EPS)
        return self._normalised


@dataclass(frozen=True)
class KeysValues:
    """A byte array as one set of cross-attention weights sees it, for any number of queries."""

    k_BHME: Float[Tensor, "B H M E"]
    v_BHMV: Float[Tensor, "B H M V"]
    byte_mask: Bool[Tensor, "B M"] | None

    def attend(self, q_BHNE: Float[Tensor, "B H N E"], dropout: float) -> Float[Tensor, "B H N V"]:
        """Returns what the queries read."""
        return attend(q_BHNE, self.k_BHME, self.v_BHMV, self.byte_mask, dropout)

    def scores(self, q_BHNE: Float[Tensor, "B H N E"]) -> Float[Tensor, "B H N M"]:
        """Returns the attention scores before the softmax."""
        return attention_scores(q_BHNE, self.k_BHME)


def check_head_widths(heads_name: str, num_heads: int, widths: Mapping[str, int]) -> None:
    """Raises ValueError when the heads do not divide a width evenly."""
    for name, width in widths.items():
        if width % num_heads != 0:
            raise ValueError(
                f"{heads_name} must divide {name}: got {num_heads} and {width}. "
                f"Use 1 head, or set {name}={-(-width // num_heads) * num_heads}."
            )


class CrossAttention(nn.Module):
    """Latents (N x D) attend to a byte array (M x C): LN, q | LN, k, v | softmax(q k^T / sqrt(E)) v | output.

    Paper App. C: queries, keys and values are min(C, D) wide, every projection has a bias, and the two inputs have a
    layer norm each. `prepare` computes all that depends on the byte array alone, once for any number of iterations.

    Args:
        input_channels: C.
        latent_channels: D.
        qk_channels: width of queries and keys, all heads together.
        v_channels: width of values, all heads together.
        dropout: share of attention weights dropped in training.

    Raises:
        ValueError: when `num_heads` does not divide a width.
    """

    def __init__(
        self,
        input_channels: int,
        latent_channels: int,
        *,
        num_heads: int,
        qk_channels: int,
        v_channels: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_head_widths("num_cross_attend_heads", num_heads, {"qk_channels": qk_channels, "v_channels": v_channels})
        self.num_heads = num_heads
        self.dropout = dropout
        self.query_norm = nn.LayerNorm(latent_channels)
        self.byte_norm = nn.LayerNorm(input_channels)
        self.query = make_linear(latent_channels, qk_channels)
        self.key = make_linear(input_channels, qk_channels)
        self.value = make_linear(input_channels, v_channels)
        self.output = make_linear(v_channels, latent_channels)

    def prepare(self, view: ByteView) -> KeysValues:
        """Returns keys and values.

        The layer norm's gain g and bias b go into the projections: W (g x + b) + c = (W g) x + (W b + c). So the
        M x C part has no parameters and, for raw input, needs no gradient; one product makes keys and values.
        """
        weight = torch.cat([self.key.weight, self.value.weight])
        bias = torch.cat([self.key.bias, self.value.bias]) + weight @ self.byte_norm.bias
        projected = functional.linear(view.normalised(), weight * self.byte_norm.weight, bias)
        keys, values = torch.split(projected, [self.key.out_features, self.value.out_features], dim=-1)
        return KeysValues(self._heads(keys), self._heads(values), view.byte_array.mask())

    def forward(self, latents: Float[Tensor, "B N D"], prepared: KeysValues) -> Float[Tensor, "B N D"]:
        """Returns what the latents read from the byte array; a sample with no byte present reads zeros."""
        q_BHNE = self._heads(self.query(self.query_norm(latents)))
        dropout = self.dropout if self.training else 0.0
        attended = prepared.attend(q_BHNE, dropout)
        output: Tensor = self.output(rearrange(attended, "B H N V -> B N (H V)"))
        return output

    def scores(self, latents: Float[Tensor, "B N D"], prepared: KeysValues) -> Float[Tensor, "B H N M"]:
        """Returns the attention scores before the softmax. Pass only the latents that are wanted: the map is N x M."""
        return prepared.scores(self._heads(self.query(self.query_norm(latents))))

    def _heads(self, projected: Tensor) -> Tensor:
        return rearrange(projected, "B L (H E) -> B H L E", H=self.num_heads)


class SelfAttention(nn.Module):
    """Latents attend to each other: LN, then q, k, v, output, all D wide and with bias.

    Raises:
        ValueError: when `num_heads` does not divide D.
    """

    def __init__(self, latent_channels: int, *, num_heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        check_head_widths("num_self_attend_heads", num_heads, {"latent_channels": latent_channels})
        self.num_heads = num_heads
        self.dropout = dropout
        self.norm = nn.LayerNorm(latent_channels)
        self.query = make_linear(latent_channels, latent_channels)
        self.key = make_linear(latent_channels, latent_channels)
        self.value = make_linear(latent_channels, latent_channels)
        self.output = make_linear(latent_channels, latent_channels)

    def forward(self, latents: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
        """Returns what each latent reads from all."""
        projections = (self.query, self.key, self.value)
        projected = functional.linear(
            self.norm(latents),
            torch.cat([projection.weight for projection in projections]),
            torch.cat([projection.bias for projection in projections]),
        )
        q, k, v = rearrange(projected, "B N (three H E) -> three B H N E", three=3, H=self.num_heads)
        attended = attend(q, k, v, dropout=self.dropout if self.training else 0.0)
        output: Tensor = self.output(rearrange(attended, "B H N E -> B N (H E)"))
        return output
