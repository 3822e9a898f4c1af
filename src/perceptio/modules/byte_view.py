"""A byte array as all cross-attends of one forward pass look at it."""

from torch.nn import functional

from perceptio.modules.byte_array import ByteArray
from perceptio.modules.grid_tokens import GridTokens, grid_tokens
from perceptio.shapes import Float, Tensor

LAYER_NORM_EPS = 1e-5


class ByteView:
    """What cross-attends share, whatever their weights, is computed once, when the first one asks.

    The textbook way and the folded one need the normalised matrix; the separable one works from the byte array's
    structure and never asks for it.
    """

    def __init__(self, byte_array: ByteArray) -> None:
        self.byte_array = byte_array
        self._normalised: Tensor | None = None
        self._grids: dict[int, GridTokens] = {}
        self._without: dict[tuple[int, ...], ByteView | None] = {}

    def normalised(self) -> Float[Tensor, "B M C"]:
        """Returns each token with mean 0 and variance 1: layer norm without gain and bias."""
        if self._normalised is None:
            self._normalised = _normalise(self.byte_array)
        return self._normalised

    def grid(self, number: int) -> GridTokens:
        """Returns a segment's tokens with their layer norm factors, channels not yet normalised."""
        if number not in self._grids:
            self._grids[number] = grid_tokens(self.byte_array.segments[number], LAYER_NORM_EPS)
        return self._grids[number]

    def without(self, numbers: tuple[int, ...]) -> "ByteView | None":
        """Returns a view of the other segments, or None when there are none."""
        if numbers not in self._without:
            others = tuple(segment for n, segment in enumerate(self.byte_array.segments) if n not in numbers)
            self._without[numbers] = ByteView(ByteArray(segments=others)) if others else None
        return self._without[numbers]


def _normalise(byte_array: ByteArray) -> Tensor:
    return functional.layer_norm(byte_array.dense(), (byte_array.num_channels,), eps=LAYER_NORM_EPS)
