"""Non-linearities: sigmoid, ReLU, and GELU (Hendrycks & Gimpel 2016, arXiv:1606.08415)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from dlkit.nn.activations import GELU, ReLU, Sigmoid
from dlkit.review.deviation import Deviation, largest, largest_difference, shortfall

Elementwise = Callable[[Tensor], Tensor]
DEPTH, WIDTH = 20, 32


def gelu_is_x_times_normal_cdf(gelu: Elementwise | None = None) -> Deviation:
    """GELU(x) = x Phi(x), Phi being the distribution function of the standard normal."""
    x = 3 * torch.randn(1000)
    return Deviation(
        largest_difference((gelu or GELU())(x), x * torch.special.ndtr(x)),
        {"ReLU": largest_difference(x.relu(), x * torch.special.ndtr(x))},
    )


def sigmoid_smooths_step(sigmoid: Elementwise | None = None) -> Deviation:
    """|sigma(k x) - [x > 0]| <= e^(-k |x|): the steeper, the closer to the step, and it lies in (0, 1)."""
    sigmoid = sigmoid or Sigmoid()
    x, step = torch.randn(1000), torch.heaviside
    excess = 0.0
    for k in (1.0, 4.0, 16.0):
        distance = (sigmoid(k * x) - step(x, torch.zeros(()))).abs()
        excess = largest(excess, float((distance - (-k * x.abs()).exp()).max()))
    y = sigmoid(x)
    return Deviation(largest(excess, float(-y.min()), float(y.max()) - 1, 0.0), {"slope at 0": _slope(sigmoid, 0.0)})


def relu_gates_by_sign(relu: Elementwise | None = None) -> Deviation:
    """relu(x) = x [x > 0]: an input passes as it is, or not at all, and so does its gradient."""
    x = torch.randn(1000, requires_grad=True)
    y = (relu or ReLU())(x)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    gate = (x > 0).to(x.dtype)
    return Deviation(largest(largest_difference(y, x * gate), largest_difference(gradient, gate)))


def sigmoid_gradients_vanish(sigmoid: Elementwise | None = None) -> Deviation:
    """Through 20 layers of orthogonal weights the gradient shrinks to 4^-20 of itself or less, since sigma' <= 1/4.

    Through ReLU, which halves its square in the mean and whose weights make up for it by sqrt(2), it does not.
    """
    shrunk = _shrinkage(sigmoid or Sigmoid(), 1.0)
    relu = _shrinkage(ReLU(), math.sqrt(2))
    bound = 4.0**-DEPTH
    return Deviation(
        largest(0.0, math.log10(max(shrunk, 1e-300) / bound), shortfall(relu, 1e-3)),
        {"sigmoid": shrunk, "bound": bound, "ReLU": relu},
    )


def _shrinkage(activation: Elementwise, gain: float) -> float:
    """Norm of the gradient before the first layer by that behind the last one."""
    x = torch.randn(8, WIDTH, requires_grad=True)
    y = x
    for _ in range(DEPTH):
        weight = torch.linalg.qr(torch.randn(WIDTH, WIDTH))[0] * gain
        y = activation(y @ weight)
    behind = torch.randn(y.shape)
    (before,) = torch.autograd.grad(y, x, behind)
    return float(before.norm() / behind.norm())


def _slope(function: Elementwise, at: float) -> float:
    x = torch.tensor(at, requires_grad=True)
    return float(torch.autograd.grad(function(x), x)[0])
