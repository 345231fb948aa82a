"""RMSProp: Hinton, Srivastava & Swersky 2012, lecture 6e of "Neural networks for machine learning".

Each step is the gradient divided by the square root of the running mean of its squares.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from dlkit.annotations import NonNegative, Positive, Rate
from dlkit.optim.base import Group, Optimizer, State, decayed, given, require_option
from dlkit.optim.many import Number, add_, addcdiv_, addcmul_


def rmsprop_step(
    theta: Tensor,
    gradient: Tensor,
    v: Tensor,
    *,
    lr: Number,
    alpha: Number,
    eps: Number,
    weight_decay: Number,
    momentum: Number = 0.0,
    velocity: Tensor | None = None,
    m: Tensor | None = None,
) -> None:
    """One step with the second moment `v` (the running mean of squared gradients) on one tensor, in place.

    With the first moment `m` too, the gradient is divided by its standard deviation (Graves 2013, arXiv:1308.0850,
    section 4.2). With a `velocity`, momentum is applied to the scaled gradient.
    """
    gradient = decayed(theta, gradient, weight_decay)
    # v_t = alpha v_(t-1) + (1 - alpha) g_t^2
    addcmul_(v.mul_(alpha), gradient, gradient, 1 - alpha)
    if m is None:
        root = v.sqrt()
    else:
        # m_t = alpha m_(t-1) + (1 - alpha) g_t;  v_t - m_t^2 is the variance of the gradient
        m.lerp_(gradient, 1 - alpha)
        root = v.addcmul(m, m, value=-1).sqrt_()
    denominator = root.add_(eps)
    if velocity is None:
        # theta_t = theta_(t-1) - lr g_t / (sqrt(v_t) + eps)
        addcdiv_(theta, gradient, denominator, -lr)
    else:
        # u_t = mu u_(t-1) + g_t / (sqrt(v_t) + eps);  theta_t = theta_(t-1) - lr u_t, u being the velocity
        velocity.mul_(momentum).addcdiv_(gradient, denominator)
        add_(theta, velocity, -lr)


class RMSprop(Optimizer):
    """RMSProp. Twin of torch.optim.RMSprop.

    Args:
        lr: step size.
        alpha: decay rate of the running mean of squared gradients.
        eps: added to the square root of that mean.
        momentum: of the scaled gradient; 0 for none.
        centered: divide by the standard deviation of the gradient, not its root mean square.
        weight_decay: lambda of the L2 penalty lambda/2 ||theta||^2, through its gradient.
        maximize: ascend instead.
    """

    elementwise = True
    fused_devices = ("cpu", "cuda")
    foreach_devices = ("cpu", "cuda")

    def __init__(
        self,
        params: Any,
        *,
        lr: Positive = 1e-2,
        alpha: Rate = 0.99,
        eps: NonNegative = 1e-8,
        momentum: Rate = 0.0,
        centered: bool = False,
        weight_decay: NonNegative = 0.0,
        maximize: bool = False,
    ) -> None:
        options = {"lr": lr, "alpha": alpha, "eps": eps, "momentum": momentum, "centered": centered}
        super().__init__(params, {**options, "weight_decay": weight_decay, "maximize": maximize})

    def check(self, group: Group) -> None:
        super().check(group)
        for name in ("alpha", "momentum"):
            require_option(group, name, lambda value: 0 <= value < 1, ">= 0 and < 1")

    def begin(self, parameter: Tensor, group: Group) -> State:
        state = {"step": self.new_step(parameter, group), "square_avg": torch.zeros_like(parameter)}
        if given(group["momentum"]):
            state["momentum_buffer"] = torch.zeros_like(parameter)
        if group["centered"]:
            state["grad_avg"] = torch.zeros_like(parameter)
        return state

    def update(self, parameter: Tensor, gradient: Tensor, state: State, group: Group) -> None:
        state["step"] += 1
        options = {name: group[name] for name in ("lr", "alpha", "eps", "weight_decay", "momentum")}
        velocity, m = state.get("momentum_buffer"), state.get("grad_avg")
        rmsprop_step(parameter, gradient, state["square_avg"], velocity=velocity, m=m, **options)

    def _can_fuse(self, parameters: list[Tensor], gradients: list[Tensor], group: Group) -> bool:
        plain = not (group["centered"] or given(group["momentum"]))
        return plain and super()._can_fuse(parameters, gradients, group)

    def fused(self, parameters: list[Tensor], gradients: list[Tensor], states: list[State], group: Group) -> None:
        """torch has no fused RMSprop, but Adam's kernel computes it: with beta1 = 0 the first moment is the gradient,
        and at step infinity the bias corrections are 1.
        """
        steps = self.count(states)
        if group["maximize"]:
            gradients = list(torch._foreach_neg(gradients))
        if group["weight_decay"]:
            gradients = list(torch._foreach_add(gradients, parameters, alpha=group["weight_decay"]))
        means = [state["square_avg"] for state in states]
        forever = [torch.full_like(steps[0], math.inf)] * len(steps)
        options = {"lr": group["lr"], "beta1": 0.0, "beta2": group["alpha"], "eps": group["eps"]}
        unused = {"amsgrad": False, "maximize": False, "weight_decay": 0.0, "found_inf": self.found_inf}
        torch._fused_adam_(parameters, gradients, gradients, means, [], forever, **options, **unused)
