"""The paper's claims about its model, and equality with transformers' layers."""

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from transformers import PerceiverConfig as TheirConfig
from transformers.models.perceiver.modeling_perceiver import PerceiverLayer

from perceptio.inputs.grid import GridEncoding, GridInputConfig
from perceptio.models.config import PerceiverConfig
from perceptio.models.perceiver import Perceiver, build_perceiver
from perceptio.modules.attention import CrossAttention
from perceptio.modules.layers import CrossAttend, SelfAttend

GRID = GridInputConfig(axes=(5, 7), channels=3, encoding=GridEncoding(num_bands=4))
SMALL = PerceiverConfig(
    num_latents=6,
    latent_channels=12,
    num_cross_attends=3,
    num_blocks=3,
    num_self_attends_per_block=2,
    num_self_attend_heads=2,
)


def make(config: PerceiverConfig = SMALL, grid: GridInputConfig = GRID) -> Perceiver:
    """Returns a model whose norms, biases and head are drawn too: at their start they are ones and zeros."""
    model = build_perceiver(grid, config, 4)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def test_shuffling_the_bytes_with_their_positions_changes_nothing() -> None:
    permuted = GridInputConfig(axes=(5, 7), channels=3, encoding=GridEncoding(num_bands=4, permutation_seed=3))
    plain, shuffled = make().double(), make(grid=permuted).double()
    shuffled.load_state_dict(plain.state_dict())
    inputs = torch.randn(2, 5, 7, 3).double()
    assert_close(shuffled(inputs), plain(inputs), rtol=1e-12, atol=1e-12)


def test_without_positions_shuffling_pixels_changes_nothing_and_with_them_it_does() -> None:
    order = torch.randperm(35)
    inputs = torch.randn(2, 5, 7, 3).double()
    moved = inputs.flatten(1, 2)[:, order].unflatten(1, (5, 7))
    blind = make(grid=GridInputConfig(axes=(5, 7), channels=3, encoding=GridEncoding(positions="none"))).double()
    assert_close(blind(moved), blind(inputs), rtol=1e-12, atol=1e-12)
    seeing = make().double()
    assert (seeing(moved) - seeing(inputs)).abs().max() > 1e-4


def test_examples_do_not_mix() -> None:
    model = make().double()
    inputs = torch.randn(3, 5, 7, 3).double()
    alone = torch.cat([model(inputs[i : i + 1]) for i in range(3)])
    assert_close(model(inputs), alone, rtol=1e-12, atol=1e-12)


def test_padding_to_a_larger_grid_changes_nothing() -> None:
    model = make().double()
    small, large = torch.randn(1, 3, 4, 3).double(), torch.randn(1, 5, 7, 3).double()
    padded = torch.full((2, 5, 7, 3), 1e3).double()
    padded[0, :3, :4], padded[1] = small[0], large[0]
    together = model(padded, torch.tensor([[3, 4], [5, 7]]))
    assert_close(together, torch.cat([model(small), model(large)]), rtol=1e-10, atol=1e-10)


def test_a_sample_of_no_extent_gives_finite_output_and_gradients() -> None:
    model = make()
    output = model(torch.randn(2, 5, 7, 3), torch.tensor([[0, 0], [5, 7]]))
    output.sum().backward()
    assert torch.isfinite(output).all()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())


@pytest.mark.parametrize(
    ("share_cross", "share_latent", "num_cross", "num_latent"),
    [("none", "none", 3, 3), ("all_but_first", "all", 2, 1), ("all", "all_but_first", 1, 2)],
)
def test_shared_weights_are_one_tensor(share_cross: str, share_latent: str, num_cross: int, num_latent: int) -> None:
    model = make(
        PerceiverConfig(
            num_latents=6,
            latent_channels=12,
            num_cross_attends=3,
            num_blocks=3,
            num_self_attends_per_block=1,
            num_self_attend_heads=2,
            share_cross_attends=share_cross,
            share_latent_transformers=share_latent,
        )
    )
    assert (len(model.cross_attends), len(model.latent_transformers)) == (num_cross, num_latent)
    tensors = list(model.state_dict().values())
    assert len({tensor.data_ptr() for tensor in tensors if tensor.numel()}) == len(tensors)


