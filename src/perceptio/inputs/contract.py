"""What every input has in common: a config that says how large it is, and a module that makes byte arrays."""

from typing import Protocol, runtime_checkable

from torch import nn

from perceptio.modules.byte_array import ByteArray
from perceptio.shapes import Bool, Int, Tensor


@runtime_checkable
class Input(Protocol):
    """A module that turns a batch of raw tensors of one modality into a byte array."""

    @property
    def input_channels(self) -> int:
        """Channels of the byte array: C."""

    def __call__(
        self, inputs: Tensor, extents: Int[Tensor, "B A"] | None = None, present: Bool[Tensor, " B"] | None = None
    ) -> ByteArray:
        """Returns the byte array of a batch.

        Args:
            inputs: (B, .., channels).
            extents: how much of each axis a sample fills where samples of different sizes are padded.
            present: False for samples that lack this modality: all their tokens are masked.
        """

    def token_axes(self, lengths: tuple[int, ...]) -> tuple[int, ...]:
        """Returns the tokens along each axis of raw tensors whose axes have these lengths."""

    def token_order(self) -> Int[Tensor, " M"] | None:
        """Returns which token of the input stands at each place of the byte array, or None when in order."""


@runtime_checkable
class InputConfig(Protocol):
    """The size of an input and how its tokens know where they stand. A frozen dataclass."""

    @property
    def num_tokens(self) -> int:
        """Tokens of a whole sample: M."""

    @property
    def input_channels(self) -> int:
        """Channels of a token with its position features: C."""

    @property
    def accepts_other_sizes(self) -> bool:
        """Whether samples may be larger or smaller than the config says."""

    def build(self) -> nn.Module:
        """Returns the `Input` of this config, with its first weights."""


@runtime_checkable
class StreamInputConfig(InputConfig, Protocol):
    """The config of an input whose samples are one array each."""

    @property
    def is_separable(self) -> bool:
        """Whether its tokens stand on a grid whose positions are tables per axis, as separable attention needs."""

    @property
    def raw_shape(self) -> tuple[tuple[int, ...], int]:
        """Lengths of the axes of a whole sample, and its channels."""
