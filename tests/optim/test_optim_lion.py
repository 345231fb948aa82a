"""Lion against algorithm 2 of Chen et al. 2023 (arXiv:2302.06675), written out in numpy, element by element."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from dlkit.errors import RequestError
from dlkit.optim.lion import Lion

SHAPES = [(5, 3), (7,), (), (0, 4), (4, 3, 3, 3)]
OPTIONS: list[dict[str, Any]] = [
    {"lr": 0.01},
    {"lr": 0.01, "betas": (0.5, 0.9), "weight_decay": 0.3},
    {"lr": 0.01, "betas": (0.0, 0.0)},  # signSGD
    {"lr": 0.03, "weight_decay": 0.1, "maximize": True},
]


def drawn(seed: int) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [generator.standard_normal(shape) for shape in SHAPES]


def algorithm_2(thetas, steps, *, lr, betas=(0.9, 0.99), weight_decay=0.0, maximize=False):
    """The paper's loop: `given beta1, beta2, lambda, eta, f; initialize theta_0, m_0 <- 0; while not converged ...`."""
    beta1, beta2 = betas
    found = []
    for number, theta0 in enumerate(thetas):
        theta, m = theta0.astype(float).copy(), np.zeros_like(theta0)
        for t in range(steps):
            g = drawn(1000 + t)[number] * (-1 if maximize else 1)
            for i in np.ndindex(theta.shape):
                c = beta1 * m[i] + (1 - beta1) * g[i]
                theta[i] = theta[i] - lr * ((c > 0) - float(c < 0) + weight_decay * theta[i])
                m[i] = beta2 * m[i] + (1 - beta2) * g[i]
        found.append(theta)
    return found


@pytest.mark.parametrize("way", ["at once", "one by one"])
@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "-".join(options))
def test_thirty_steps(options: dict[str, Any], way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Lion, "foreach_devices", ("cpu",) if way == "at once" else ())
    params = [torch.tensor(value, dtype=torch.float64).requires_grad_() for value in drawn(0)]
    optimizer = Lion(params, **options)
    for step in range(30):
        for parameter, gradient in zip(params, drawn(1000 + step), strict=True):
            parameter.grad = torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
    for parameter, expected in zip(params, algorithm_2(drawn(0), 30, **options), strict=True):
        np.testing.assert_allclose(parameter.detach().numpy(), expected, rtol=1e-12, atol=1e-12)


def test_a_gradient_of_zero_moves_nothing_but_by_decay() -> None:
    theta = torch.tensor([2.0], requires_grad=True)
    theta.grad = torch.zeros(1)
    Lion([theta], lr=0.1, weight_decay=0.5).step()
    assert theta.item() == pytest.approx(2 * 0.95)


@pytest.mark.parametrize("betas", [(0.9, 1.0), (-0.1, 0.9), (float("nan"), 0.9)])
def test_betas_out_of_range(betas: tuple[float, float]) -> None:
    with pytest.raises(RequestError, match="betas"):
        Lion([torch.ones(1, requires_grad=True)], betas=betas)
