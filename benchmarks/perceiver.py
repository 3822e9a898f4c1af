"""The whole ImageNet model of the paper against transformers' layers composed in the same iteration, same weights.

44,912,254 parameters: 8 cross-attends (the first with weights of its own), 8 x 6 latent layers. transformers offers no
iterative Perceiver; its PerceiverLayer modules are walked here through our iteration plan. The outputs are compared
before anything is timed. "Textbook" is our model with its bytes read by PyTorch's scaled_dot_product_attention. Peak
memory is that of a process of its own; on a GPU, of its tensors.

Usage: python benchmarks/perceiver.py [--rounds 10] [--what inference train profile] [--json]
       python benchmarks/perceiver.py --device cuda --dtype bf16 --batch-size 16
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from measure import peak_bytes, print_surroundings, print_table, surroundings, synchronise, take_turns
from torch import Tensor, nn
from torch.nn import functional

from perceptio.models.perceiver import Perceiver, build_perceiver
from perceptio.modules.layers import CrossAttend, SelfAttend
from perceptio.modules.reading.contract import MethodChoice
from perceptio.recipes.registry import find_recipe

OURS, TEXTBOOK, THEIRS = "Perceptio", "Perceptio, textbook attention", "transformers' layers"


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Where and on how many images at once."""

    device: str
    bf16: bool
    batch_size: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--what", nargs="+", choices=("inference", "train", "profile"), default=["inference", "train"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--memory-of", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    setting = Setting(device=options.device, bf16=options.dtype == "bf16", batch_size=options.batch_size)
    if options.memory_of is not None:
        what, name = options.memory_of
        print(peak_bytes(make_runs(what, setting)[name]))
        return
    if "profile" in options.what:
        print_profile(setting)
        return
    rows = [row for what in options.what for row in measure(what, options.rounds, setting)]
    if options.json:
        print(json.dumps({"rows": rows, **surroundings(setting.device)}))
        return
    columns = ["what", "model", "seconds (median)", "images/s", "times faster (spread)", "peak memory beyond the model"]
    print_table(columns, [show(row) for row in rows])
    print_surroundings(setting.device)


def measure(what: str, rounds: int, setting: Setting) -> list[dict]:
    runs = make_runs(what, setting)
    found = take_turns(runs, rounds)
    rows = []
    for name in found.seconds:
        rows.append(
            {
                "what": what,
                "model": name,
                "seconds": found.median(name),
                "ratio": found.ratio(THEIRS, name),
                "spread": found.ratio_spread(THEIRS, name),
                "images_per_second": setting.batch_size / found.median(name),
                "peak_bytes": memory_of(what, name, runs[name], setting),
            }
        )
    return rows


def memory_of(what: str, name: str, run: Callable[[], object], setting: Setting) -> int:
    """Returns the peak of a run: of its tensors on a GPU, else of a process of its own."""
    if setting.device != "cpu":
        return peak_bytes(run)
    command = [sys.executable, __file__, "--memory-of", what, name, "--batch-size", str(setting.batch_size)]
    command += ["--dtype", "bf16" if setting.bf16 else "fp32"]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def show(row: dict) -> list[str]:
    low, high = row["spread"]
    return [
        row["what"],
        row["model"],
        f"{row['seconds']:.3f}",
        f"{row['images_per_second']:,.1f}",
        f"{row['ratio']:.2f} ({low:.2f} to {high:.2f})",
        f"{row['peak_bytes'] / 2**30:.2f} GiB",
    ]


def make_runs(what: str, setting: Setting) -> dict[str, Callable[[], object]]:
    """Returns the runs of one kind, after a check that all models compute the same."""
    ours, textbook = make_model("auto").to(setting.device), make_model("projected").to(setting.device)
    theirs = Composed(ours).to(setting.device)
    inputs = torch.randn(setting.batch_size, 224, 224, 3, device=setting.device)
    targets = torch.arange(setting.batch_size, device=setting.device) % 1000
    models = {OURS: ours, TEXTBOOK: textbook, THEIRS: theirs}
    for model in models.values():
        model.train(what == "train")
    with torch.inference_mode():
        expected = theirs(inputs[:1])
        for model in (ours, textbook):
            found = model(inputs[:1])
            torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3 * expected.abs().max().item())
    precision = torch.autocast(torch.device(setting.device).type, dtype=torch.bfloat16, enabled=setting.bf16)

    def infer(model: nn.Module) -> Callable[[], object]:
        def run() -> Tensor:
            with torch.inference_mode(), precision:
                return model(inputs)

        return run

    def train(model: nn.Module) -> Callable[[], object]:
        def run() -> None:
            with precision:
                logits = model(inputs)
            functional.cross_entropy(logits.float(), targets).backward()
            model.zero_grad()

        return run

    make = infer if what == "inference" else train
    return {name: make(model) for name, model in models.items()}


