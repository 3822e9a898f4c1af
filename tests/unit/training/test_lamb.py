"""The official update (optax: scale_by_adam, add decay, scale_by_trust_ratio, schedule), written out in numpy."""

import numpy as np
import pytest
import torch
from torch import Tensor

from perceptio.training.lamb import Lamb

BETA1, BETA2, EPS = 0.9, 0.999, 1e-6
SHAPES = {"weight": (5, 3), "bias": (5,), "started at zero": (7,), "never moved": (2,)}
DECAY = {"weight": 0.1, "bias": 0.0, "started at zero": 0.1, "never moved": 0.0}
RATES = (0.02, 0.02, 0.01, 0.03, 0.02, 0.005, 0.02)


def start_values() -> dict[str, np.ndarray]:
    random = np.random.default_rng(11)
    values = {name: random.normal(size=shape) for name, shape in SHAPES.items()}
    values["started at zero"][:] = 0.0
    return values


def gradients(step: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng([13, step])
    # Each tensor at its own scale: the trust ratio must be taken per tensor.
    scales = {"weight": 1.0, "bias": 30.0, "started at zero": 0.3, "never moved": 0.0}
    return {name: scales[name] * random.normal(size=shape) for name, shape in SHAPES.items()}


def official(num_steps: int) -> dict[str, np.ndarray]:
    values = start_values()
    first = {name: np.zeros(shape) for name, shape in SHAPES.items()}
    second = {name: np.zeros(shape) for name, shape in SHAPES.items()}
    for step in range(1, num_steps + 1):
        for name, gradient in gradients(step).items():
            first[name] = BETA1 * first[name] + (1 - BETA1) * gradient
            second[name] = BETA2 * second[name] + (1 - BETA2) * gradient**2
            m_hat = first[name] / (1 - BETA1**step)
            v_hat = second[name] / (1 - BETA2**step)
            update = m_hat / (np.sqrt(v_hat) + EPS) + DECAY[name] * values[name]
            norms = np.linalg.norm(values[name]), np.linalg.norm(update)
            trust = norms[0] / norms[1] if norms[0] > 0 and norms[1] > 0 else 1.0
            values[name] = values[name] - RATES[step - 1] * trust * update
    return values


def parameters(dtype: torch.dtype) -> dict[str, Tensor]:
    return {name: torch.tensor(value, dtype=dtype, requires_grad=True) for name, value in start_values().items()}


def run(optimizer: torch.optim.Optimizer, of: dict[str, Tensor], num_steps: int) -> dict[str, np.ndarray]:
    for step in range(1, num_steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = RATES[step - 1]
        for name, gradient in gradients(step).items():
            of[name].grad = torch.tensor(gradient, dtype=of[name].dtype)
        optimizer.step()
    return {name: tensor.detach().double().numpy() for name, tensor in of.items()}


def ours(dtype: torch.dtype, num_steps: int) -> dict[str, np.ndarray]:
    of = parameters(dtype)
    groups = [{"params": [tensor], "weight_decay": DECAY[name]} for name, tensor in of.items()]
    return run(Lamb(groups, lr=1.0, betas=(BETA1, BETA2), eps=EPS), of, num_steps)


@pytest.mark.parametrize("num_steps", [1, 2, len(RATES)])
def test_lamb_is_the_official_update(num_steps: int):
    expected, found = official(num_steps), ours(torch.float64, num_steps)
    for name in SHAPES:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-12, atol=1e-14, err_msg=name)


def test_lamb_in_fp32_is_the_official_update_to_one_in_a_million():
    expected, found = official(len(RATES)), ours(torch.float32, len(RATES))
    for name in SHAPES:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-6, atol=1e-6, err_msg=name)


def test_first_step_of_a_tensor_of_zeros_has_the_learning_rate_as_its_size():
    """The trust ratio is 1 there, and the bias-corrected update of a first step is the gradient's sign."""
    found = ours(torch.float64, 1)["started at zero"]
    expected = -RATES[0] * np.sign(gradients(1)["started at zero"])
    np.testing.assert_allclose(found, expected, rtol=1e-4)  # eps is that small against gradients of about 0.3


def test_a_tensor_without_gradient_stays():
    of = {"weight": torch.ones(3, requires_grad=True)}
    Lamb(of.values(), lr=1.0, weight_decay=0.1).step()
    assert torch.equal(of["weight"].detach(), torch.ones(3))


def test_the_closure_is_evaluated_with_gradients():
    weight = torch.ones(3, requires_grad=True)
    optimizer = Lamb([weight], lr=0.1)

    def closure() -> float:
        loss = (weight**2).sum()
        loss.backward()
        return loss.item()

    assert optimizer.step(closure) == 3.0
    assert not torch.equal(weight.detach(), torch.ones(3))


@pytest.mark.parametrize(
    ("grad_averaging", "adam_debias", "factor"),
    [(False, False, 1e5**0.5), (True, False, 1e3**0.5), (False, True, 1e3**0.5), (True, True, 10**0.5)],
)
def test_the_published_lamb_differs_and_that_is_why_there_is_our_own(
    grad_averaging: bool, adam_debias: bool, factor: float
):
    """pytorch-optimizer never corrects the second moment's bias, and the first one's only in the step size.

    In the first step m / sqrt(v) is 0.1 g / sqrt(0.001 g^2) = 3.16 sign(g) at best, where the official update has
    sign(g): ten times that with a moment that is no average, and again with a step size divided by 0.1. The trust ratio
    hides part of it, except where it is 1: in what starts at zero, as the head does. And the decay weighs less than it
    should against such an update.
    """
    from pytorch_optimizer import Lamb as PublishedLamb

    of = parameters(torch.float64)
    groups = [{"params": [tensor], "weight_decay": DECAY[name]} for name, tensor in of.items()]
    published = PublishedLamb(
        groups,
        lr=1.0,
        betas=(BETA1, BETA2),
        eps=EPS,
        weight_decouple=False,
        fixed_decay=False,
        pre_norm=False,
        grad_averaging=grad_averaging,
        adam_debias=adam_debias,
    )
    found, expected, before = run(published, of, 1), official(1), start_values()
    moved = {name: np.linalg.norm(found[name] - before[name]) for name in SHAPES}
    should = {name: np.linalg.norm(expected[name] - before[name]) for name in SHAPES}
    assert moved["started at zero"] / should["started at zero"] == pytest.approx(factor, rel=0.01)
    apart = np.linalg.norm(found["weight"] - expected["weight"]) / should["weight"]
    assert apart > 0.01
