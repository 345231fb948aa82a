"""Gradient descent: noise, ravines and saddles, and what momentum does about each (Polyak 1964)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from dlkit.optim.momentum import Momentum
from dlkit.optim.sgd import SGD
from dlkit.review.deviation import Deviation, largest, largest_difference, shortfall

OptimizerClass = Callable[..., torch.optim.Optimizer]
CONDITION = 1000.0
EXAMPLES = 8


def batch_means(gradients: Tensor, size: int) -> Tensor:
    """The mean gradient of every mini-batch of that size that can be drawn: (N, F) to (batches, F)."""
    return torch.stack(
        [gradients[list(batch)].mean(0) for batch in itertools.combinations(range(len(gradients)), size)]
    )


def minibatch_gradient_noise(means: Callable[[Tensor, int], Tensor] = batch_means) -> Deviation:
    """Over all batches of B of N: the mean is the full gradient, the variance (N - B) / (N - 1) sigma^2 / B."""
    gradients = torch.randn(EXAMPLES, 3)
    full, variance = gradients.mean(0), gradients.var(0, correction=0)
    worst, numbers = 0.0, dict[str, float]()
    for size in (1, 2, 4, 8):
        drawn = means(gradients, size)
        expected = variance / size * (EXAMPLES - size) / (EXAMPLES - 1)
        worst = largest(worst, largest_difference(drawn.mean(0), full))
        worst = largest(worst, largest_difference(drawn.var(0, correction=0), expected))
        numbers[f"noise in batches of {size}"] = float(drawn.var(0, correction=0).mean().sqrt())
    return Deviation(worst, numbers)


def _steps_down(optimizer: OptimizerClass, target: float = 1e-6, most: int = 20_000, **options: Any) -> int:
    """Steps to shrink (x^2 + k y^2) / 2 to a share of what it was."""
    theta = torch.nn.Parameter(torch.tensor([1.0, 1.0]))
    steepness = torch.tensor([1.0, CONDITION])
    stepper = optimizer([theta], **options)
    first = float((steepness * theta.detach().square()).sum())
    for step in range(1, most):
        theta.grad = steepness * theta.detach()
        stepper.step()
        if float((steepness * theta.detach().square()).sum()) <= target * first:
            return step
    return most


def momentum_crosses_ravine(optimizer: OptimizerClass = Momentum) -> Deviation:
    """In a ravine of condition 1,000, momentum at its best settings needs at most a tenth of the steps.

    Best for gradient descent is lr = 2 / (1 + k); for momentum lr = 4 / (1 + sqrt k)^2 and
    mu = ((sqrt k - 1) / (sqrt k + 1))^2 (Polyak 1964).
    """
    root = math.sqrt(CONDITION)
    plain = _steps_down(SGD, lr=2 / (1 + CONDITION))
    quick = _steps_down(optimizer, lr=4 / (1 + root) ** 2, momentum=((root - 1) / (root + 1)) ** 2)
    return Deviation(shortfall(plain / quick, 10.0), {"gradient descent": plain, "momentum": quick})


def _steps_off_saddle(optimizer: OptimizerClass, **options: Any) -> int:
    """Steps until |y| > 1 on x^2 - y^2, from next to the ridge."""
    theta = torch.nn.Parameter(torch.tensor([1.0, 1e-6]))
    stepper = optimizer([theta], lr=0.01, **options)
    for step in range(1, 10_000):
        theta.grad = torch.stack([2 * theta[0], -2 * theta[1]]).detach()
        stepper.step()
        if abs(theta[1].item()) > 1:
            return step
    return 10_000


def momentum_leaves_saddle(optimizer: OptimizerClass = Momentum) -> Deviation:
    """From 1e-6 beside the ridge of a saddle, momentum of 0.9 is away in at most half the steps at the same rate."""
    plain, quick = _steps_off_saddle(SGD), _steps_off_saddle(optimizer, momentum=0.9)
    return Deviation(shortfall(plain / quick, 2.0), {"gradient descent": plain, "momentum": quick})


def momentum_averages_noise(optimizer: OptimizerClass = Momentum) -> Deviation:
    """The velocity is sum_k mu^k g_(t-k); times 1 - mu, a mean with sqrt((1 - mu) / (1 + mu)) of the noise of g."""
    mu, steps = 0.9, 400
    gradients = torch.randn(steps, 200)
    theta = torch.nn.Parameter(torch.zeros(200))
    stepper, before = optimizer([theta], lr=1.0, momentum=mu), theta.detach()
    for gradient in gradients:
        before = theta.detach().clone()
        theta.grad = gradient.clone()
        stepper.step()
    moved = before - theta.detach()
    weights = mu ** torch.arange(steps - 1, -1, -1)
    expected = (weights[:, None] * gradients).sum(0)
    shrunk = float((moved * (1 - mu)).std())
    return Deviation(
        largest_difference(moved, expected), {"noise of the mean": shrunk, "expected": math.sqrt((1 - mu) / (1 + mu))}
    )
