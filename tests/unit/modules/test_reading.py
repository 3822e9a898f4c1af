"""Three methods, one function: each is compared with the textbook way, whose own oracle is in test_attention.py."""

import re
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from perceptio.inputs.grid import GridEncoding, GridInput, GridInputConfig
from perceptio.kernels import attention as attention_kernels
from perceptio.models.config import PerceiverConfig
from perceptio.models.perceiver import Perceiver, build_perceiver
from perceptio.modules.attention import CrossAttention
from perceptio.modules.byte_array import ByteArray, GridPositions, Segment, TokenPositions
from perceptio.modules.byte_view import ByteView
from perceptio.modules.grid_tokens import split_axes
from perceptio.modules.reading.choice import ReadingConfig
from perceptio.modules.reading.folded import FoldedReader
from perceptio.modules.reading.merged import MergedReader
from perceptio.modules.reading.projected import ProjectedReader
from perceptio.modules.reading.separable import SeparableReader

D, N = 10, 4
WAYS = [("folded", "auto"), ("separable", "torch"), ("separable", "numba")]


def draw_grid(
    axes: tuple[int, ...], channels: int, *, batch: int = 2, patch: tuple[int, ...] = (), dtype: Any = torch.float64
) -> tuple[ByteArray, torch.Tensor]:
    """Returns a byte array and the raw values that want a gradient."""
    raw = torch.randn(batch, *axes, channels, dtype=dtype).requires_grad_()
    config = GridInputConfig(axes=axes, channels=channels, encoding=GridEncoding(num_bands=3, patch=patch))
    return GridInput(config)(raw), raw


