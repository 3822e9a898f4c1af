"""Arrays of any number of axes, channels last: signals, pictures with many bands, volumes and beyond."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import ClassVar

import numpy as np
import torch

from perceptio.data.array_files import MAX_ARRAY_AXES, read_array, read_array_header
from perceptio.data.items import File, Item
from perceptio.data.limits import Limits
from perceptio.errors import FileError, UsageError
from perceptio.inputs.grid import GridEncoding, GridInputConfig
from perceptio.modalities.contract import Candidate, Facts, Modality
from perceptio.modalities.side_by_side import beside, maps_beside
from perceptio.shapes import Tensor

SHOWN_SLICES = 6
TOKEN_BUDGETS = (256, 1024, 4096, 16_384)
_SAMPLED_VALUES = 65_536
# More channels than sensors, colours or bands usually are: an axis so long may as well be one of places.
_MANY_CHANNELS = 16


@dataclass(frozen=True)
class _Array:
    """One array, (*axes, channels)."""

    modality: "ArrayModality"
    values: np.ndarray

    @property
    def seconds(self) -> None:
        """Nothing: what an axis means is not known."""
        return None

    def view(self, start: float, random: np.random.Generator | None) -> np.ndarray:
        """Returns a window of at most the modality's size: anywhere if `random` draws it, else from the middle."""
        window = []
        for length, wanted in zip(self.values.shape[:-1], self.modality.axes, strict=True):
            spare = max(0, length - wanted)
            first = spare // 2 if random is None else int(random.integers(spare + 1))
            window.append(slice(first, first + min(length, wanted)))
        return np.ascontiguousarray(self.values[tuple(window)])

    def close(self) -> None:
        """Does nothing: the array is in memory."""


