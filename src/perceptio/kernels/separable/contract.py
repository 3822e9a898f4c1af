"""What the core of separable cross-attention takes and gives; every backend computes this and nothing else.

Letters: B samples, R rows (latents of all heads), c sample channels, O outer and I inner places of a grid. A grid of
any number of axes is seen as one of two: token m stands at (o, i), and M = O I. With rows n, tokens m, P the softmax:

    score_nm = rho_m (q_n . u_m + outer[n, o] + inner[n, i])        P = softmax over the tokens that are present
    w_nm     = P_nm rho_m
    reads    : channels_n = sum_m w_nm u_m,  outer[n, o] = sum over i of w_nm,  inner[n, i] = sum over o of w_nm

Nothing of size R x M exists at any time, apart from a backend's working block. The derivation, with the gradients that
`Gradients` names, stands in docs/separable-attention.md.
"""

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from perceptio.shapes import Bool, Float, Tensor

BackendName = Literal["torch", "numba", "triton"]


@dataclass(frozen=True)
class Queries:
    """What the latents ask, the attention scale included. One sample's worth serves a batch that shares its latents.

    Attributes:
        channels: factors on a token's sample channels, (B or 1, R, c).
        outer: what each outer place adds to a score, (B or 1, R, O).
        inner: what each inner place adds, (B or 1, R, I).
    """

    channels: Float[Tensor, "_ R c"]
    outer: Float[Tensor, "_ R O"]
    inner: Float[Tensor, "_ R I"]


@dataclass(frozen=True)
class Tokens:
    """What a sample says at each place of the grid.

    Attributes:
        channels: sample channels u, channels first, (B, c, O, I).
        rho: factor of the layer norm, one over the token's standard deviation, (B, O, I).
        present: True where a token is present; None means all are. Channels and rho of absent tokens must be finite.
    """

    channels: Float[Tensor, "B c O I"]
    rho: Float[Tensor, "B O I"]
    present: Bool[Tensor, "B O I"] | None = None


@dataclass(frozen=True)
class Reads:
    """What the rows read, or the gradients of that.

    Attributes:
        channels: weighted sums of the sample channels, (B, R, c).
        outer: weight that fell on each outer place, (B, R, O).
        inner: weight that fell on each inner place, (B, R, I).
        lse: natural log-sum-exp of the scores, (B, R); -inf, with zeros in the others, where no token is present.
    """

    channels: Float[Tensor, "B R c"]
    outer: Float[Tensor, "B R O"]
    inner: Float[Tensor, "B R I"]
    lse: Float[Tensor, "B R"]


@runtime_checkable
class Backend(Protocol):
    """One way to compute the core; all tensors contiguous, of one floating-point type, on one device."""

    def attend(self, queries: Queries, tokens: Tokens) -> Reads:
        """Returns what the rows read."""

    def query_gradients(self, queries: Queries, tokens: Tokens, lse: Tensor, grads: Reads, delta: Tensor) -> Queries:
        """Returns the gradients of the queries, one per sample also where samples share them.

        Args:
            lse: as `attend` returned it, but +inf where no token is present.
            grads: gradients of channels, outer and inner; its `lse` is not read.
            delta: for each row what all its score gradients have in common, (B, R): sum of grads * reads - grad of lse.
        """

    def token_gradients(
        self, queries: Queries, tokens: Tokens, lse: Tensor, grads: Reads, delta: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Returns the gradients of `tokens.channels` and `tokens.rho`; arguments as in `query_gradients`."""
