import pytest
import torch
from torch.nn import functional
from torch.testing import assert_close

from perceptio.kernels.reference import attend_reference
from perceptio.modules.attention import CrossAttention, SelfAttention
from perceptio.modules.byte_array import ByteArray, Segment
from perceptio.modules.byte_view import ByteView

B, N, M, D, C = 2, 3, 7, 12, 10


def as_bytes(channels: torch.Tensor, mask: torch.Tensor | None = None) -> ByteArray:
    return ByteArray(segments=(Segment(channels=channels, mask=mask),))


def randomise(module: torch.nn.Module) -> None:
    """Gives biases and norms values that matter: at their start they are zero and one."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))


@pytest.mark.parametrize("num_heads", [1, 2])
def test_cross_attention_is_the_textbooks(num_heads: int) -> None:
    attention = CrossAttention(C, D, num_heads=num_heads, qk_channels=6, v_channels=8, num_latents=N).double()
    randomise(attention)
    latents, channels = torch.randn(B, N, D).double(), torch.randn(B, M, C).double()
    normed = functional.layer_norm(channels, (C,), attention.byte_norm.weight, attention.byte_norm.bias)
    q, k, v = attention.query(attention.query_norm(latents)), attention.key(normed), attention.value(normed)
    heads = [t.unflatten(-1, (num_heads, -1)).transpose(1, 2) for t in (q, k, v)]
    expected = attention.output(attend_reference(*heads).transpose(1, 2).flatten(2))
    found = attention(latents, attention.prepare(ByteView(as_bytes(channels))))
    assert_close(found, expected, rtol=1e-11, atol=1e-11)


def test_every_parameter_gets_the_textbooks_gradient() -> None:
    attention = CrossAttention(C, D, num_heads=2, qk_channels=6, v_channels=8, num_latents=N).double()
    randomise(attention)
    latents, channels = torch.randn(B, N, D).double(), torch.randn(B, M, C).double().requires_grad_()
    weights = torch.randn(B, N, D).double()
    wanted = [channels, *attention.parameters()]
    normed = functional.layer_norm(channels, (C,), attention.byte_norm.weight, attention.byte_norm.bias)
    q, k, v = attention.query(attention.query_norm(latents)), attention.key(normed), attention.value(normed)
    heads = [t.unflatten(-1, (2, -1)).transpose(1, 2) for t in (q, k, v)]
    attended = torch.softmax(heads[0] @ heads[1].transpose(-1, -2) * 3**-0.5, dim=-1) @ heads[2]
    expected = torch.autograd.grad((attention.output(attended.transpose(1, 2).flatten(2)) * weights).sum(), wanted)
    found_output = attention(latents, attention.prepare(ByteView(as_bytes(channels))))
    found = torch.autograd.grad((found_output * weights).sum(), wanted)
    names = ["channels", *(name for name, _ in attention.named_parameters())]
    for name, ours, theirs in zip(names, found, expected, strict=True):
        assert_close(ours, theirs, rtol=1e-10, atol=1e-10, msg=lambda text, name=name: f"{name}: {text}")


def test_a_sample_without_bytes_reads_zeros_before_the_output_projection() -> None:
    attention = CrossAttention(C, D, num_heads=1, qk_channels=6, v_channels=6, num_latents=N)
    randomise(attention)
    mask = torch.tensor([[True] * M, [False] * M])
    prepared = attention.prepare(ByteView(as_bytes(torch.randn(B, M, C), mask)))
    assert_close(attention(torch.randn(B, N, D), prepared)[1], attention.output.bias.expand(N, D))


def test_self_attention_is_the_textbooks() -> None:
    attention = SelfAttention(D, num_heads=3).double()
    randomise(attention)
    latents = torch.randn(B, N, D).double()
    normed = attention.norm(latents)
    heads = [
        projection(normed).unflatten(-1, (3, -1)).transpose(1, 2)
        for projection in (attention.query, attention.key, attention.value)
    ]
    expected = attention.output(attend_reference(*heads).transpose(1, 2).flatten(2))
    assert_close(attention(latents), expected, rtol=1e-11, atol=1e-11)


def test_heads_that_do_not_divide_a_width_are_refused_with_the_next_width() -> None:
    with pytest.raises(ValueError, match=r"num_cross_attend_heads must divide qk_channels: got 8 and 261\..*=264"):
        CrossAttention(261, 1024, num_heads=8, qk_channels=261, v_channels=264, num_latents=N)
    with pytest.raises(ValueError, match="num_self_attend_heads must divide latent_channels: got 5 and 12"):
        SelfAttention(12, num_heads=5)


def test_attention_dropout_acts_in_training_alone() -> None:
    attention = SelfAttention(D, num_heads=3, dropout=0.5)
    latents = torch.randn(B, N, D)
    assert not torch.equal(attention(latents), attention(latents))
    attention.eval()
    assert torch.equal(attention(latents), attention(latents))
