"""Grids of any number of axes as byte arrays: audio (1), images (2), video and volumes (3), or any array."""

import math
from dataclasses import dataclass, field, fields
from typing import Literal

import torch
from torch import nn
from torch.nn import functional

from perceptio.choices import check_choices
from perceptio.modules.byte_array import ByteArray, GridPositions, Segment, TokenPositions
from perceptio.modules.position_encoding import FourierGridPositions, LearnedPositions
from perceptio.randomness import generator
from perceptio.shapes import Bool, Float, Int, Tensor

MIN_CHANNELS_WITHOUT_POSITIONS = 3


@dataclass(frozen=True, kw_only=True)
class GridEncoding:
    """How the places of a grid become tokens that know where they stand. Defaults are the paper's (section 3.2)."""

    patch: tuple[int, ...] = ()
    """Samples along each axis that make one token; empty: each sample is a token."""
    positions: Literal["fourier", "learned", "none"] = "fourier"
    """How a token knows where it stands."""
    num_bands: int = 64
    """Fourier frequency bands per axis (K)."""
    max_frequency: tuple[float, ...] = ()
    """Highest band per axis (mu / 2); empty: half the number of tokens along the axis, the Nyquist frequency."""
    include_positions: bool = True
    """Whether raw positions stand beside their Fourier features."""
    learned_channels: int = 128
    """Channels of a learned encoding."""
    learned_init_std: float = 1.0
    """Standard deviation that a learned encoding starts from."""
    permutation_seed: int | None = None
    """Seed of one fixed shuffle of the tokens, positions attached (paper Tab. 2); None leaves them in order."""

    def __post_init__(self) -> None:
        check_choices(self)
        for name in ("patch", "max_frequency"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.num_bands < 1 or self.learned_channels < 1:
            raise ValueError(
                f"num_bands and learned_channels must be at least 1, got {self.num_bands} and {self.learned_channels}"
            )
        if any(size < 1 for size in self.patch):
            raise ValueError(f"patch must be at least 1 along every axis, got {self.patch}")
        if not all(0.0 < top < math.inf for top in self.max_frequency):
            raise ValueError(f"max_frequency must be finite and greater than 0 on every axis, got {self.max_frequency}")
        if not 0.0 < self.learned_init_std < math.inf:
            raise ValueError(
                f"learned_init_std must be finite and greater than 0, got {self.learned_init_std}. The paper takes 1.0"
            )
        belongs = {
            "num_bands": "fourier",
            "max_frequency": "fourier",
            "include_positions": "fourier",
            "learned_channels": "learned",
            "learned_init_std": "learned",
        }
        defaults = {field.name: field.default for field in fields(self)}
        for name, kind in belongs.items():
            if self.positions != kind and getattr(self, name) != defaults[name]:
                raise ValueError(
                    f"{name} has no effect with positions={self.positions!r}; leave it at its default, {defaults[name]}"
                )


@dataclass(frozen=True, kw_only=True)
class GridInputConfig:
    """A grid of a certain size and its encoding."""

    axes: tuple[int, ...]
    """Length of each axis in samples: rows and columns of an image; frames, rows and columns of a video."""
    channels: int
    """Values at each place of the grid, such as 3 for red, green and blue; they stand last."""
    encoding: GridEncoding = field(default_factory=GridEncoding)

    def __post_init__(self) -> None:
        object.__setattr__(self, "axes", tuple(self.axes))
        encoding = self.encoding
        if not self.axes or min(self.axes) < 1 or self.channels < 1:
            raise ValueError(
                f"a grid needs axes and channels of at least 1, got axes {self.axes} and {self.channels} channels"
            )
        for name, per_axis in (("patch", encoding.patch), ("max_frequency", encoding.max_frequency)):
            if per_axis and len(per_axis) != len(self.axes):
                raise ValueError(f"{name} needs one value for each of the {len(self.axes)} axes, got {per_axis}")
        if any(length % size for length, size in zip(self.axes, self.patch, strict=True)):
            raise ValueError(f"patch must divide the axes: got patch {self.patch} and axes {self.axes}")
        if encoding.positions == "none" and self.token_channels < MIN_CHANNELS_WITHOUT_POSITIONS:
            raise ValueError(
                f"a token needs {MIN_CHANNELS_WITHOUT_POSITIONS} channels when it has no position encoding: "
                f"got {self.token_channels}, and layer norm over so few leaves little of the input. "
                "Set positions='fourier', or a larger patch."
            )

    @property
    def patch(self) -> tuple[int, ...]:
        """The patch with one entry per axis."""
        return self.encoding.patch or (1,) * len(self.axes)

    @property
    def token_axes(self) -> tuple[int, ...]:
        """Tokens along each axis."""
        return tuple(length // size for length, size in zip(self.axes, self.patch, strict=True))

    @property
    def num_tokens(self) -> int:
        """Tokens of a whole grid: M."""
        return math.prod(self.token_axes)

    @property
    def token_channels(self) -> int:
        """Sample channels of a token: the values of its patch."""
        return math.prod(self.patch) * self.channels

    @property
    def input_channels(self) -> int:
        """Channels of a token with its position features: C."""
        per_axis = 2 * self.encoding.num_bands + int(self.encoding.include_positions)
        position_channels = {
            "fourier": len(self.axes) * per_axis,
            "learned": self.encoding.learned_channels,
            "none": 0,
        }
        return self.token_channels + position_channels[self.encoding.positions]

    @property
    def raw_shape(self) -> tuple[tuple[int, ...], int]:
        """Lengths of the axes of a whole sample, and its channels."""
        return self.axes, self.channels

    @property
    def is_separable(self) -> bool:
        """Whether positions are tables per axis: Fourier features are."""
        return self.encoding.positions == "fourier"

    @property
    def accepts_other_sizes(self) -> bool:
        """Whether grids may be larger or smaller than `axes`: not with learned or permuted positions."""
        return self.encoding.positions != "learned" and self.encoding.permutation_seed is None

    def build(self) -> "GridInput":
        """Returns the module, with its first weights."""
        return GridInput(self)


class GridInput(nn.Module):
    """Turns a batch of grids, channels last, into a byte array."""

    def __init__(self, config: GridInputConfig) -> None:
        super().__init__()
        self.config = config
        self.positions: FourierGridPositions | LearnedPositions | None = None
        encoding = config.encoding
        if encoding.positions == "fourier":
            nyquist = tuple(length / 2 for length in config.token_axes)
            self.positions = FourierGridPositions(
                encoding.max_frequency or nyquist,
                num_bands=encoding.num_bands,
                include_positions=encoding.include_positions,
            )
        elif encoding.positions == "learned":
            self.positions = LearnedPositions(
                config.num_tokens, encoding.learned_channels, init_std=encoding.learned_init_std
            )

    @property
    def input_channels(self) -> int:
        """Channels of the byte array: C."""
        return self.config.input_channels

    def forward(
        self,
        inputs: Float[Tensor, "B *axes channels"],
        extents: Int[Tensor, "B A"] | None = None,
        present: Bool[Tensor, " B"] | None = None,
    ) -> ByteArray:
        """Returns the byte array of a batch.

        Args:
            inputs: values, channels last. Axes may be longer or shorter than the config's, unless positions are
                learned or permuted.
            extents: how many places of each axis a sample fills when samples of different sizes are padded to one
                grid; its positions run from -1 to 1 over its own extent and the rest is masked, or zero where a
                patch reaches across the border. None: all of them.
            present: False for samples that have no such grid: all their tokens are masked, whatever `inputs` holds for
                them. None: all have one.

        Raises:
            ValueError: on another number of axes or channels, axes that do not fit, values that are no floating-point
                numbers, or extents that reach out of the grid (on a CPU; looking would hold a GPU up).
        """
        self._check(inputs, padded=extents is not None)
        check_parts(inputs, extents, present)
        if present is not None:
            inputs = clear_absent(inputs, present)
        if extents is not None:
            inputs = clear_outside(pad_to_patches(inputs, self.config.patch), extents)
        token_axes = self.token_axes(tuple(inputs.shape[1:-1]))
        token_extents = None
        if extents is not None:
            sizes = torch.tensor(self.config.patch, device=extents.device)
            token_extents = (extents + sizes - 1) // sizes
        order = self.token_order()
        segment = Segment(
            channels=split_patches(inputs, self.config.patch),
            positions=self._positions_of(token_axes, token_extents, inputs),
            mask=token_mask(token_extents, present, token_axes),
            order=None if order is None else order.to(inputs.device),
        )
        return ByteArray(segments=(segment,))

    def token_axes(self, lengths: tuple[int, ...]) -> tuple[int, ...]:
        """Returns the tokens along each axis of grids whose axes have these lengths."""
        return tuple(-(-length // size) for length, size in zip(lengths, self.config.patch, strict=True))

    def token_order(self) -> Int[Tensor, " M"] | None:
        """Returns which token of the grid stands at each place of the byte array, or None when in order."""
        if self.config.encoding.permutation_seed is None:
            return None
        return permutation(self.config.num_tokens, self.config.encoding.permutation_seed)

    def _positions_of(
        self, token_axes: tuple[int, ...], extents: Tensor | None, inputs: Tensor
    ) -> GridPositions | TokenPositions | None:
        if isinstance(self.positions, FourierGridPositions):
            exact = torch.float64 if inputs.dtype == torch.float64 else torch.float32
            tables: GridPositions = self.positions(token_axes, extents, device=inputs.device, dtype=exact)
            return tables
        if self.positions is None:
            return None
        learned: TokenPositions = self.positions()
        return learned

    def _check(self, inputs: Tensor, *, padded: bool) -> None:
        config, shape = self.config, tuple(inputs.shape)
        expected = f"(B, {', '.join(map(str, config.axes))}, {config.channels})"
        if len(shape) != len(config.axes) + 2 or shape[-1] != config.channels:
            raise ValueError(f"GridInput expects {expected}, got {shape}. Channels come last.")
        if not config.accepts_other_sizes and shape[1:-1] != config.axes:
            why = "learned positions" if config.encoding.positions == "learned" else "a fixed permutation"
            raise ValueError(f"GridInput with {why} expects exactly {expected}, got {shape}.")
        if not padded and any(length % size for length, size in zip(shape[1:-1], config.patch, strict=True)):
            raise ValueError(f"GridInput expects axes that patch {config.patch} divides, got {shape}.")


def check_parts(inputs: Tensor, extents: Tensor | None, present: Tensor | None) -> None:
    """Checks values, extents and presence of a batch (B, *axes, channels) against each other.

    Raises:
        ValueError: naming what does not fit.
    """
    batch, lengths = len(inputs), tuple(inputs.shape[1:-1])
    if not inputs.is_floating_point():
        raise ValueError(f"an input must be floating-point and standardised, got {inputs.dtype}")
    if present is not None and (present.shape != (batch,) or present.dtype != torch.bool):
        raise ValueError(f"present must be ({batch},) of bool, got {tuple(present.shape)} of {present.dtype}")
    if extents is None:
        return
    if extents.shape != (batch, len(lengths)):
        raise ValueError(f"extents must be ({batch}, {len(lengths)}), got {tuple(extents.shape)}")
    if extents.device.type == "cpu" and not torch.compiler.is_compiling() and extents.numel() > 0:
        most = torch.tensor(lengths)
        if bool(((extents < 0) | (extents > most)).any()):
            raise ValueError(f"extents must lie between 0 and {lengths}, got {extents.tolist()}")


def split_patches(inputs: Float[Tensor, "B *axes channels"], patch: tuple[int, ...]) -> Float[Tensor, "B M _"]:
    """Returns one token per patch, its values in the order (places of the patch, channels), last axis fastest."""
    batch, *lengths, channels = inputs.shape
    num_axes = len(lengths)
    split = [part for length, size in zip(lengths, patch, strict=True) for part in (length // size, size)]
    tokens_first = [1 + 2 * axis for axis in range(num_axes)] + [2 + 2 * axis for axis in range(num_axes)]
    patches = inputs.reshape(batch, *split, channels).permute(0, *tokens_first, 1 + 2 * num_axes)
    num_tokens = math.prod([length // size for length, size in zip(lengths, patch, strict=True)])
    return patches.reshape(batch, num_tokens, math.prod(patch) * channels)


def pad_to_patches(
    inputs: Float[Tensor, "B *axes channels"], patch: tuple[int, ...]
) -> Float[Tensor, "B *padded channels"]:
    """Returns the grid with each axis lengthened by zeros to whole patches."""
    missing = [-length % size for length, size in zip(inputs.shape[1:-1], patch, strict=True)]
    # `pad` counts from the last dimension: nothing for the channels, then (before, after) of each axis.
    return functional.pad(inputs, [0, 0, *(part for end in reversed(missing) for part in (0, end))])


def clear_outside(
    inputs: Float[Tensor, "B *axes channels"], extents: Int[Tensor, "B A"]
) -> Float[Tensor, "B *axes channels"]:
    """Returns zeros past each sample's extent: a patch that crosses the border must not see what stands there."""
    inside = extent_mask(extents, tuple(inputs.shape[1:-1])).reshape(*inputs.shape[:-1], 1)
    return torch.where(inside, inputs, torch.zeros_like(inputs))


def clear_absent(inputs: Float[Tensor, "B axis *axes"], present: Bool[Tensor, " B"]) -> Float[Tensor, "B axis *axes"]:
    """Returns zeros for absent samples: a value that is not finite would survive an attention weight of zero."""
    return torch.where(present.reshape(-1, *[1] * (inputs.ndim - 1)), inputs, torch.zeros_like(inputs))


def extent_mask(extents: Int[Tensor, "B A"], lengths: tuple[int, ...]) -> Bool[Tensor, "B M"]:
    """Returns True at the places of a padded grid that lie inside each sample's extent."""
    mask = torch.ones(len(extents), *([1] * len(lengths)), dtype=torch.bool, device=extents.device)
    for axis, length in enumerate(lengths):
        inside = torch.arange(length, device=extents.device) < extents[:, axis, None]
        shape = [len(extents), *([1] * len(lengths))]
        shape[1 + axis] = length
        mask = mask & inside.reshape(shape)
    return mask.flatten(1)


def token_mask(
    extents: Int[Tensor, "B A"] | None, present: Bool[Tensor, " B"] | None, lengths: tuple[int, ...]
) -> Bool[Tensor, "B M"] | None:
    """Returns True for the tokens that samples have, or None when all have all of a grid of `lengths` tokens."""
    inside = None if extents is None else extent_mask(extents, lengths)
    if present is None:
        return inside
    whole = present[:, None].expand(-1, math.prod(lengths))
    return whole if inside is None else inside & whole


def permutation(num_tokens: int, seed: int) -> Int[Tensor, " M"]:
    """Returns one fixed shuffled order of tokens."""
    return torch.from_numpy(generator(seed, "permute tokens").permutation(num_tokens))
