"""What each way of reading a byte array costs: the rule behind "auto", for method and backend.

Costs are nanoseconds of a forward pass, from few rates that were measured on the machine of
docs/results/cross-attention.md. Only their ratios matter: products against exponentials against memory. The backward
pass multiplies the textbook ways' cost more than the separable one's, so near a tie training gains a little.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from perceptio.kernels.separable.contract import BackendName
from perceptio.modules.reading.contract import Method


@dataclass(frozen=True, kw_only=True)
class SegmentShape:
    """A segment of a byte array."""

    batch: int
    num_tokens: int
    num_channels: int
    """C, all channels of a token."""
    sample_channels: int
    """c, those that are the sample's own."""
    grid: tuple[int, int] | None
    """Outer and inner places, where the segment is separable."""


@dataclass(frozen=True, kw_only=True)
class QueryShape:
    """What reads it."""

    num_latents: int
    num_heads: int
    qk_channels: int
    v_channels: int

    @property
    def num_rows(self) -> int:
        """Queries of all heads."""
        return self.num_latents * self.num_heads


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Nanoseconds. A score is one latent, of one head, at one token."""

    product: float
    """Of a multiply-add in a large matrix product."""
    attention_score: float
    """Of a score's softmax inside scaled dot-product attention."""
    channel_pass: float
    """Of a channel of a token: laying out the dense byte array and its layer norm."""
    dense_call: float
    """Of the operations of a dense read, whatever its size."""
    separable_call: float
    """The same of a separable read, which has more of them."""
    token: float
    """Of a token's layer norm factor."""


@dataclass(frozen=True, kw_only=True)
class CoreRates:
    """Nanoseconds of a backend of the separable core."""

    score: float
    """Of a score, apart from what follows."""
    channel: float
    """Of a score's sample channel."""
    further_channel: float
    """The same beyond the fourth."""
    tile: float
    """Of each pass over the inner places: their number may be too small to fill it."""


RATES = {
    "cpu": Rates(
        product=0.022,
        attention_score=1.5,
        channel_pass=2.5,
        dense_call=200_000.0,
        separable_call=2_400_000.0,
        token=25.0,
    ),
    # Fitted to the eleven shapes of `benchmarks/cross_attention.py --grid --device cuda` on an H100, bf16, forward and
    # backward; a forward pass is taken as 0.3 of that.
    "cuda": Rates(
        product=2.5e-5,
        attention_score=4e-4,
        channel_pass=1.6e-2,
        dense_call=1_200_000.0,
        separable_call=3_600_000.0,
        token=0.02,
    ),
}
CORE_RATES: dict[tuple[str, BackendName], CoreRates] = {
    ("cpu", "numba"): CoreRates(score=0.5, channel=0.03, further_channel=0.4, tile=30.0),
    ("cpu", "torch"): CoreRates(score=3.4, channel=0.07, further_channel=0.07, tile=0.0),
    ("cuda", "triton"): CoreRates(score=6e-4, channel=1.2e-4, further_channel=1.1e-2, tile=0.0),
    ("cuda", "torch"): CoreRates(score=0.33, channel=3e-3, further_channel=3e-3, tile=0.0),
}


def projected_cost(shape: SegmentShape, queries: QueryShape, rates: Rates) -> float:
    """Returns the cost of keys and values of every token and of attention on them."""
    widths = queries.qk_channels + queries.v_channels
    per_token = shape.num_channels * (widths * rates.product + rates.channel_pass)
    per_token += queries.num_latents * widths * rates.product + queries.num_rows * rates.attention_score
    return shape.batch * shape.num_tokens * per_token + rates.dense_call


def folded_cost(shape: SegmentShape, queries: QueryShape, rates: Rates) -> float:
    """Returns the cost of attention on the normalised tokens themselves, in every head all channels wide."""
    per_token = shape.num_channels * rates.channel_pass
    per_token += queries.num_rows * (2 * shape.num_channels * rates.product + rates.attention_score)
    folding = shape.num_channels * _products_a_channel(queries, rates)
    return shape.batch * (shape.num_tokens * per_token + folding) + rates.dense_call


def separable_cost(shape: SegmentShape, queries: QueryShape, rates: Rates, core: CoreRates) -> float:
    """Returns the cost of the separable core and of the products with the tables."""
    assert shape.grid is not None
    outer, inner = shape.grid
    channels = min(shape.sample_channels, 4) * core.channel + max(shape.sample_channels - 4, 0) * core.further_channel
    scores = shape.num_tokens * (core.score + channels) + outer * core.tile
    folding = (shape.sample_channels + outer + inner) * _products_a_channel(queries, rates)
    per_sample = queries.num_rows * scores + shape.num_tokens * rates.token + folding
    return shape.batch * per_sample + rates.separable_call


def _products_a_channel(queries: QueryShape, rates: Rates) -> float:
    """Returns what it costs to bring one channel, or one row of a table, to all queries and back to all values."""
    return queries.num_latents * (queries.qk_channels + queries.v_channels) * rates.product


@dataclass(frozen=True)
class ReadingPlan:
    """What was chosen for a byte array.

    Attributes:
        method: with "separable", `grids` are read by separation and all other segments, as one part, by folding.
        grids: numbers of segments.
        backend: of separable attention.
    """

    method: Method
    grids: tuple[int, ...] = ()
    backend: BackendName = "torch"


def cheapest_plan(
    shapes: Sequence[SegmentShape],
    queries: QueryShape,
    device_type: str,
    backends: Sequence[BackendName],
    *,
    only_separable: bool = False,
) -> ReadingPlan:
    """Returns the cheapest way to read segments; each grid is read separably where that beats folding.

    Args:
        backends: that may run the separable core.
        only_separable: whether every grid must be read separably, and only the backend is to be chosen.
    """
    rates = RATES.get(device_type, RATES["cpu"])
    folded = [folded_cost(shape, queries, rates) for shape in shapes]
    plans: list[tuple[float, ReadingPlan]] = []
    for backend in backends:
        core = CORE_RATES.get((device_type, backend), CORE_RATES["cpu", "torch"])
        costs = {
            number: separable_cost(shape, queries, rates, core)
            for number, shape in enumerate(shapes)
            if shape.grid is not None
        }
        chosen = {number: cost for number, cost in costs.items() if only_separable or cost < folded[number]}
        if chosen:
            cost = sum(chosen.get(number, cost) for number, cost in enumerate(folded))
            plans.append((cost, ReadingPlan("separable", tuple(chosen), backend)))
    if not only_separable:
        plans.append((sum(projected_cost(shape, queries, rates) for shape in shapes), ReadingPlan("projected")))
        plans.append((sum(folded), ReadingPlan("folded")))
    # A loop: torch.compile does not follow `min` with a key.
    cheapest, chosen_plan = plans[0]
    for cost, plan in plans[1:]:
        if cost < cheapest:
            cheapest, chosen_plan = cost, plan
    return chosen_plan