def test_keys_and_values_of_shared_cross_attends_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    original = CrossAttention.prepare

    def counting(self: CrossAttention, view: object) -> object:
        calls.append(self)
        return original(self, view)  # type: ignore[arg-type]

    monkeypatch.setattr(CrossAttention, "prepare", counting)
    config = PerceiverConfig(num_latents=4, latent_channels=8, num_self_attends_per_block=1, num_self_attend_heads=2)
    make(config)(torch.randn(1, 5, 7, 3))
    assert len(calls) == 2  # of the eight cross-attends the first, and the seven others together


def test_every_parameter_gets_a_gradient() -> None:
    model = make()
    model(torch.randn(2, 5, 7, 3)).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        if not name.endswith("key.bias"):  # it drops out of the softmax
            assert parameter.grad.abs().max() > 0, name


def test_the_head_is_the_mean_then_a_linear_layer_and_starts_at_zero() -> None:
    model = build_perceiver(GRID, SMALL, 4)
    inputs = torch.randn(2, 5, 7, 3)
    assert (model(inputs) == 0).all()
    model = make()
    latents = model.encode(model.input(inputs))
    expected = latents.mean(dim=1) @ model.head.logits.weight.T + model.head.logits.bias
    assert_close(model(inputs), expected)


@pytest.mark.parametrize("share", ["all_but_first", "none"])
def test_checkpointing_activations_changes_nothing(share: str) -> None:
    config = PerceiverConfig(
        num_latents=6, latent_channels=12, num_cross_attends=3, num_blocks=3, num_self_attends_per_block=2,
        num_self_attend_heads=2, dropout=0.2, attention_dropout=0.1, share_cross_attends=share,
    )  # fmt: skip
    model, inputs = make(config), torch.randn(2, 5, 7, 3)
    results = []
    for recompute in (False, True):
        model.checkpoint_activations = recompute
        model.zero_grad()
        torch.manual_seed(5)
        loss = model(inputs).square().sum()
        loss.backward()
        results.append([loss.detach(), *(p.grad.clone() for p in model.parameters() if p.grad is not None)])
    for ours, theirs in zip(*results, strict=True):
        assert_close(ours, theirs, rtol=0, atol=0)


def test_the_walk_ends_when_its_observer_has_seen_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    model, seen = make(), []
    model.encode(model.input(torch.randn(1, 5, 7, 3)), lambda number, *_: seen.append(number) is None and number < 1)
    assert seen == [0, 1]


def test_bf16_autocast_stays_close() -> None:
    model, inputs = make().eval(), torch.randn(2, 5, 7, 3)
    exact = model.double()(inputs.double())
    model = model.float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = model(inputs).double()
    # bf16 keeps 8 bits: relative steps of 2^-8, over some ten products one after the other.
    assert (rough - exact).abs().max() < 10 * 2**-8 * exact.abs().max()