@dataclass(frozen=True, kw_only=True)
class ArrayModality(Modality):
    """Arrays of numbers. An array larger than `axes` is cut to a window of that size; a smaller one stays as it is."""

    kind: ClassVar[str] = "array"
    suffixes: ClassVar[frozenset[str]] = frozenset({".npy", ".npz"})
    blends: ClassVar[bool] = True
    layout_fields: ClassVar[tuple[str, ...]] = ("channels_last", "axis_names")

    axes: tuple[int, ...] = (256,)
    """Length of each axis that the model sees at most, without the channels."""
    channels: int = 1
    """Values at each place: the length of the last axis, or 1 where all axes are places."""
    channels_last: bool = True
    """Whether the last axis holds channels. False: all axes are places, with one value each. An array of a single
    axis has no channels in any case."""
    axis_names: tuple[str, ...] = ()
    """Names that files must give their axes, the channels' among them; empty: any."""
    mean: tuple[float, ...] = (0.0,)
    """What is taken off each channel; one value for all, or one each."""
    std: tuple[float, ...] = (1.0,)
    """What each channel is then divided by; one value for all, or one each."""
    encoding: GridEncoding = field(default_factory=GridEncoding)
    """How places become tokens that know where they stand."""

    def __post_init__(self) -> None:
        if not 1 <= len(self.axes) <= MAX_ARRAY_AXES or min(self.axes) < 1 or self.channels < 1:
            raise UsageError(
                f"axes must be 1 to {MAX_ARRAY_AXES} lengths and channels a number, all at least 1: got {self.axes} "
                f"and {self.channels}"
            )
        for name in ("mean", "std"):
            if len(getattr(self, name)) not in (1, self.channels):
                raise UsageError(
                    f"{name} must have one value, or one for each of the {self.channels} channels: got "
                    f"{len(getattr(self, name))}"
                )
        if min(self.std) <= 0:
            raise UsageError(f"std must be above 0 in every channel: got {self.std}")

    @property
    def sizes_differ(self) -> bool:
        """Whether views may have different sizes: arrays smaller than `axes` do."""
        return self.encoding.positions != "learned" and self.encoding.permutation_seed is None

    def input_config(self) -> GridInputConfig:
        """Returns size and position encoding of the model's input."""
        return GridInputConfig(axes=self.axes, channels=self.channels, encoding=self.encoding)

    def shrunk(self) -> "ArrayModality":
        """Returns the same with axes of at most two patches and four frequency bands."""
        patch = self.encoding.patch or (1,) * len(self.axes)
        axes = tuple(min(length, max(4, 2 * size)) for length, size in zip(self.axes, patch, strict=True))
        encoding = replace(self.encoding, num_bands=4) if self.encoding.positions == "fourier" else self.encoding
        return replace(self, axes=tuple(a - a % p for a, p in zip(axes, patch, strict=True)), encoding=encoding)

    def describe(self) -> str:
        """Returns axes and channels."""
        return " x ".join(map(str, (*self.axes, self.channels)))

    def summary(self, facts: Sequence[Facts]) -> str:
        """Returns the axes of the middle file, and its channels where there are several."""
        axes = sorted({name for fact in facts for name in fact if name.startswith("axis_")})
        if not axes:
            return ""
        lengths = [median(fact[name] for fact in facts if name in fact) for name in axes]
        channels = median(fact["channels"] for fact in facts)
        shown = " x ".join(f"{length:,.0f}" for length in (*lengths, *([channels] if channels > 1 else [])))
        return f"{shown} {'channels' if channels > 1 else 'values'} (median)"

    def probe(self, file: File, limits: Limits) -> Facts:
        """Returns the length of each axis, and mean and deviation of each channel over some of the values."""
        header = read_array_header(file, limits)
        self._check_names(header.axis_names)
        values = self._channels_last(read_array(file, limits))
        places = values.reshape(-1, values.shape[-1])
        some = places[:: max(1, len(places) // _SAMPLED_VALUES)].astype(np.float64)
        facts = {f"axis_{number}": float(length) for number, length in enumerate(values.shape[:-1])}
        facts["channels"] = float(values.shape[-1])
        for channel in range(values.shape[-1]):
            facts[f"mean_{channel}"] = float(some[:, channel].mean())
            facts[f"square_{channel}"] = float((some[:, channel] ** 2).mean())
        return facts

    def sizes(self, facts: Facts) -> Mapping[str, float]:
        """Returns the length of each axis, and the channels."""
        lengths = {name: value for name, value in facts.items() if name.startswith("axis_")}
        return {
            **{f"length of axis {name[5:]}": value for name, value in lengths.items()},
            "channels": facts["channels"],
        }

    def check(self, file: File, limits: Limits) -> None:
        """Reads the array."""
        read_array(file, limits)

    def admit(self, facts: Facts) -> None:
        """Raises FileError when the array has other axes or channels than the modality."""
        lengths = [int(length) for name, length in facts.items() if name.startswith("axis_")]
        self._check_shape((*lengths, int(facts["channels"])))

    def open(self, item: Item, limits: Limits) -> _Array:
        """Reads an array; raises FileError when its axes or channels are others than the modality's."""
        if isinstance(item, np.ndarray):
            values = self._channels_last(item.astype(np.float32))
        else:
            self._check_names(read_array_header(item, limits).axis_names)
            values = self._channels_last(read_array(item, limits))
        self._check_shape(values.shape)
        return _Array(self, _whole_patches(values, self.encoding.patch or (1,) * len(self.axes)))

    def prepare(self, values: Tensor) -> Tensor:
        """Returns values minus the mean, over the deviation, of each channel."""
        mean, std = (torch.tensor(part, dtype=torch.float32, device=values.device) for part in (self.mean, self.std))
        return (values.to(torch.float32) - mean) / std

    def picture(self, values: np.ndarray) -> np.ndarray:
        """Returns a heat map in grey: one axis as a row a channel, two as they are, more as slices side by side.

        Every channel is scaled on its own, from its lowest value in black to its highest in white.
        """
        places = tuple(range(values.ndim - 1))
        low, high = values.min(axis=places), values.max(axis=places)
        unit = (values - low) / np.where(high > low, high - low, 1.0)
        if values.ndim == 2:
            rows = unit.T.repeat(max(1, -(-len(unit) // (8 * unit.shape[1]))), axis=0)
        else:
            lengths = values.shape[:-1]
            slices = _slices(unit, lengths, (1,) * len(lengths))
            rows = beside(slices, (self.encoding.patch or (1,))[-1], white=1.0).mean(axis=-1)
        picture: np.ndarray = np.rint(255 * rows).astype(np.uint8)[..., None]
        return picture

    def spread(self, values: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """Returns the scores laid out as the picture."""
        if scores.ndim == 1:
            return scores[None]
        slices = _slices(scores[..., None], values.shape[:-1], self.encoding.patch or (1,) * scores.ndim)
        return maps_beside(slices, (self.encoding.patch or (1,))[-1])[..., 0]

    def _check_shape(self, shape: tuple[int, ...]) -> None:
        """Checks a shape with channels last. Arrays without got one before: it must not pass for an axis of theirs."""
        *lengths, channels = shape
        shown = " x ".join(map(str, lengths))
        if len(lengths) != len(self.axes) or channels != self.channels:
            rule = "channels come last" if self.channels_last else "channels have no axis"
            raise FileError(
                f"has {_layout(len(lengths), channels)}, {shown} long; expected "
                f"{_layout(len(self.axes), self.channels)} ({rule})"
            )
        if not self.sizes_differ and any(has < wanted for has, wanted in zip(lengths, self.axes, strict=True)):
            wanted = " x ".join(map(str, self.axes))
            raise FileError(f"is {shown} long; with learned or permuted positions it must fill {wanted}")

    def _check_names(self, names: tuple[str, ...]) -> None:
        if self.axis_names and names and names != self.axis_names:
            raise FileError(f"its axes are {', '.join(names)}; expected {', '.join(self.axis_names)}")

    def _channels_last(self, values: np.ndarray) -> np.ndarray:
        return values if self.channels_last and values.ndim > 1 else values[..., None]

    @classmethod
    def candidates(cls, facts: Sequence[Facts]) -> tuple[Candidate, ...]:
        """Returns windows of the files' median lengths, in patches that make more and more tokens."""
        if not facts:
            return (Candidate(modality=cls(), why="256 values of one channel"),)
        shapes = Counter((sum(name.startswith("axis_") for name in fact), int(fact["channels"])) for fact in facts)
        (num_axes, channels), _ = shapes.most_common(1)[0]
        alike = [fact for fact in facts if f"axis_{num_axes - 1}" in fact and f"axis_{num_axes}" not in fact]
        alike = [fact for fact in alike if int(fact["channels"]) == channels]
        lengths = tuple(int(median(fact[f"axis_{axis}"] for fact in alike)) for axis in range(num_axes))
        mean, std = _statistics(alike, channels)
        found: list[Candidate] = []
        for budget in TOKEN_BUDGETS:
            patch = _patch_for(lengths, budget)
            axes = tuple(max(size, length - length % size) for length, size in zip(lengths, patch, strict=True))
            tokens = tuple(length // size for length, size in zip(axes, patch, strict=True))
            modality = cls(
                axes=axes,
                channels=channels,
                mean=mean,
                std=std,
                encoding=GridEncoding(patch=patch, num_bands=max(2, min(64, max(tokens) // 4))),
            )
            if not found or found[-1].modality != modality:
                shown = " x ".join(map(str, lengths))
                why = (
                    f"{modality.describe()} in patches of {' x '.join(map(str, patch))}: the files are {shown} (median)"
                )
                found.append(Candidate(modality=modality, why=f"{why}{_doubt(channels)}"))
        return tuple(found)


def _statistics(facts: Sequence[Facts], channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Returns mean and deviation of each channel over all files; a constant channel keeps its scale.

    The deviation has six digits, and the mean as many more as it is larger: else its rounding would be an offset.
    """
    means, stds = [], []
    for channel in range(channels):
        mean = float(np.mean([fact[f"mean_{channel}"] for fact in facts]))
        square = float(np.mean([fact[f"square_{channel}"] for fact in facts]))
        deviation = max(0.0, square - mean**2) ** 0.5
        # Below what float32 can tell apart, the deviation is rounding. It has no unit: volts may be nanovolts.
        varies = deviation > 2e-7 * abs(mean)
        larger = math.ceil(math.log10(abs(mean) / deviation)) if varies and mean != 0 else 0
        means.append(float(f"{mean:.{6 + max(0, larger)}g}"))
        stds.append(float(f"{deviation:.6g}") if varies else 1.0)
    return tuple(means), tuple(stds)


def _doubt(channels: int) -> str:
    """Returns what to say where many channels came from the last axis: as its places they would be one channel."""
    if channels <= _MANY_CHANNELS:
        return ""
    return f"; the last axis, {channels:,} long, taken as channels (--no-array.channels-last if it holds places)"


def _layout(num_axes: int, channels: int) -> str:
    axes = f"{num_axes} {'axis' if num_axes == 1 else 'axes'}"
    return f"{axes} and {channels} {'channel' if channels == 1 else 'channels'}"


def _patch_for(lengths: tuple[int, ...], budget: int) -> tuple[int, ...]:
    """Returns the patch that makes at most `budget` tokens: the longest axis in tokens is halved again and again."""
    patch = [1] * len(lengths)
    while int(np.prod([-(-length // size) for length, size in zip(lengths, patch, strict=True)])) > budget:
        tokens = [length / size for length, size in zip(lengths, patch, strict=True)]
        patch[int(np.argmax(tokens))] *= 2
    return tuple(patch)


def _whole_patches(values: np.ndarray, patch: tuple[int, ...]) -> np.ndarray:
    """Returns the array with each axis cut to whole patches, but never below one, which is filled up with zeros."""
    lengths = [max(size, length - length % size) for length, size in zip(values.shape[:-1], patch, strict=True)]
    cut = values[tuple(slice(0, length) for length in lengths)]
    missing = [(0, length - has) for length, has in zip(lengths, cut.shape[:-1], strict=True)]
    return np.pad(cut, [*missing, (0, 0)]) if any(end for _, end in missing) else cut


def _slices(values: np.ndarray, lengths: tuple[int, ...], patch: tuple[int, ...]) -> list[np.ndarray]:
    """Returns the (rows, columns, channels) slices that a picture shows: up to six along the third axis from the end.

    Of axes before that the middle is taken.

    Args:
        values: (*axes, channels), places of the array or, with one value for each `patch` of them, tokens.
        lengths: of the array's axes, by which the slices are chosen, so that values and tokens show the same ones.
    """
    for length, size in zip(lengths[:-3], patch[:-3], strict=True):
        values = values[length // 2 // size]
    if len(lengths) < 3:
        return [values]
    chosen = np.linspace(0, lengths[-3] - 1, min(SHOWN_SLICES, lengths[-3])).round().astype(int)
    return [values[number // patch[-3]] for number in chosen]
