"""AdaGrad, RMSProp, Adam and AdamW (Duchi et al. 2011; Hinton 2012; arXiv:1412.6980; arXiv:1711.05101)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from dlkit.optim.adagrad import Adagrad
from dlkit.optim.adam import Adam
from dlkit.optim.adamw import AdamW
from dlkit.optim.rmsprop import RMSprop
from dlkit.optim.sgd import SGD
from dlkit.review.deviation import Deviation, largest, largest_difference, shortfall

OptimizerClass = Callable[..., torch.optim.Optimizer]
STEPS = 100


def _path(optimizer: OptimizerClass, gradients: Tensor, start: Tensor, **options: Any) -> Tensor:
    """Where steps on these gradients (T, F) lead: (T + 1, F)."""
    theta = torch.nn.Parameter(start.clone())
    stepper, path = optimizer([theta], **options), [start.clone()]
    for gradient in gradients:
        theta.grad = gradient.clone()
        stepper.step()
        path.append(theta.detach().clone())
    return torch.stack(path)


def _constant_gradient() -> Tensor:
    return (torch.randn(4) * 10 ** torch.linspace(-1, 2, 4)).expand(STEPS, 4)


def adagrad_slows_down(optimizer: OptimizerClass = Adagrad) -> Deviation:
    """Under a constant gradient its step t is lr / sqrt(t), since s adds up; RMSProp's tends to lr."""
    gradients, zero, lr = _constant_gradient(), torch.zeros(4), 0.1
    steps = _path(optimizer, gradients, zero, lr=lr, eps=0.0).diff(dim=0).abs()  # (T, F)
    expected = lr / torch.arange(1, STEPS + 1).sqrt()[:, None].expand(STEPS, 4)
    rmsprop = _path(RMSprop, gradients, zero, lr=lr, alpha=0.9, eps=0.0).diff(dim=0).abs()[-1]
    return Deviation(
        largest(largest_difference(steps, expected), shortfall(float(rmsprop.min()), 0.99 * lr)),
        {"AdaGrad's 100th step": float(steps[-1].max()), "RMSProp's": float(rmsprop.max())},
    )


def rmsprop_keeps_pace(optimizer: OptimizerClass = RMSprop) -> Deviation:
    """Under a constant gradient its step t is lr / sqrt(1 - alpha^t), which tends to lr."""
    lr, alpha = 0.1, 0.9
    steps = _path(optimizer, _constant_gradient(), torch.zeros(4), lr=lr, alpha=alpha, eps=0.0).diff(dim=0).abs()
    expected = lr / (1 - alpha ** torch.arange(1, STEPS + 1)).sqrt()[:, None].expand(STEPS, 4)
    return Deviation(
        largest_difference(steps, expected), {"first": float(steps[0].max()), "last": float(steps[-1].max())}
    )


def adaptive_steps_ignore_scale(optimizer: OptimizerClass = Adam) -> Deviation:
    """Gradients that are 1,000 times larger lead along the same path; under gradient descent, 1,000 times as far."""
    gradients, zero = torch.randn(STEPS, 4), torch.zeros(4)
    path = _path(optimizer, gradients, zero, lr=0.1, eps=0.0)
    scaled = _path(optimizer, 1000 * gradients, zero, lr=0.1, eps=0.0)
    return Deviation(largest_difference(path, scaled))


def bias_correction_matters_early(optimizer: OptimizerClass = Adam) -> Deviation:
    """Corrected, Adam's step is lr from the first one on, under any constant gradient.

    Uncorrected, step t would be (1 - beta1^t) / sqrt(1 - beta2^t) of it: 3.2 times as much in the first step of the
    usual 0.9 and 0.999, and 6.6 times in step 12.
    """
    lr, beta1, beta2 = 0.1, 0.9, 0.999
    steps = _path(optimizer, _constant_gradient(), torch.zeros(4), lr=lr, betas=(beta1, beta2), eps=0.0).diff(dim=0)
    t = torch.arange(1, STEPS + 1)
    uncorrected = (1 - beta1**t) / (1 - beta2**t).sqrt()
    return Deviation(
        largest_difference(steps.abs(), torch.full((STEPS, 4), lr)),
        {"uncorrected first step, in lr": float(uncorrected[0]), "largest, in lr": float(uncorrected.max())},
    )


def adamw_is_not_adam_with_l2(optimizer: OptimizerClass = AdamW) -> Deviation:
    """AdamW shrinks each weight by lr lambda of itself, whatever its gradients; Adam with L2 does not."""
    lr, decay, gradients, start = 0.01, 0.1, torch.randn(1, 4) * torch.tensor([0.01, 1.0, 100.0, 1.0]), torch.randn(4)
    bare = _path(Adam, gradients, start, lr=lr)[-1]
    decayed = _path(optimizer, gradients, start, lr=lr, weight_decay=decay)[-1]
    l2 = _path(Adam, gradients, start, lr=lr, weight_decay=decay)[-1]
    shrunk = lr * decay * start
    apart = largest_difference(bare - l2, shrunk)
    return Deviation(
        largest(largest_difference(bare - decayed, shrunk), shortfall(apart, 1e-6)), {"Adam with L2 is off by": apart}
    )


def decoupled_decay_is_l2_under_sgd(optimizer: OptimizerClass = SGD) -> Deviation:
    """Under plain gradient descent they are the same: theta - lr (g + lambda theta) = (1 - lr lambda) theta - lr g."""
    lr, decay, gradients, start = 0.1, 0.1, torch.randn(1, 4), torch.randn(4)
    stepped = _path(optimizer, gradients, start, lr=lr, weight_decay=decay)[-1]
    return Deviation(largest_difference(stepped, (1 - lr * decay) * start - lr * gradients[0]))


def adam_combines_momentum_and_rmsprop(optimizer: OptimizerClass = Adam) -> Deviation:
    """With beta1 = 0 Adam is RMSProp but for the correction, which is a factor sqrt(1 - beta2^t) of the step."""
    gradients, zero, beta2 = torch.randn(STEPS, 4), torch.zeros(4), 0.9
    adam = _path(optimizer, gradients, zero, lr=0.1, betas=(0.0, beta2), eps=0.0).diff(dim=0)
    rmsprop = _path(RMSprop, gradients, zero, lr=0.1, alpha=beta2, eps=0.0).diff(dim=0)
    factors = (1 - beta2 ** torch.arange(1, STEPS + 1)).sqrt()[:, None]
    return Deviation(largest_difference(adam, rmsprop * factors), {"first factor": math.sqrt(1 - beta2)})