def make_attention(
    byte_array: ByteArray, *, heads: int = 2, dtype: Any = torch.float64, seed: int = 5
) -> CrossAttention:
    """Returns an attention whose every parameter matters: biases and norms do not start at zero and one."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        attention = CrossAttention(
            byte_array.num_channels, D, num_heads=heads, qk_channels=3 * heads, v_channels=2 * heads, num_latents=N
        ).double()
        for parameter in attention.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    attention = attention.to(dtype)
    return attention


def outputs_and_gradients(
    attention: CrossAttention, byte_array: ByteArray, latents: torch.Tensor, wanted: list[torch.Tensor], way: Any
) -> list[torch.Tensor]:
    attention.reading = ReadingConfig(method=way[0], backend=way[1])
    output = attention(latents, attention.prepare(ByteView(byte_array)))
    weights = torch.linspace(-1, 2, output.numel(), dtype=output.dtype).reshape(output.shape)
    leaves = [*wanted, latents, *attention.parameters()]
    return [output, *torch.autograd.grad((output * weights).sum(), leaves, retain_graph=True)]


def assert_all_ways_agree(
    byte_array: ByteArray, wanted: list[torch.Tensor], *, heads: int = 2, shared: bool = False, tolerance: float = 1e-11
) -> None:
    attention = make_attention(byte_array, heads=heads)
    latents = torch.randn(1 if shared else byte_array.batch_size, N, D, dtype=torch.float64).requires_grad_()
    expected = outputs_and_gradients(attention, byte_array, latents, wanted, ("projected", "auto"))
    names = ["output", *(f"input {i}" for i in range(len(wanted))), "latents", *dict(attention.named_parameters())]
    for way in WAYS:
        found = outputs_and_gradients(attention, byte_array, latents, wanted, way)
        for name, ours, theirs in zip(names, found, expected, strict=True):
            size = max(1.0, theirs.abs().max().item())
            assert_close(
                ours / size, theirs / size, rtol=0, atol=tolerance, msg=lambda t, n=name, w=way: f"{w} {n}: {t}"
            )


@settings(max_examples=40, deadline=None)
@given(
    axes=st.lists(st.integers(1, 6), min_size=1, max_size=4).map(tuple),
    channels=st.integers(1, 6),
    heads=st.integers(1, 3),
    batch=st.integers(1, 3),
    shared=st.booleans(),
    masked=st.booleans(),
)
def test_all_methods_are_one_function(
    axes: tuple[int, ...], channels: int, heads: int, batch: int, shared: bool, masked: bool
) -> None:
    byte_array, raw = draw_grid(axes, channels, batch=batch)
    if masked:
        (segment,) = byte_array.segments
        mask = torch.rand(batch, segment.channels.shape[1]) < 0.6
        mask[-1] = False
        byte_array = ByteArray(segments=(replace(segment, mask=mask),))
    assert_all_ways_agree(byte_array, [raw], heads=heads, shared=shared)


@pytest.mark.parametrize(("axes", "patch"), [((6,), (3,)), ((4, 6), (2, 3)), ((2, 4, 4), (1, 2, 2))])
def test_patches_separate(axes: tuple[int, ...], patch: tuple[int, ...]) -> None:
    byte_array, raw = draw_grid(axes, 2, patch=patch)
    assert_all_ways_agree(byte_array, [raw])


def test_pictures_of_different_sizes_separate() -> None:
    raw = torch.randn(3, 5, 6, 3, dtype=torch.float64).requires_grad_()
    grid = GridInput(GridInputConfig(axes=(5, 6), channels=3, encoding=GridEncoding(num_bands=3)))
    byte_array = grid(raw, torch.tensor([[5, 6], [2, 3], [1, 1]]))
    for shared in (False, True):
        assert_all_ways_agree(byte_array, [raw], shared=shared)


def test_a_shuffled_grid_separates_and_shows_its_scores_in_the_shuffled_order() -> None:
    config = GridInputConfig(axes=(4, 5), channels=3, encoding=GridEncoding(num_bands=3, permutation_seed=2))
    raw = torch.randn(2, 4, 5, 3, dtype=torch.float64).requires_grad_()
    byte_array = GridInput(config)(raw)
    assert_all_ways_agree(byte_array, [raw])


def draw_segments() -> tuple[ByteArray, list[torch.Tensor]]:
    """A grid with a learned modality encoding, points whose positions are learned, and a second grid."""
    (grid,), raw = draw_grid((3, 4), 2)[0].segments, None
    channels = torch.randn(2, 12, 2, dtype=torch.float64).requires_grad_()
    encoding = torch.randn(5, dtype=torch.float64).requires_grad_()
    total = grid.num_channels + 5
    features = torch.randn(1, 7, total - 3, dtype=torch.float64).requires_grad_()
    points = torch.randn(2, 7, 3, dtype=torch.float64).requires_grad_()
    assert isinstance(grid.positions, GridPositions)
    sound = torch.randn(2, 6, 4, dtype=torch.float64).requires_grad_()
    table = torch.randn(1, 6, total - 4 - 2, dtype=torch.float64)
    second = torch.randn(2, dtype=torch.float64).requires_grad_()
    mask = torch.tensor([[True] * 7, [False] * 7])
    segments = (
        Segment(channels=channels, positions=grid.positions, encoding=encoding),
        Segment(channels=points, positions=TokenPositions(features=features), mask=mask),
        Segment(
            channels=sound,
            positions=GridPositions(tables=(table,), kinds=(table.shape[-1],)),
            encoding=second,
            mask=torch.rand(2, 6) < 0.5,
        ),
    )
    assert raw is None
    return ByteArray(segments=segments), [channels, encoding, features, points, sound, second]


@pytest.mark.parametrize("shared", [False, True])
def test_segments_are_read_by_their_own_methods_and_merged(shared: bool) -> None:
    byte_array, wanted = draw_segments()
    assert_all_ways_agree(byte_array, wanted, shared=shared)
    attention = make_attention(byte_array)
    attention.reading = ReadingConfig(method="separable")
    reader = attention.prepare(ByteView(byte_array))
    assert isinstance(reader, MergedReader)
    assert [type(part) for part in reader.parts] == [SeparableReader, SeparableReader, FoldedReader]


def test_a_sample_without_any_byte_in_any_segment_reads_zeros(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention_kernels, "BLOCK_ELEMENTS", 16)  # the folded part goes a row at a time
    byte_array, wanted = draw_segments()
    gone = [
        replace(segment, mask=segment.dense_mask() & torch.tensor([[True], [False]])) for segment in byte_array.segments
    ]
    assert_all_ways_agree(ByteArray(segments=tuple(gone)), wanted)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["grid", "shuffled", "segments"])
def test_scores_are_the_textbooks(kind: str, way: tuple[Any, Any]) -> None:
    if kind == "segments":
        byte_array, _ = draw_segments()
    else:
        encoding = GridEncoding(num_bands=3, permutation_seed=2 if kind == "shuffled" else None)
        config = GridInputConfig(axes=(3, 4), channels=2, encoding=encoding)
        byte_array = GridInput(config)(torch.randn(2, 3, 4, 2, dtype=torch.float64))
    attention, latents = make_attention(byte_array), torch.randn(1, N, D, dtype=torch.float64)
    found = []
    for method, backend in (("projected", "auto"), way):
        attention.reading = ReadingConfig(method=method, backend=backend)
        found.append(attention.scores(latents[:, 1:2], attention.prepare(ByteView(byte_array))))
    assert_close(found[1], found[0], rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("channel_size", "query_size"), [(1.0, 1.0), (1e3, 1.0), (1.0, 40.0)])
def test_float32_is_at_most_twice_as_far_from_float64_as_the_textbook_way(
    way: tuple[Any, Any], channel_size: float, query_size: float
) -> None:
    """Output and every gradient, also with channels of 1e3 and scores of 1e2; root mean square over four draws."""
    squares: dict[str, list[float]] = {}
    config = GridInputConfig(axes=(24, 33), channels=3, encoding=GridEncoding(num_bands=8))

    def run(dtype: torch.dtype, chosen: tuple[Any, Any], seed: int) -> list[torch.Tensor]:
        torch.manual_seed(seed)
        values = (channel_size * torch.randn(2, 24, 33, 3, dtype=torch.float64)).to(dtype).requires_grad_()
        latents = torch.randn(2, N, D, dtype=torch.float64).to(dtype).requires_grad_()
        byte_array = GridInput(config)(values)
        attention = make_attention(byte_array, dtype=dtype, seed=seed)
        with torch.no_grad():
            attention.query.weight.mul_(query_size)
        return outputs_and_gradients(attention, byte_array, latents, [values], chosen)

    byte_array = GridInput(config)(torch.randn(2, 24, 33, 3, dtype=torch.float64))
    names = ["output", "values", "latents", *dict(make_attention(byte_array).named_parameters())]
    for seed in range(4):
        exact = run(torch.float64, ("projected", "auto"), seed)
        ours, textbook = run(torch.float32, way, seed), run(torch.float32, ("projected", "auto"), seed)
        for name, *found, truth in zip(names, ours, textbook, exact, strict=True):
            for which, tensor in enumerate(found):
                squares.setdefault(name, [0.0, 0.0, 0.0])[which] += ((tensor.double() - truth) ** 2).sum().item()
            squares[name][2] += (truth**2).sum().item()
    del squares["key.bias"]  # its gradient is zero: all that the textbook way finds is rounding
    for name, (ours_square, textbook_square, size) in squares.items():
        ratio, error = (ours_square / textbook_square) ** 0.5, (ours_square / size) ** 0.5
        # Where ours stands at a few roundings, the ratio is chance.
        assert ratio <= 2 or error < 1.2e-6, f"{name}: {ratio:.1f} times, {error:.1e} relative"


def test_bf16_autocast_stays_within_half_precision_of_float32() -> None:
    byte_array, _ = draw_grid((9, 8), 3, dtype=torch.float32)
    attention = make_attention(byte_array, dtype=torch.float32)
    latents = torch.randn(1, N, D)
    for way in [("projected", "auto"), *WAYS]:
        attention.reading = ReadingConfig(method=way[0], backend=way[1])
        exact = attention(latents, attention.prepare(ByteView(byte_array)))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = attention(latents, attention.prepare(ByteView(byte_array)))
        assert_close(found.float(), exact, rtol=0.05, atol=0.05 * exact.abs().max().item())


@pytest.mark.parametrize("way", [("projected", "auto"), *WAYS])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_model_in_half_precision_answers_in_it(way: tuple[Any, Any], dtype: torch.dtype) -> None:
    model = make_model(way[0])
    for part in model.modules():
        if isinstance(part, CrossAttention):
            part.reading = ReadingConfig(method=way[0], backend=way[1])
    values = torch.randn(2, 5, 6, 3)
    exact = model(values)
    found = model.to(dtype)(values.to(dtype))
    assert found.dtype == dtype
    assert_close(found.float(), exact, rtol=0.05, atol=0.05 * exact.abs().max().item())


@pytest.mark.parametrize("way", [("projected", "auto"), *WAYS])
def test_an_empty_batch_has_an_empty_answer(way: tuple[Any, Any]) -> None:
    byte_array, _ = draw_grid((3, 4), 2, batch=0)
    attention = make_attention(byte_array)
    attention.reading = ReadingConfig(method=way[0], backend=way[1])
    assert attention(torch.randn(1, N, D).double(), attention.prepare(ByteView(byte_array))).shape == (0, N, D)


def test_shared_cross_attends_look_at_the_byte_array_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from perceptio.modules import byte_view

    calls: list[int] = []
    original = byte_view.grid_tokens
    monkeypatch.setattr(byte_view, "grid_tokens", lambda *arguments: calls.append(1) or original(*arguments))
    model = make_model("separable")
    model(torch.randn(2, 5, 6, 3))
    assert len(calls) == 1


def test_the_first_cross_attend_asks_once_for_the_whole_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    from perceptio.modules.reading import separable

    asked: list[int] = []
    original = separable.separable_attend

    def record(queries: Any, tokens: Any, backend: Any) -> Any:
        asked.append(len(queries.channels))
        return original(queries, tokens, backend)

    monkeypatch.setattr(separable, "separable_attend", record)
    make_model("separable")(torch.randn(4, 5, 6, 3))
    assert asked == [1, 4, 4]


def make_model(method: Any, **changes: Any) -> Perceiver:
    torch.manual_seed(1)
    config = PerceiverConfig(
        num_latents=4,
        latent_channels=12,
        num_cross_attends=3,
        num_blocks=2,
        num_self_attends_per_block=1,
        num_self_attend_heads=2,
        reading=ReadingConfig(method=method),
        **changes,
    )
    input_config = GridInputConfig(axes=(5, 6), channels=3, encoding=GridEncoding(num_bands=3))
    model = build_perceiver(input_config, config, 3)
    torch.nn.init.normal_(model.head.logits.weight)  # type: ignore[union-attr]
    return model


@pytest.mark.parametrize("method", ["folded", "separable"])
@pytest.mark.parametrize("sharing", ["all", "all_but_first", "none"])
def test_recomputed_activations_change_no_gradient(method: str, sharing: Any) -> None:
    model = make_model(method, share_cross_attends=sharing)
    inputs = torch.randn(2, 5, 6, 3)
    found = []
    for recomputed in (False, True):
        model.zero_grad()
        model.checkpoint_activations = recomputed
        values = inputs.clone().requires_grad_()
        model(values).square().sum().backward()
        found.append([values.grad, *(parameter.grad for parameter in model.parameters())])
    for plain, recomputed_gradient in zip(*found, strict=True):
        assert torch.equal(plain, recomputed_gradient)


def test_attention_dropout_takes_the_textbook_way_and_nothing_else() -> None:
    byte_array, _ = draw_grid((9, 8), 3)
    attention = make_attention(byte_array)
    attention.dropout = 0.1
    assert isinstance(attention.prepare(ByteView(byte_array)), ProjectedReader)
    attention.reading = ReadingConfig(method="separable")
    message = (
        "attention dropout needs method 'projected' or 'auto', got method 'separable' and dropout 0.1. "
        "The other methods never form the weights that would be dropped."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        attention.prepare(ByteView(byte_array))
    attention.eval()
    assert isinstance(attention.prepare(ByteView(byte_array)), SeparableReader)


def test_separable_attention_without_a_grid_is_refused() -> None:
    byte_array = ByteArray(segments=(Segment(channels=torch.randn(2, 5, 6)),))
    attention = make_attention(byte_array, dtype=torch.float32)
    attention.reading = ReadingConfig(method="separable")
    message = (
        "method 'separable' needs a segment with sample channels and per-axis position tables: Fourier positions on a "
        "grid. Take 'auto', or 'folded'."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        attention.prepare(ByteView(byte_array))


@pytest.mark.parametrize(
    ("lengths", "outer_axes"),
    [((7,), 0), ((5, 7), 1), ((32, 224, 224), 2), ((4, 100), 1), ((9, 2, 3), 1), ((2, 2, 9, 9), 3)],
)
def test_axes_are_merged_where_the_fewest_places_are_left(lengths: tuple[int, ...], outer_axes: int) -> None:
    assert split_axes(lengths) == outer_axes
