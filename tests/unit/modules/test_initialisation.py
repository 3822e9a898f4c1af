import torch

from perceptio.modules.initialisation import init_embedding, make_linear


def test_linear_weights_have_variance_one_over_fan_in_and_are_cut() -> None:
    linear = make_linear(400, 500)
    std = 400**-0.5
    # 200,000 draws: the sample standard deviation of the standard deviation is about std / sqrt(2 * 200,000) = 0.16 %.
    assert abs(linear.weight.std().item() / std - 1) < 0.01
    assert linear.weight.abs().max().item() <= 2 * std / 0.87962566 + 1e-7
    assert (linear.bias == 0).all()


def test_latents_are_a_normal_cut_at_two_sigma() -> None:
    latents = torch.empty(500, 400)
    init_embedding(latents, 0.02)
    assert latents.abs().max().item() <= 0.04
    # A normal cut at two sigma has 0.8796 of its standard deviation (paper.md a.4: effectively 0.0176).
    assert abs(latents.std().item() / 0.0176 - 1) < 0.01
