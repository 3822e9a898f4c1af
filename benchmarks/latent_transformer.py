"""What helps the latent transformer, the bulk of the ImageNet model once cross-attention is separable. Inference.

One block of the paper's ImageNet model: 6 layers of 512 latents x 1,024 channels, 8 heads; every way computes the same.

Usage: python benchmarks/latent_transformer.py [--rounds 10] [--without-compile] [--json]
"""

import argparse
import contextlib
import json
from collections.abc import Callable

import torch
from einops import rearrange
from measure import print_surroundings, print_table, surroundings, take_turns
from torch import Tensor, nn
from torch.nn import functional

from perceptio.models.config import PerceiverConfig
from perceptio.modules.attention import SelfAttention
from perceptio.modules.layers import LatentTransformer, SelfAttend

BASE = "as it is"


class OneProduct(nn.Module):
    """The same attention with one product whose weight was put together beforehand."""

    def __init__(self, attention: SelfAttention) -> None:
        super().__init__()
        self.attention = attention
        parts = (attention.query, attention.key, attention.value)
        self.weight = nn.Parameter(torch.cat([part.weight for part in parts]).detach())
        self.bias = nn.Parameter(torch.cat([part.bias for part in parts]).detach())

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return functional.scaled_dot_product_attention(q, k, v)

    def forward(self, latents: Tensor) -> Tensor:
        ours = self.attention
        return self.finish(functional.linear(ours.norm(latents), self.weight, self.bias))

    def finish(self, projected: Tensor) -> Tensor:
        ours = self.attention
        q, k, v = rearrange(projected, "B N (three H E) -> three B H N E", three=3, H=ours.num_heads)
        return ours.output(rearrange(self.attend(q, k, v), "B H N E -> B N (H E)"))


class PutTogether(OneProduct):
    """The same with the weight put together in each call, as weights that are trained apart need it."""

    def forward(self, latents: Tensor) -> Tensor:
        parts = (self.attention.query, self.attention.key, self.attention.value)
        weight, bias = torch.cat([part.weight for part in parts]), torch.cat([part.bias for part in parts])
        return self.finish(functional.linear(self.attention.norm(latents), weight, bias))


class WrittenOut(OneProduct):
    """The same with the attention map written out."""

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return torch.softmax(q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5, dim=-1) @ v


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--without-compile", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.manual_seed(0)
    latents = torch.randn(1, 512, 1024)
    ways = make_ways(compiled=not options.without_compile)
    with torch.inference_mode():
        expected = ways[BASE](latents)
        for way in ways.values():
            torch.testing.assert_close(way(latents), expected, rtol=1e-4, atol=1e-4)

        def run(way: Callable[[Tensor], Tensor]) -> Callable[[], object]:
            return lambda: way(latents)

        found = take_turns({name: run(way) for name, way in ways.items()}, options.rounds)
    rows = [
        {
            "way": name,
            "seconds": found.median(name),
            "times faster": found.ratio(BASE, name),
            "spread": found.ratio_spread(BASE, name),
        }
        for name in ways
    ]
    if options.json:
        print(json.dumps({"rows": rows, **surroundings()}))
        return
    cells = [
        [
            row["way"],
            f"{1e3 * row['seconds']:.0f} ms",
            f"{row['times faster']:.2f} ({row['spread'][0]:.2f} to {row['spread'][1]:.2f})",
        ]
        for row in rows
    ]
    print_table(["6 layers", "inference", "times faster"], cells)
    print_surroundings()


def make_ways(*, compiled: bool) -> dict[str, Callable[[Tensor], Tensor]]:
    config = PerceiverConfig()

    def block(change: Callable[[SelfAttention], nn.Module] | None = None) -> LatentTransformer:
        torch.manual_seed(1)
        layers = []
        for _ in range(config.num_self_attends_per_block):
            attention = SelfAttention(config.latent_channels, num_heads=config.num_self_attend_heads)
            layer = SelfAttend(attention, config.latent_channels, widening_factor=1, gelu=config.gelu, dropout=0.0)
            if change is not None:
                layer.attention = change(attention)  # type: ignore[assignment]  # a stand-in that is called alike
            layers.append(layer)
        return LatentTransformer(*layers).eval()

    plain = block()

    def without_onednn(latents: Tensor) -> Tensor:
        with torch.backends.mkldnn.flags(enabled=False):
            return plain(latents)

    ways: dict[str, Callable[[Tensor], Tensor]] = {
        BASE: plain,
        "one product, its weight put together each time": block(PutTogether),
        "one product, its weight kept": block(OneProduct),
        "the same, attention map written out": block(WrittenOut),
        "MKL instead of oneDNN": without_onednn,
    }
    if compiled:
        ways["torch.compile"] = torch.compile(block())
        ways["torch.compile, weights frozen"] = frozen(block())
    return ways


def frozen(model: nn.Module) -> Callable[[Tensor], Tensor]:
    import torch._inductor.config as inductor

    compiled = torch.compile(model)
    first = [True]

    def run(latents: Tensor) -> Tensor:
        # The setting is read when the first call compiles; it must not reach the other models.
        with inductor.patch(freezing=True) if first[0] else contextlib.nullcontext():
            first[0] = False
            return compiled(latents)

    return run


if __name__ == "__main__":
    main()
