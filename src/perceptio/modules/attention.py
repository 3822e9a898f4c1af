"""Multi-head attention with its layer norms and projections."""

from collections.abc import Mapping

from einops import rearrange
from torch import nn

from perceptio.kernels.attention import attend
from perceptio.modules.byte_view import ByteView
from perceptio.modules.initialisation import make_linear
from perceptio.modules.reading.choice import ReadingConfig, look, make_reader, plan_reading
from perceptio.modules.reading.contract import ByteProjections, Reader
from perceptio.modules.reading.cost import QueryShape, ReadingPlan
from perceptio.shapes import Float, Tensor


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
    layer norm each. `prepare` computes all that depends on the byte array alone, once for any number of iterations,
    by one of three methods that compute the same function (`modules.reading`).

    Args:
        input_channels: C.
        latent_channels: D.
        qk_channels: width of queries and keys, all heads together.
        v_channels: width of values, all heads together.
        num_latents: N, by which the cheapest method is chosen.
        reading: method and backend; by default the cheapest.
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
        num_latents: int,
        reading: ReadingConfig | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_head_widths("num_cross_attend_heads", num_heads, {"qk_channels": qk_channels, "v_channels": v_channels})
        self.num_heads = num_heads
        self.reading = reading or ReadingConfig()
        self.dropout = dropout
        self._query_shape = QueryShape(
            num_latents=num_latents, num_heads=num_heads, qk_channels=qk_channels, v_channels=v_channels
        )
        self.query_norm = nn.LayerNorm(latent_channels)
        self.byte_norm = nn.LayerNorm(input_channels)
        self.query = make_linear(latent_channels, qk_channels)
        self.key = make_linear(input_channels, qk_channels)
        self.value = make_linear(input_channels, v_channels)
        self.output = make_linear(v_channels, latent_channels)

    def prepare(self, view: ByteView) -> Reader:
        """Returns the byte array as these weights see it, for any number of iterations."""
        return make_reader(view, self.projections(), self._plan(view))

    def look(self, view: ByteView) -> None:
        """Computes what `prepare` will take from the view and other weights share."""
        look(view, self._plan(view))

    def _plan(self, view: ByteView) -> ReadingPlan:
        dropout = self.dropout if self.training else 0.0
        return plan_reading(view.byte_array, self._query_shape, self.reading, dropout=dropout)

    def projections(self) -> ByteProjections:
        """Returns keys and values as functions of normalised tokens: the layer norm's gain and bias are put into them.

        So the M x C part has no parameters and, for raw input, needs no gradient.
        """
        gain, shift = self.byte_norm.weight, self.byte_norm.bias
        # The softmax drops the key bias, and not all methods read it. Its gradient is zero, but it must be there:
        # without one, weight decay passes a parameter over and distributed training waits for it.
        no_effect = 0.0 * self.key.bias.sum()
        return ByteProjections(
            key_weight=self.key.weight * gain,
            key_bias=self.key.bias + self.key.weight @ shift,
            value_weight=self.value.weight * gain,
            value_bias=self.value.bias + self.value.weight @ shift + no_effect,
            num_heads=self.num_heads,
        )

    def forward(self, latents: Float[Tensor, "_ N D"], prepared: Reader) -> Float[Tensor, "B N D"]:
        """Returns what the latents read from the byte array; a sample with no byte present reads zeros.

        Latents that are the same for the whole batch may come once, with a first axis of length 1.
        """
        dropout = self.dropout if self.training else 0.0
        queries = self._queries(latents)
        # Some methods add up in float32, whatever they are given.
        attended = prepared.attend(queries, dropout).to(queries.dtype)
        output: Tensor = self.output(rearrange(attended, "B H N V -> B N (H V)"))
        return output

    def scores(self, latents: Float[Tensor, "_ N D"], prepared: Reader) -> Float[Tensor, "B H N M"]:
        """Returns the attention scores before the softmax. Pass only the latents that are wanted: the map is N x M."""
        return prepared.scores(self._queries(latents))

    def _queries(self, latents: Tensor) -> Tensor:
        return self._heads(self.query(self.query_norm(latents)))

    def _heads(self, projected: Tensor) -> Tensor:
        return rearrange(projected, "B N (H E) -> B H N E", H=self.num_heads)


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
        # Three products: one with the weights side by side costs their copying (benchmarks/latent_transformer.py).
        normalised = self.norm(latents)
        q, k, v = (
            rearrange(projection(normalised), "B N (H E) -> B H N E", H=self.num_heads)
            for projection in (self.query, self.key, self.value)
        )
        attended = attend(q, k, v, dropout=self.dropout if self.training else 0.0)
        output: Tensor = self.output(rearrange(attended, "B H N E -> B N (H E)"))
        return output
