"""Several modalities of one sample as one byte array, told apart by learned encodings (paper section 4.2)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, cast

import torch
from torch import nn

from perceptio.choices import check_choices
from perceptio.errors import UsageError
from perceptio.inputs.contract import Input, StreamInputConfig
from perceptio.inputs.grid import clear_absent
from perceptio.modules.byte_array import ByteArray, Segment
from perceptio.modules.initialisation import init_embedding
from perceptio.shapes import Bool, Int, Tensor

Absent = Literal["masked", "zeros"]
"""What stands for a modality that a sample lacks: nothing at all, or raw zeros, as in the paper's video dropout."""


def check_stream_names(names: Iterable[str]) -> None:
    """Raises UsageError for a name that PyTorch's containers cannot give to a part."""
    for name in names:
        if not name or "." in name or hasattr(nn.ModuleDict(), name) or hasattr(nn.ParameterDict(), name):
            raise UsageError(
                f"a stream cannot be called {name!r}: PyTorch's modules keep that name for themselves. Choose another "
                "name; in a table it is the column's"
            )


@dataclass(frozen=True)
class StreamsInputConfig:
    """The inputs of a sample by name.

    Attributes:
        streams: config of each modality, in the order in which their tokens stand.
        modality_channels: channels of the learned encoding of the widest modality; the others' are wider, so that all
            tokens have as many channels. The paper's is 4. A single modality has none.
        absent: what stands for a missing modality.
    """

    streams: Mapping[str, StreamInputConfig]
    modality_channels: int = 4
    absent: Absent = "masked"

    def __post_init__(self) -> None:
        check_choices(self)
        check_stream_names(self.streams)
        if not self.streams:
            raise ValueError("an input needs at least one stream, got none")
        if self.modality_channels < 1:
            raise ValueError(f"modality_channels must be at least 1, got {self.modality_channels}")

    @property
    def num_tokens(self) -> int:
        """Tokens of a sample that has all modalities: M."""
        return sum(config.num_tokens for config in self.streams.values())

    @property
    def input_channels(self) -> int:
        """Channels of every token: C."""
        widest = max(config.input_channels for config in self.streams.values())
        return widest if len(self.streams) == 1 else widest + self.modality_channels

    @property
    def accepts_other_sizes(self) -> bool:
        """Whether samples may be larger or smaller than the configs say."""
        return all(config.accepts_other_sizes for config in self.streams.values())

    def build(self) -> "StreamsInput":
        """Returns the module, with its first weights."""
        return StreamsInput(self)


class StreamsInput(nn.Module):
    """Turns a batch of samples with named modalities into one byte array.

    A modality that the whole batch lacks may be left out of the mapping.
    """

    def __init__(self, config: StreamsInputConfig) -> None:
        super().__init__()
        self.config = config
        self.streams = nn.ModuleDict({name: stream.build() for name, stream in config.streams.items()})
        self.encodings = nn.ParameterDict()
        if len(config.streams) > 1:
            for name, stream in config.streams.items():
                encoding = torch.empty(config.input_channels - stream.input_channels)
                init_embedding(encoding, 0.02)
                self.encodings[name] = nn.Parameter(encoding)

    @property
    def input_channels(self) -> int:
        """Channels of the byte array: C."""
        return self.config.input_channels

    def forward(
        self,
        inputs: Mapping[str, Tensor],
        extents: Mapping[str, Int[Tensor, "B _"]] | None = None,
        present: Mapping[str, Bool[Tensor, " B"]] | None = None,
    ) -> ByteArray:
        """Returns the byte array of a batch.

        Args:
            inputs: raw tensors by name, each (B, .., channels).
            extents: by name, as each input takes it; a name that is missing fills its grid.
            present: by name, False for samples that lack this modality; a name that is missing is there in all.

        Raises:
            ValueError: on an unknown name, or when no modality is given.
        """
        if not isinstance(inputs, Mapping):
            raise ValueError(
                f"a model of streams expects its inputs by name, such as {{{next(iter(self.streams))!r}: tensor}}, got "
                f"{type(inputs).__name__}"
            )
        extents, present = extents or {}, present or {}
        for name in (*inputs, *extents, *present):
            if name not in self.streams:
                raise ValueError(f"unknown stream {name!r}; this model has {', '.join(self.streams)}")
        if not inputs:
            raise ValueError(f"no stream is given; this model has {', '.join(self.streams)}")
        segments: list[Segment] = []
        for name in self.streams:
            if name in inputs:
                segments += self._segments(name, inputs[name], extents.get(name), present.get(name))
            elif self.config.absent == "zeros":
                segments += self._segments(name, self._nothing(name, next(iter(inputs.values()))), None, None)
        left_out = [] if self.config.absent == "zeros" else [name for name in self.streams if name not in inputs]
        if left_out and torch.is_grad_enabled():
            segments[0] = self._with_zero_gradients(segments[0], left_out)
        return ByteArray(segments=tuple(segments))

    def stream(self, name: str) -> Input:
        """Returns the input of one modality."""
        return cast(Input, self.streams[name])

    def _segments(
        self, name: str, values: Tensor, extents: Tensor | None, present: Tensor | None
    ) -> tuple[Segment, ...]:
        if self.config.absent == "zeros" and present is not None:
            values = clear_absent(values, present)
            present = None
        made = self.stream(name)(values, extents, present)
        if name not in self.encodings:
            return made.segments
        return tuple(replace(segment, encoding=self.encodings[name]) for segment in made.segments)

    def _with_zero_gradients(self, segment: Segment, left_out: Sequence[str]) -> Segment:
        """Returns the segment, through which the weights of streams that the batch lacks get gradients of zero.

        As they do where the stream is masked: an optimizer, and processes that average gradients, expect one for each.
        """
        assert segment.encoding is not None, "of several streams each has one"
        unused = [self.encodings[name] for name in left_out]
        unused += [parameter for name in left_out for parameter in self.streams[name].parameters()]
        nothing = torch.stack([parameter.sum() for parameter in unused]).sum() * 0.0
        return replace(segment, encoding=segment.encoding + nothing)

    def _nothing(self, name: str, other: Tensor) -> Tensor:
        axes, channels = self.config.streams[name].raw_shape
        return other.new_zeros(len(other), *axes, channels)
