"""Ways for latents to read a byte array. All compute the same function; docs/separable-attention.md derives them."""

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from perceptio.shapes import Float, Tensor

Method = Literal["projected", "folded", "separable"]
MethodChoice = Literal["auto", "projected", "folded", "separable"]


@dataclass(frozen=True)
class ByteProjections:
    """Keys and values as linear functions of a token's normalised channels, the layer norm's gain and bias included.

    W (g x + b) + c = (W g) x + (W b + c): so what is computed from the byte array alone has no parameters.

    Attributes:
        key_weight, key_bias: of all heads, (F, C) and (F,).
        value_weight, value_bias: the same for values.
    """

    key_weight: Float[Tensor, "F C"]
    key_bias: Float[Tensor, " F"]
    value_weight: Float[Tensor, "V C"]
    value_bias: Float[Tensor, " V"]
    num_heads: int


def centred(weight: Float[Tensor, "F C"]) -> Float[Tensor, "F C"]:
    """Returns a weight whose rows sum to zero.

    Of normalised tokens, whose channels sum to zero, it makes the same as before; from others it takes the mean.
    """
    return weight - weight.mean(dim=1, keepdim=True)


@runtime_checkable
class Reader(Protocol):
    """A byte array as one set of cross-attention weights sees it, for any number of queries."""

    def attend(self, q_BHNE: Float[Tensor, "_ H N E"], dropout: float) -> Float[Tensor, "B H N V"]:
        """Returns what the queries read; one sample's worth of queries may serve the whole batch.

        Args:
            dropout: share of attention weights set to zero. Only the textbook way has weights to drop: the others are
                not chosen in training when it is above 0.
        """

    def scores(self, q_BHNE: Float[Tensor, "_ H N E"]) -> Float[Tensor, "B H N M"]:
        """Returns the attention scores before the softmax, in the order of the dense byte array."""
