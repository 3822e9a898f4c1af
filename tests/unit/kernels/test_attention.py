import pytest
import torch
from torch.testing import assert_close

from perceptio.kernels.attention import attend, attention_scores
from perceptio.kernels.reference import attend_reference

B, H, N, M, E, V = 2, 3, 5, 7, 4, 6


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def draw_qkv() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return draw(B, H, N, E), draw(B, H, M, E), draw(B, H, M, V)


def test_equals_plain_loops() -> None:
    q, k, v = draw_qkv()
    assert_close(attend(q, k, v), attend_reference(q, k, v), rtol=1e-12, atol=1e-12)


def test_equals_plain_loops_under_a_mask_with_one_sample_empty() -> None:
    q, k, v = draw_qkv()
    mask = torch.tensor([[True, False, True, True, False, True, False], [False] * M])
    attended = attend(q, k, v, mask)
    assert_close(attended, attend_reference(q, k, v, mask), rtol=1e-12, atol=1e-12)
    assert (attended[1] == 0).all()


def test_masked_bytes_have_no_influence_not_even_as_infinities() -> None:
    q, k, v = draw_qkv()
    mask = torch.ones(B, M, dtype=torch.bool)
    mask[:, 4:] = False
    before = attend(q, k, v, mask)
    k[:, :, 4:], v[:, :, 4:] = 1e6, -1e6
    assert_close(attend(q, k, v, mask), before, rtol=0, atol=0)


def test_gradients_are_finite_and_zero_where_nothing_is_present() -> None:
    q, k, v = (tensor.requires_grad_() for tensor in draw_qkv())
    mask = torch.zeros(B, M, dtype=torch.bool)
    mask[0, 2:5] = True
    attend(q, k, v, mask).square().sum().backward()
    for tensor in (q, k, v):
        assert tensor.grad is not None
        assert torch.isfinite(tensor.grad).all()
        assert (tensor.grad[1] == 0).all()
    assert v.grad is not None
    assert (v.grad[0, :, [0, 1, 5, 6]] == 0).all()
    assert (v.grad[0, :, 2:5] != 0).all()


def test_dropout_drops_the_share_that_was_asked_for() -> None:
    num_bytes, share = 4000, 0.3
    q, k = torch.zeros(1, 1, 1, E), torch.zeros(1, 1, num_bytes, E)
    v = torch.ones(1, 1, num_bytes, 1)
    # With equal scores the result is the mean of kept / (1 - share): expectation 1. Its standard deviation is
    # sqrt(share / (1 - share) / num_bytes) = 0.0104; five of them bound it.
    assert abs(attend(q, k, v, dropout=share).item() - 1.0) < 5 * (share / (1 - share) / num_bytes) ** 0.5
    assert attend(q, k, v, dropout=share).item() != 1.0


def test_scores_are_what_the_softmax_sees() -> None:
    q, k, v = draw_qkv()
    weights = torch.softmax(attention_scores(q, k), dim=-1)
    assert_close(weights @ v, attend(q, k, v), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_keeps_the_dtype_of_its_input(dtype: torch.dtype) -> None:
    q, k, v = (tensor.to(dtype) for tensor in draw_qkv())
    assert attend(q, k, v, torch.ones(B, M, dtype=torch.bool)).dtype == dtype