def make_model(method: MethodChoice) -> Perceiver:
    torch.manual_seed(0)
    recipe = find_recipe("imagenet")
    config = replace(recipe.model, reading=replace(recipe.model.reading, method=method))
    model = build_perceiver(recipe.streams.by_name["image"].input_config(), config, 1000)
    nn.init.normal_(model.head.logits.weight, std=0.02)  # it starts at zero, and so would all that is compared
    return model


class Composed(nn.Module):
    """transformers' layers in our iteration plan, behind our input and before our head."""

    def __init__(self, model: Perceiver) -> None:
        super().__init__()
        self.input, self.plan, self.latents, self.head = model.input, model.plan, model.latents, model.head
        self.crosses = nn.ModuleList(their_layer(layer, cross=True) for layer in model.cross_attends)
        self.blocks = nn.ModuleList(
            nn.ModuleList(their_layer(layer, cross=False) for layer in block) for block in model.latent_transformers
        )

    def forward(self, inputs: Tensor) -> Tensor:
        byte_array = self.input(inputs).dense()
        latents = self.latents.expand(len(inputs), -1, -1)
        for step in self.plan:
            if step.part == "cross_attend":
                latents = self.crosses[step.weights](latents, inputs=byte_array)[0]
            else:
                for layer in self.blocks[step.weights]:
                    latents = layer(latents)[0]
        return self.head(latents)


def their_layer(layer: CrossAttend | SelfAttend, *, cross: bool) -> nn.Module:
    """Returns transformers' PerceiverLayer with the weights of one of ours."""
    from transformers import PerceiverConfig
    from transformers.models.perceiver.modeling_perceiver import PerceiverLayer

    attention, width = layer.attention, layer.feed_forward_norm.normalized_shape[0]
    theirs = PerceiverLayer(
        PerceiverConfig(attention_probs_dropout_prob=0.0, hidden_act="gelu_pytorch_tanh"),
        is_cross_attention=cross,
        qk_channels=attention.key.out_features,
        v_channels=attention.value.out_features,
        num_heads=attention.num_heads,
        q_dim=width,
        kv_dim=attention.key.in_features,
        widening_factor=1,
        use_query_residual=True,
    )
    inner, mlp = theirs.attention.self, (layer.feed_forward.expand, layer.feed_forward.contract)
    pairs = [
        (inner.layernorm1, attention.query_norm if cross else attention.norm),
        (inner.query, attention.query),
        (inner.key, attention.key),
        (inner.value, attention.value),
        (theirs.attention.output.dense, attention.output),
        (theirs.layernorm, layer.feed_forward_norm),
        (theirs.mlp.dense1, mlp[0]),
        (theirs.mlp.dense2, mlp[1]),
    ]
    if cross:
        pairs.append((inner.layernorm2, attention.byte_norm))
    for target, source in pairs:
        target.load_state_dict(source.state_dict())
    return theirs


def print_profile(setting: Setting) -> None:
    """Where the time of our training step goes on a GPU, or of our inference on a CPU, by operation."""
    on_gpu = setting.device != "cpu"
    run = make_runs("train" if on_gpu else "inference", setting)[OURS]
    run()
    kinds = [torch.profiler.ProfilerActivity.CPU] + [torch.profiler.ProfilerActivity.CUDA] * on_gpu
    with torch.profiler.profile(activities=kinds) as profile:
        run()
        synchronise()
    order = "self_device_time_total" if on_gpu else "self_cpu_time_total"
    print(profile.key_averages().table(sort_by=order, row_limit=15, max_name_column_width=60))


if __name__ == "__main__":
    main()
