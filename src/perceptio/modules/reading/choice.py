"""Which way a byte array is read: the one asked for, or the cheapest by a stated rule."""

import math
from dataclasses import dataclass

import torch

from perceptio.choices import check_choices
from perceptio.kernels.separable.backends import BackendChoice, usable_backends
from perceptio.modules.byte_array import ByteArray, GridPositions, Segment
from perceptio.modules.byte_view import ByteView
from perceptio.modules.grid_tokens import is_separable, split_axes
from perceptio.modules.reading.contract import ByteProjections, MethodChoice, Reader
from perceptio.modules.reading.cost import QueryShape, ReadingPlan, SegmentShape, cheapest_plan
from perceptio.modules.reading.folded import read_folded
from perceptio.modules.reading.merged import MergedReader
from perceptio.modules.reading.projected import read_projected
from perceptio.modules.reading.separable import read_separable


@dataclass(frozen=True, kw_only=True)
class ReadingConfig:
    """How cross-attends compute what they compute. It changes speed and memory, never the function."""

    method: MethodChoice = "auto"
    """projected: the textbook way. folded: projections moved to the latents. separable: position tables per axis, for
    segments on a grid; other segments are folded. auto: the cheapest (docs/separable-attention.md has the rule)."""
    backend: BackendChoice = "auto"
    """What runs separable attention: torch (plain PyTorch), numba (CPU) or triton (CUDA). auto: the cheapest that is
    installed."""

    def __post_init__(self) -> None:
        check_choices(self)


def check_dropout(dropout: float, config: ReadingConfig) -> None:
    """Raises ValueError when a method is asked for that cannot drop attention weights."""
    if dropout > 0.0 and config.method not in ("auto", "projected"):
        raise ValueError(
            f"attention dropout needs method 'projected' or 'auto', got method {config.method!r} and dropout "
            f"{dropout}. The other methods never form the weights that would be dropped."
        )


def plan_reading(byte_array: ByteArray, queries: QueryShape, config: ReadingConfig, *, dropout: float) -> ReadingPlan:
    """Returns how to read a byte array.

    Attention dropout needs the attention weights, so it takes the textbook way.

    Raises:
        ValueError: the config forces a method that cannot drop attention weights, or separable attention on a byte
            array without a segment on a grid.
    """
    segments = byte_array.segments
    grids = tuple(number for number, segment in enumerate(segments) if is_separable(segment))
    check_dropout(dropout, config)
    if config.method == "projected" or dropout > 0.0:
        return ReadingPlan("projected")
    if config.method == "folded":
        return ReadingPlan("folded")
    if config.method == "separable" and not grids:
        raise ValueError(
            "method 'separable' needs a segment with sample channels and per-axis position tables: Fourier positions "
            "on a grid. Take 'auto', or 'folded'."
        )
    device = segments[0].channels.device
    backends = usable_backends(config.backend, device) if grids else ()
    shapes = [_shape_of(segment) for segment in segments]
    return cheapest_plan(shapes, queries, device.type, backends, only_separable=config.method == "separable")


def look(view: ByteView, plan: ReadingPlan) -> None:
    """Computes what a plan needs of the byte array and what all weights share, if nobody has yet."""
    for number in plan.grids:
        view.grid(number)
    rest = view if plan.method != "separable" else view.without(plan.grids)
    if rest is not None:
        rest.normalised()


def make_reader(view: ByteView, projections: ByteProjections, plan: ReadingPlan) -> Reader:
    """Returns a byte array as one set of weights sees it."""
    if plan.method == "projected":
        return read_projected(view, projections)
    if plan.method == "folded":
        return read_folded(view, projections)
    separated = [read_separable(view, number, projections, plan.backend) for number in plan.grids]
    others = view.without(plan.grids)
    if others is None and len(separated) == 1:
        return separated[0]
    places = _places(view)
    parts_places = [places[number] for number in plan.grids]
    if others is None:
        return MergedReader(tuple(separated), tuple(parts_places), projections)
    rest = torch.cat([part for number, part in enumerate(places) if number not in plan.grids])
    return MergedReader((*separated, read_folded(others, projections)), (*parts_places, rest), projections)


def _places(view: ByteView) -> list[torch.Tensor]:
    """Returns for each segment the places of its tokens in the dense byte array."""
    counts = [segment.channels.shape[1] for segment in view.byte_array.segments]
    device = view.byte_array.segments[0].channels.device
    return list(torch.split(torch.arange(sum(counts), device=device), counts))


def _shape_of(segment: Segment) -> SegmentShape:
    grid = None
    if is_separable(segment):
        assert isinstance(segment.positions, GridPositions)
        lengths = segment.positions.lengths
        split = split_axes(lengths)
        grid = (math.prod(lengths[:split]), math.prod(lengths[split:]))
    batch, num_tokens, sample_channels = segment.channels.shape
    return SegmentShape(
        batch=batch,
        num_tokens=num_tokens,
        num_channels=segment.num_channels,
        sample_channels=sample_channels,
        grid=grid,
    )
