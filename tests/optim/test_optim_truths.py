"""What each rule does where the answer is known in closed form, and how a slip in it would show."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dlkit.optim.adagrad import Adagrad, adagrad_step
from dlkit.optim.adam import Adam, adam_step
from dlkit.optim.adamw import AdamW
from dlkit.optim.groups import parameter_groups
from dlkit.optim.momentum import Momentum
from dlkit.optim.rmsprop import RMSprop, rmsprop_step
from dlkit.optim.sgd import SGD


def after(optimizer: Any, gradient: float, steps: int, start: float = 1.0, **options: Any) -> float:
    """theta after so many steps of one constant gradient."""
    theta = torch.tensor([start], dtype=torch.float64, requires_grad=True)
    chosen = optimizer([theta], **options)
    for _ in range(steps):
        theta.grad = torch.tensor([gradient], dtype=torch.float64)
        chosen.step()
    return theta.item()


def test_gradient_descent_on_a_parabola() -> None:
    theta = torch.tensor([1.0, -2.0], dtype=torch.float64, requires_grad=True)
    curvature = torch.tensor([3.0, 0.5], dtype=torch.float64)
    optimizer = SGD([theta], lr=0.1)
    for _ in range(25):
        optimizer.zero_grad()
        (curvature * theta**2 / 2).sum().backward()
        optimizer.step()
    # theta_n = (1 - lr a)^n theta_0
    expected = (1 - 0.1 * curvature) ** 25 * torch.tensor([1.0, -2.0], dtype=torch.float64)
    torch.testing.assert_close(theta.detach(), expected, rtol=1e-13, atol=0)


def test_weight_decay_is_the_gradient_of_the_l2_penalty() -> None:
    from dlkit.losses import l2_penalty

    a, b = (torch.tensor([1.0, -2.0], dtype=torch.float64, requires_grad=True) for _ in range(2))
    decaying, plain = SGD([a], lr=0.1, weight_decay=0.3), SGD([b], lr=0.1)
    for _ in range(10):
        for optimizer, theta, l2 in ((decaying, a, 0.0), (plain, b, 0.3)):
            optimizer.zero_grad()
            (torch.sin(theta).sum() + l2_penalty([theta], l2)).backward()
            optimizer.step()
    torch.testing.assert_close(a, b, rtol=1e-14, atol=0)


def test_velocity_is_a_geometric_series() -> None:
    # sum_(k=1)^n v_k with v_k = (1 - rho^k) / (1 - rho)
    moved = sum((1 - 0.9**k) / 0.1 for k in range(1, 31))
    assert after(Momentum, 1.0, 30, lr=0.01, momentum=0.9) == pytest.approx(1 - 0.01 * moved, rel=1e-13)


def test_nesterov_looks_one_step_ahead() -> None:
    moved = sum(1 + 0.9 * (1 - 0.9**k) / 0.1 for k in range(1, 31))
    assert after(Momentum, 1.0, 30, lr=0.01, momentum=0.9, nesterov=True) == pytest.approx(1 - 0.01 * moved, rel=1e-13)


def test_adagrad_steps_shrink_with_the_root_of_their_number() -> None:
    moved = sum(1 / math.sqrt(t) for t in range(1, 101))
    for gradient in (1e-3, 1.0, 1e3):  # whatever the scale of the gradient
        assert after(Adagrad, gradient, 100, lr=0.1, eps=0.0) == pytest.approx(1 - 0.1 * moved, rel=1e-12)


def test_rmsprop_has_no_bias_correction() -> None:
    # s_1 = (1 - rho) g^2, so the first step is lr / sqrt(1 - rho) long
    assert after(RMSprop, 5.0, 1, lr=0.01, alpha=0.9, eps=0.0) == pytest.approx(1 - 0.01 / math.sqrt(0.1), rel=1e-13)


@pytest.mark.parametrize("way", ["kernel", "rule"])
@pytest.mark.parametrize("optimizer", [Adam, AdamW])
@pytest.mark.parametrize("rho", [0.0, 0.9, 0.999, 0.999999, 1 - 1e-9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bias_corrections_are_exact(
    way: str, optimizer: Any, rho: float, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way == "rule":
        monkeypatch.setattr(optimizer, "fused_devices", ())
    for before in (0, 1, 9, 9_999, 999_999):
        theta = torch.zeros(8, dtype=dtype, requires_grad=True)
        adam_ = optimizer([theta], lr=1e-3, betas=(rho, rho), eps=0.0, weight_decay=0.0)
        # moments that a gradient of 1/2 leaves as they are
        state = {"exp_avg": torch.full_like(theta, 0.5), "exp_avg_sq": torch.full_like(theta, 0.25)}
        adam_.state[theta] = {"step": torch.tensor(float(before)), **state}
        theta.grad = torch.full_like(theta, 0.5)
        adam_.step()
        with localcontext(prec=60):
            correction = 1 - Decimal(rho) ** (before + 1)  # of the very number that is nearest to rho in binary
            expected = -Decimal("1e-3") / correction * correction.sqrt()
        # the kernel's 1 - rho^t in float64 loses 1e-16 / (1 - rho)
        tolerance = 1e-6 if dtype == torch.float32 else 1e-15 / (1 - rho) if way == "kernel" else 1e-14
        assert theta[0].item() == pytest.approx(float(expected), rel=tolerance)


@pytest.mark.parametrize("gradient", [1e-6, -3.0, 1e6])
def test_adam_steps_of_a_constant_gradient_are_lr_long(gradient: float) -> None:
    moved = after(Adam, gradient, 40, lr=0.01, eps=0.0) - 1
    assert moved == pytest.approx(-0.4 * math.copysign(1, gradient), rel=1e-10)


def test_adamw_decay_is_decoupled_from_the_gradient() -> None:
    assert after(AdamW, 0.0, 10, start=2.0, lr=0.1, weight_decay=0.5) == pytest.approx(2 * 0.95**10, rel=1e-13)
    # through Adam's moments the same decay is normalised away: about lr a step, whatever lambda
    assert after(Adam, 0.0, 10, start=200.0, lr=0.1, weight_decay=0.5) == pytest.approx(199.0, rel=1e-4)


# ------------------------------------------------------------------ slips


def test_adagrad_steps_with_the_gradient() -> None:
    theta, v = torch.tensor([1.0]), torch.zeros(1)
    g = torch.tensor([-2.0])
    adagrad_step(theta, g, v, torch.tensor(1.0), lr=0.1, lr_decay=0.0, eps=0.0, weight_decay=0.0)
    slipped = 1.0 - 0.1 * g**2 / v.sqrt()  # the squared gradient loses the sign
    assert theta.item() == pytest.approx(1.1)
    assert slipped.item() == pytest.approx(0.8)


def test_rmsprop_steps_with_the_gradient() -> None:
    theta, v = torch.tensor([1.0]), torch.zeros(1)
    g = torch.tensor([-2.0])
    rmsprop_step(
        theta,
        g,
        v,
        lr=0.1,
        alpha=0.0,
        eps=0.0,
        weight_decay=0.0,
    )
    slipped = 1.0 - 0.1 * g**2 / v.sqrt()
    assert theta.item() == pytest.approx(1.1)
    assert slipped.item() == pytest.approx(0.8)


def test_adam_corrects_a_copy() -> None:
    gradients = [1.0, -0.5, 2.0, 0.25]
    theta, m, v = torch.tensor([1.0]), torch.zeros(1), torch.zeros(1)
    fed_back = 0.0
    for t, g in enumerate(gradients, start=1):
        gradient, step = torch.tensor([g]), torch.tensor(float(t))
        adam_step(theta, gradient, m, v, step, lr=0.1, betas=(0.9, 0.999), eps=0.0)
        fed_back = (0.999 * fed_back + 0.001 * g**2) / (1 - 0.999**t)  # the slip
    plain = sum(0.001 * 0.999 ** (4 - t) * g**2 for t, g in enumerate(gradients, start=1))
    assert v.item() == pytest.approx(plain, rel=1e-5)
    assert abs(fed_back - plain) > 100 * plain


def test_adamw_decays_element_by_element() -> None:
    theta = torch.tensor([3.0, -4.0], requires_grad=True)
    optimizer = AdamW([theta], lr=0.1, weight_decay=0.5)
    theta.grad = torch.zeros(2)
    optimizer.step()
    # a scalar penalty would take lambda ||theta||^2 = 12.5 from both
    torch.testing.assert_close(theta.detach(), torch.tensor([3.0 * 0.95, -4.0 * 0.95]))


# ------------------------------------------------------------------ which parameters decay


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.norm = nn.LayerNorm(4)
        self.last = nn.Linear(4, 4, bias=False)
        self.last.weight = self.first.weight
        self.frozen = nn.Parameter(torch.ones(2, 2), requires_grad=False)


def names(model: nn.Module, parameters: list[Tensor]) -> list[str]:
    known = {id(parameter): name for name, parameter in model.named_parameters()}
    return [known[id(parameter)] for parameter in parameters]


def test_norms_and_biases_are_spared() -> None:
    model = Tied()
    decaying, spared = parameter_groups(model)
    assert names(model, decaying["params"]) == ["first.weight"]
    assert names(model, spared["params"]) == ["first.bias", "norm.weight", "norm.bias"]
    optimizer = SGD([decaying, spared], lr=0.1, weight_decay=0.5)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.5, 0.0]


def test_all_parameters_decay_if_asked() -> None:
    model = Tied()
    (group,) = parameter_groups(model, decay="all")
    assert names(model, group["params"]) == ["first.weight", "first.bias", "norm.weight", "norm.bias"]
    assert SGD([group], lr=0.1, weight_decay=0.5).param_groups[0]["weight_decay"] == 0.5


def test_a_model_without_matrices_makes_no_empty_group() -> None:
    (group,) = parameter_groups(nn.LayerNorm(3))
    assert group["weight_decay"] == 0.0
