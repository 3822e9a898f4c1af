"""One cross-attend against the number of bytes, 2^10 to 2^21: time and memory, until a method runs out of patience.

Square images up to 1024 x 1024 pixels and, as the last point, 32 frames of 224 x 224 raw video pixels: 1.6 million
bytes, no patches. 512 latents, one head, forward and backward. Each point is measured in a process of its own, so its
peak memory is its own, and one that dies for memory takes nothing with it.

Usage: python benchmarks/scale.py [--rounds 3] [--patience 60] [--out docs/results/scale.png] [--json]
"""

import argparse
import json
import resource
import subprocess
import sys
from pathlib import Path

import torch
from measure import peak_bytes, print_surroundings, print_table, surroundings, take_turns

from perceptio.inputs.grid import GridEncoding, GridInput, GridInputConfig
from perceptio.modules.attention import CrossAttention
from perceptio.modules.byte_view import ByteView
from perceptio.modules.reading.choice import ReadingConfig

METHODS = ("separable", "folded", "projected", "transformers")
SIDES = (32, 64, 128, 224, 256, 512, 1024)
VIDEO = (32, 224, 224)
MEMORY_LIMIT_GIB = 12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--patience", type=float, default=60.0, help="seconds a run may take before larger ones are left out"
    )
    parser.add_argument("--out", type=Path, help="a picture of the curves")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--point", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.point is not None:
        method, axes = json.loads(options.point)
        print(json.dumps(measure(method, tuple(axes), options.rounds)))
        return
    rows = []
    for method in METHODS:
        for axes in [*((side, side) for side in SIDES), VIDEO]:
            row = in_a_process(method, axes, options.rounds)
            rows.append({"method": method, "axes": axes, "bytes": torch.tensor(axes).prod().item(), **row})
            print(json.dumps(rows[-1]), file=sys.stderr)
            if row.get("seconds", options.patience) >= options.patience:
                break
    if options.out is not None:
        draw(rows, options.out)
    if options.json:
        print(json.dumps({"rows": rows, **surroundings()}))
        return
    print_table(
        ["method", "grid", "bytes", "seconds", "microseconds a byte", "peak memory"], [show(row) for row in rows]
    )
    print_surroundings()


def in_a_process(method: str, axes: tuple[int, ...], rounds: int) -> dict:
    command = [sys.executable, __file__, "--point", json.dumps([method, axes]), "--rounds", str(rounds)]
    found = subprocess.run(command, check=False, capture_output=True, text=True)
    if found.returncode == 0:
        return json.loads(found.stdout)
    return {"failed": found.stderr.strip().splitlines()[-1][:120] if found.stderr.strip() else "killed"}


def measure(method: str, axes: tuple[int, ...], rounds: int) -> dict:
    # What would run into swap on a small machine fails here, at once and by name.
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_LIMIT_GIB << 30, MEMORY_LIMIT_GIB << 30))
    torch.manual_seed(0)
    config = GridInputConfig(axes=axes, channels=3, encoding=GridEncoding(num_bands=64))
    channels = config.input_channels
    attention = CrossAttention(
        channels, 1024, num_heads=1, qk_channels=min(channels, 1024), v_channels=min(channels, 1024), num_latents=512
    )
    grid, raw, latents = GridInput(config), torch.randn(1, *axes, 3), torch.randn(1, 512, 1024)
    theirs = their_attention(channels) if method == "transformers" else None

    def run() -> None:
        if theirs is not None:
            theirs(latents, inputs=grid(raw).dense())[0].square().sum().backward()
            theirs.zero_grad()
            return
        attention.reading = ReadingConfig(method=method)
        attention(latents, attention.prepare(ByteView(grid(raw)))).square().sum().backward()
        attention.zero_grad()

    found = take_turns({method: run}, rounds)
    return {"seconds": found.median(method), "all_seconds": found.seconds[method], "peak_bytes": peak_bytes(run)}


def their_attention(channels: int) -> torch.nn.Module:
    from transformers import PerceiverConfig
    from transformers.models.perceiver.modeling_perceiver import PerceiverAttention

    return PerceiverAttention(
        PerceiverConfig(attention_probs_dropout_prob=0.0),
        is_cross_attention=True,
        qk_channels=min(channels, 1024),
        v_channels=min(channels, 1024),
        num_heads=1,
        q_dim=1024,
        kv_dim=channels,
        use_query_residual=False,
    )


def show(row: dict) -> list[str]:
    start = [row["method"], " x ".join(map(str, row["axes"])), f"{row['bytes']:,}"]
    if "failed" in row:
        return [*start, row["failed"], "", ""]
    return [
        *start,
        f"{row['seconds']:.3f}",
        f"{1e6 * row['seconds'] / row['bytes']:.2f}",
        f"{row['peak_bytes'] / 2**20:,.0f} MiB",
    ]


def draw(rows: list[dict], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (time_axis, memory_axis) = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for method in METHODS:
        found = [row for row in rows if row["method"] == method and "failed" not in row]
        sizes = [row["bytes"] for row in found]
        time_axis.plot(sizes, [row["seconds"] for row in found], "o-", label=method)
        memory_axis.plot(sizes, [max(row["peak_bytes"], 2**20) / 2**20 for row in found], "o-", label=method)
    for axis, title in ((time_axis, "seconds, forward and backward"), (memory_axis, "peak memory, MiB")):
        axis.set(xscale="log", yscale="log", xlabel="bytes (M)", title=title)
        axis.set_xscale("log", base=2)
        axis.grid(alpha=0.3)
    time_axis.legend()
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