def their_layers(model: Perceiver, gelu: str) -> tuple[list[PerceiverLayer], list[PerceiverLayer]]:
    """Returns transformers' layers with our weights: cross-attends, and the layers of the one latent transformer."""
    config = TheirConfig(hidden_act=gelu, attention_probs_dropout_prob=0.0)
    channels, width = model.input.input_channels, model.config.latent_channels

    def layer(ours: CrossAttend | SelfAttend) -> PerceiverLayer:
        is_cross = isinstance(ours, CrossAttend)
        theirs = PerceiverLayer(
            config,
            is_cross_attention=is_cross,
            qk_channels=min(channels, width) if is_cross else width,
            v_channels=min(channels, width) if is_cross else width,
            num_heads=model.config.num_cross_attend_heads if is_cross else model.config.num_self_attend_heads,
            q_dim=width,
            kv_dim=channels if is_cross else width,
            widening_factor=1,
            use_query_residual=True,
        )
        attention = ours.attention
        pairs = {
            "attention.self.query": attention.query,
            "attention.self.key": attention.key,
            "attention.self.value": attention.value,
            "attention.output.dense": attention.output,
            "layernorm": ours.feed_forward_norm,
            "mlp.dense1": ours.feed_forward.expand,
            "mlp.dense2": ours.feed_forward.contract,
        }
        if isinstance(attention, CrossAttention):
            pairs["attention.self.layernorm1"] = attention.query_norm
            pairs["attention.self.layernorm2"] = attention.byte_norm
        else:
            pairs["attention.self.layernorm1"] = attention.norm
        for name, source in pairs.items():
            theirs.get_submodule(name).load_state_dict(source.state_dict())
        return theirs.eval()

    return [layer(part) for part in model.cross_attends], [layer(part) for part in model.latent_transformers[0]]


def their_forward(model: Perceiver, inputs: Tensor, gelu: str) -> tuple[Tensor, list[Tensor]]:
    """Composes their layers as the paper iterates them; returns the last latents and the first gradients."""
    cross_attends, block = their_layers(model, gelu)
    dense = model.input(inputs).dense()
    latents = model.latents.detach().clone().requires_grad_()
    hidden = latents.expand(len(inputs), -1, -1)
    for iteration in range(model.config.num_cross_attends):
        cross_attend = cross_attends[min(iteration, len(cross_attends) - 1)]
        hidden = cross_attend(hidden, inputs=dense)[0]
        for layer in block:
            hidden = layer(hidden)[0]
    wanted = [latents, *(part.attention.self.query.weight for part in (*cross_attends, *block))]
    wanted += [part.attention.self.value.weight for part in (*cross_attends, *block)]
    wanted += [part.attention.self.layernorm1.weight for part in (*cross_attends, *block)]
    wanted += [part.attention.self.layernorm2.weight for part in cross_attends]
    return hidden, list(torch.autograd.grad(hidden.square().sum(), wanted))


@pytest.mark.parametrize("num_cross_attends", [1, 8])
@pytest.mark.parametrize(("ours", "theirs"), [("erf", "gelu"), ("tanh", "gelu_pytorch_tanh")])
def test_equals_transformers_layers(num_cross_attends: int, ours: str, theirs: str) -> None:
    grid = GridInputConfig(axes=(12, 12), channels=3, encoding=GridEncoding(num_bands=6))
    config = PerceiverConfig(
        num_latents=16, latent_channels=32, num_cross_attends=num_cross_attends, num_blocks=num_cross_attends,
        num_self_attends_per_block=2, num_self_attend_heads=4, gelu=ours,
    )  # fmt: skip
    model, inputs = make(config, grid).eval(), torch.randn(2, 12, 12, 3)
    expected, expected_gradients = their_forward(model, inputs, theirs)
    latents = model.encode(model.input(inputs))
    # 1e-5 of the largest value: entries that nearly cancel carry the rounding of the large ones.
    assert (latents - expected).abs().max() <= 1e-5 * expected.abs().max()
    parts = [*model.cross_attends, *model.latent_transformers[0]]
    wanted = [model.latents, *(part.attention.query.weight for part in parts)]
    wanted += [part.attention.value.weight for part in parts]
    norms = [part.attention.query_norm if isinstance(part, CrossAttend) else part.attention.norm for part in parts]
    wanted += [norm.weight for norm in norms]
    wanted += [part.attention.byte_norm.weight for part in model.cross_attends]
    gradients = torch.autograd.grad(latents.square().sum(), wanted)
    for found, theirs_gradient in zip(gradients, expected_gradients, strict=True):
        assert (found - theirs_gradient).abs().max() <= 1e-5 * theirs_gradient.abs().max()
