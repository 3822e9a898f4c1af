"""One cross-attend of the paper's ImageNet model, by every method and by the peers, with the same weights.

512 latents of 1024 channels, 224 x 224 pixels = 50,176 bytes of 261 channels, one head. Peers are given the finished
byte array; ours begins with the pixels. Each method's largest distance from the textbook way in float64 is printed.

Usage: python benchmarks/cross_attention.py [--rounds 10] [--latents 512] [--side 224] [--heads 1] [--json]
       python benchmarks/cross_attention.py --device cuda --batch-size 16 --dtype bf16
       python benchmarks/cross_attention.py --grid      methods only, many shapes: does "auto" take the fastest?
       python benchmarks/cross_attention.py --grid --device cuda       16 times the samples, bf16
       python benchmarks/cross_attention.py --floor     the core loop against the exponentials that it cannot do without
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass

import torch
from measure import peak_tensor_bytes, print_surroundings, print_table, surroundings, take_turns
from torch import Tensor

from perceptio.inputs.grid import GridEncoding, GridInput, GridInputConfig
from perceptio.modules.attention import CrossAttention
from perceptio.modules.byte_array import ByteArray, Segment
from perceptio.modules.byte_view import ByteView
from perceptio.modules.reading.choice import ReadingConfig

EAGER = "transformers, eager"


@dataclass
class Case:
    """Inputs and weights that all methods share."""

    raw: Tensor
    grid: GridInput
    dense: Tensor
    latents: Tensor
    attention: CrossAttention


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--latents", type=int, default=512)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--heads", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--grid", action="store_true")
    parser.add_argument("--floor", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.floor:
        compare_with_floor(options.rounds, options.json)
        return
    if options.grid:
        compare_methods(options.rounds, options.json, options.device)
        return
    case = make_case(options.latents, options.side, options.heads, options.batch_size, options.device)
    methods = our_methods(case, options.device) | peers(case)
    rows = measure(case, methods, options.rounds, bf16=options.dtype == "bf16", device=options.device)
    if options.json:
        print(json.dumps({"rows": rows, **surroundings(options.device)}))
        return
    columns = [
        "method",
        "forward",
        "against eager",
        "fwd + bwd",
        "against eager",
        "peak of tensors, fwd + bwd",
        "error",
    ]
    print_table(columns, [show(row) for row in rows])
    print_surroundings(options.device)


def make_case(latents: int, side: int, heads: int, batch: int, device: str) -> Case:
    torch.manual_seed(0)
    config = GridInputConfig(axes=(side, side), channels=3, encoding=GridEncoding(num_bands=64))
    width = min(config.input_channels, 1024) // heads * heads
    attention = CrossAttention(
        config.input_channels, 1024, num_heads=heads, qk_channels=width, v_channels=width, num_latents=latents
    ).to(device)
    with torch.no_grad():  # a trained model's queries are far from uniform
        attention.query.weight.mul_(10)
    grid = GridInput(config).to(device)
    raw = torch.randn(batch, side, side, 3, device=device)
    return Case(raw, grid, grid(raw).dense(), torch.randn(batch, latents, 1024, device=device), attention)


def our_methods(case: Case, device: str) -> dict[str, Callable[[Tensor], Tensor]]:
    ready = ByteArray(segments=(Segment(channels=case.dense),))

    def method(name: str, backend: str, byte_array: Callable[[], ByteArray]) -> Callable[[Tensor], Tensor]:
        def run(latents: Tensor) -> Tensor:
            case.attention.reading = ReadingConfig(method=name, backend=backend)
            return case.attention(latents, case.attention.prepare(ByteView(byte_array())))

        return run

    fast = "triton" if device.startswith("cuda") else "numba"
    return {
        "SDPA with projections": method("projected", "auto", lambda: ready),
        "folded": method("folded", "auto", lambda: ready),
        "separable, PyTorch": method("separable", "torch", lambda: case.grid(case.raw)),
        f"separable, {fast.capitalize()}": method("separable", fast, lambda: case.grid(case.raw)),
    }


def peers(case: Case) -> dict[str, Callable[[Tensor], Tensor]]:
    """Returns those that are installed."""
    found: dict[str, Callable[[Tensor], Tensor]] = {}
    attention, dense = case.attention, case.dense
    try:
        from transformers import PerceiverConfig
        from transformers.models.perceiver.modeling_perceiver import PerceiverAttention

        width = attention.key.out_features
        theirs = PerceiverAttention(
            PerceiverConfig(attention_probs_dropout_prob=0.0),
            is_cross_attention=True,
            qk_channels=width,
            v_channels=width,
            num_heads=attention.num_heads,
            q_dim=1024,
            kv_dim=dense.shape[-1],
            use_query_residual=False,
        ).to(dense.device)
        inner = theirs.self
        pairs = (
            (inner.layernorm1, attention.query_norm), (inner.layernorm2, attention.byte_norm),
            (inner.query, attention.query), (inner.key, attention.key), (inner.value, attention.value),
            (theirs.output.dense, attention.output),
        )  # fmt: skip
        for ours, source in pairs:
            ours.load_state_dict(source.state_dict())
        found[EAGER] = lambda latents: theirs(latents, inputs=dense)[0]
    except ImportError:
        pass
    try:
        from perceiver_pytorch.perceiver_pytorch import Attention, PreNorm

        # No biases in its projections and no value for the output's: the same work, not the same numbers.
        block = PreNorm(
            1024,
            Attention(1024, dense.shape[-1], heads=attention.num_heads, dim_head=width // attention.num_heads),
            context_dim=dense.shape[-1],
        ).to(dense.device)
        found["perceiver-pytorch"] = lambda latents: block(latents, context=dense)
    except ImportError:
        pass
    return found


def measure(
    case: Case, methods: dict[str, Callable[[Tensor], Tensor]], rounds: int, *, bf16: bool, device: str
) -> list[dict[str, object]]:
    precision = torch.autocast(torch.device(device).type, dtype=torch.bfloat16, enabled=bf16)

    def forward(method: Callable[[Tensor], Tensor]) -> Callable[[], object]:
        def run() -> Tensor:
            with torch.inference_mode(), precision:
                return method(case.latents)

        return run

    def both(method: Callable[[Tensor], Tensor]) -> Callable[[], object]:
        latents = case.latents.clone().requires_grad_()

        def run() -> None:
            with precision:
                output = method(latents)
            output.float().square().sum().backward()
            latents.grad = None
            case.attention.zero_grad()

        return run

    once = take_turns({name: forward(method) for name, method in methods.items()}, rounds)
    twice = take_turns({name: both(method) for name, method in methods.items()}, rounds)
    exact = in_float64(case)
    slow = EAGER if EAGER in methods else "SDPA with projections"
    rows = []
    for name, method in methods.items():
        with torch.inference_mode(), precision:
            error = (method(case.latents).double() - exact).norm() / exact.norm()
        rows.append(
            {
                "method": name,
                "forward_seconds": once.median(name),
                "forward_ratio": once.ratio(slow, name),
                "forward_spread": once.ratio_spread(slow, name),
                "both_seconds": twice.median(name),
                "both_ratio": twice.ratio(slow, name),
                "both_spread": twice.ratio_spread(slow, name),
                "peak_tensor_bytes": peak_tensor_bytes(both(method)),
                "error": error.item() if name != "perceiver-pytorch" else None,
            }
        )
    return rows


def compare_with_floor(rounds: int, as_json: bool) -> None:
    """Prints the core on the paper's shape against as many exponentials of numbers in the first-level cache."""
    import numpy as np
    from numba import njit

    from perceptio.kernels.separable.contract import Queries, Tokens
    from perceptio.kernels.separable.numba_math import EXP2_CONSTANTS, FASTMATH, exp2_float32, read_constants
    from perceptio.kernels.separable.operation import separable_attend
    from perceptio.kernels.separable.threads import run_pieces

    @njit(nogil=True, fastmath=FASTMATH)
    def exponentials(values, found, constants, times):
        k = read_constants(constants)
        for _ in range(times):
            for i in range(len(values)):
                found[i] = exp2_float32(values[i], k)

    rows, side, cached = 512, 224, 1024
    torch.manual_seed(0)
    queries = Queries(torch.randn(1, rows, 3), torch.randn(1, rows, side), torch.randn(1, rows, side))
    tokens = Tokens(torch.randn(1, 3, side, side), torch.rand(1, side, side) + 0.5)
    constants = np.array(EXP2_CONSTANTS, np.float32)
    values = np.random.default_rng(0).standard_normal(cached).astype(np.float32)

    def some(first: int, last: int) -> None:
        exponentials(values, np.empty_like(values), constants, last - first)

    methods = {
        "core": lambda: separable_attend(queries, tokens, "numba"),
        "floor": lambda: run_pieces(some, rows * side * side // cached, step=1, worth_threads=True),
    }
    found = take_turns(methods, rounds)
    low, high = found.ratio_spread("core", "floor")
    result = {name: 1e3 * found.median(name) for name in methods} | {"ratio": found.ratio("core", "floor")}
    if as_json:
        print(json.dumps({**result, "spread": [low, high], **surroundings()}))
        return
    print_table(
        ["core, forward", "floor", "times the floor"],
        [[f"{result['core']:.1f} ms", f"{result['floor']:.1f} ms", f"{result['ratio']:.1f} ({low:.1f} to {high:.1f})"]],
    )
    print_surroundings()


@dataclass(frozen=True)
class Shape:
    """A kind of input that users have, with the model they would read it with."""

    name: str
    axes: tuple[int, ...]
    channels: int
    latents: int
    heads: int = 1
    patch: tuple[int, ...] = ()
    batch: int = 1
    bands: int = 64


SHAPES = (
    Shape("ImageNet, the paper's", (224, 224), 3, 512),
    Shape("the same, 8 heads", (224, 224), 3, 512, heads=8),
    Shape("the same, 64 latents", (224, 224), 3, 64),
    Shape("the same, patches 4 x 4", (224, 224), 3, 512, patch=(4, 4)),
    Shape("the same, patches 16 x 16", (224, 224), 3, 512, patch=(16, 16)),
    Shape("96 x 96, 128 latents, batch 8", (96, 96), 3, 128, batch=8, bands=32),
    Shape("28 x 28 grey, 8 latents of 8 heads, batch 32", (28, 28), 1, 8, heads=8, batch=32, bands=8),
    Shape("28 x 28 grey, 32 latents, batch 32", (28, 28), 1, 32, batch=32, bands=8),
    Shape("video, patches 2 x 8 x 8", (32, 224, 224), 3, 512, patch=(2, 8, 8)),
    Shape("video, 8 x 56 x 56 pixels, 256 latents", (8, 56, 56), 3, 256),
    Shape("waveform, 480 pieces of 128", (61_440,), 1, 512, patch=(128,), bands=192),
)


def compare_methods(rounds: int, as_json: bool, device: str) -> None:
    """Prints what each method takes, and how far "auto" is from the fastest of them; in bf16 on a GPU."""
    rows = []
    precision = torch.autocast(torch.device(device).type, dtype=torch.bfloat16, enabled=device != "cpu")
    many = 1 if device == "cpu" else 16
    for shape in SHAPES:
        torch.manual_seed(0)
        encoding = GridEncoding(num_bands=shape.bands, patch=shape.patch)
        config = GridInputConfig(axes=shape.axes, channels=shape.channels, encoding=encoding)
        width = -(-min(config.input_channels, 512) // shape.heads) * shape.heads
        attention = CrossAttention(
            config.input_channels,
            512,
            num_heads=shape.heads,
            qk_channels=width,
            v_channels=width,
            num_latents=shape.latents,
        ).to(device)
        batch = many * shape.batch
        grid = GridInput(config).to(device)
        byte_array = grid(torch.randn(batch, *shape.axes, shape.channels, device=device))
        latents = torch.randn(batch, shape.latents, 512, device=device)

        def run(name: str, attention=attention, byte_array=byte_array, latents=latents) -> None:
            attention.reading = ReadingConfig(method=name)
            with precision:
                found = attention(latents, attention.prepare(ByteView(byte_array)))
            found.float().square().sum().backward()
            attention.zero_grad()

        names = ("auto", "projected", "folded", "separable")
        found = take_turns({name: (lambda name=name: run(name)) for name in names}, rounds)
        best = min(names[1:], key=found.median)
        seconds = {name: found.median(name) for name in names}
        rows.append(
            {"shape": shape.name, "seconds": seconds, "best": best, "auto_over_best": found.ratio("auto", best)}
        )
    if as_json:
        print(json.dumps({"rows": rows, **surroundings(device)}))
        return
    columns = ["forward and backward", "projected", "folded", "separable", "auto", "auto over the best"]
    milliseconds = [[f"{1e3 * row['seconds'][name]:.1f} ms" for name in (*names[1:], "auto")] for row in rows]
    print_table(
        columns,
        [[row["shape"], *cells, f"{row['auto_over_best']:.2f}"] for row, cells in zip(rows, milliseconds, strict=True)],
    )
    print_surroundings(device)


def in_float64(case: Case) -> Tensor:
    attention = case.attention.double()
    attention.reading = ReadingConfig(method="folded")
    with torch.inference_mode():
        exact = attention(
            case.latents.double(),
            attention.prepare(ByteView(ByteArray(segments=(Segment(channels=case.dense.double()),)))),
        )
    case.attention.float()
    return exact


def show(row: dict) -> list[str]:
    def times(kind: str) -> str:
        low, high = row[f"{kind}_spread"]
        return f"{row[f'{kind}_ratio']:.1f} ({low:.1f} to {high:.1f})"

    return [
        row["method"],
        f"{1e3 * row['forward_seconds']:.1f} ms",
        times("forward"),
        f"{1e3 * row['both_seconds']:.1f} ms",
        times("both"),
        f"{row['peak_tensor_bytes'] / 2**20:,.0f} MiB",
        "other weights" if row["error"] is None else f"{row['error']:.1e}",
    ]


if __name__ == "__main__":
    main()
