"""L2 regularization as a prior and as weight decay (Krogh & Hertz 1991)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.distributions import Normal

from dlkit.losses import l2_penalty
from dlkit.optim.sgd import SGD
from dlkit.review.deviation import Deviation, largest, largest_difference

Penalty = Callable[[Iterable[Tensor], float], Tensor]
WEIGHTS = 5


def l2_is_gaussian_prior(penalty: Penalty = l2_penalty) -> Deviation:
    """Its gradient is that of -log N(theta; 0, 1/lambda): the penalised minimum is the most probable theta."""
    theta, strength = torch.randn(WEIGHTS, requires_grad=True), float(torch.rand(()) + 0.1)
    (gradient,) = torch.autograd.grad(penalty([theta], strength), theta)
    prior = -Normal(0.0, 1 / math.sqrt(strength)).log_prob(theta).sum()
    (expected,) = torch.autograd.grad(prior, theta)
    return Deviation(largest_difference(gradient, expected))


def l2_is_weight_decay(penalty: Penalty = l2_penalty) -> Deviation:
    """A step of gradient descent on the penalty alone multiplies every weight by 1 - lr lambda."""
    theta, (lr, strength) = torch.randn(WEIGHTS), (0.1, float(torch.rand(()) + 0.1))
    parameter = torch.nn.Parameter(theta.clone())
    penalty([parameter], strength).backward()
    SGD([parameter], lr=lr).step()
    return Deviation(largest_difference(parameter.detach(), theta * (1 - lr * strength)))


def l2_shrinks_weights(penalty: Penalty = l2_penalty) -> Deviation:
    """The more of it, the smaller the least-squares solution: the norm falls as lambda grows.

    Where the gradient of loss and penalty is 0, theta = (X^T X + lambda I)^-1 X^T y; here Newton's method finds it.
    """
    x, y = torch.randn(30, WEIGHTS), torch.randn(30)
    norms: list[float] = []
    for strength in (0.1, 1.0, 10.0, 100.0):
        theta = torch.zeros(WEIGHTS, requires_grad=True)

        def loss(w: Tensor, strength: float = strength) -> Tensor:
            return (x @ w - y).square().sum() / 2 + penalty([w], strength)

        (gradient,) = torch.autograd.grad(loss(theta), theta)
        hessian = torch.autograd.functional.hessian(loss, theta)
        assert isinstance(hessian, Tensor)
        norms.append(float(torch.linalg.solve(hessian, gradient).norm()))
    rises = [after - before for before, after in itertools.pairwise(norms)]
    named = {f"norm at lambda = {strength:g}": norm for strength, norm in zip((0.1, 1, 10, 100), norms, strict=True)}
    return Deviation(largest(0.0, *rises, float(norms[-1] > norms[0] / 2)), named)
