"""Gradient descent with momentum (Polyak 1964) and Nesterov's variant, in the form of Sutskever et al. 2013."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dlkit.annotations import NonNegative, Positive, Rate
from dlkit.optim.base import Group, Optimizer, State, decayed, given, require_option
from dlkit.optim.many import Number


def momentum_step(
    theta: Tensor,
    gradient: Tensor,
    velocity: Tensor,
    *,
    lr: Number,
    momentum: Number,
    nesterov: bool,
    weight_decay: Number,
) -> None:
    """One step with the velocity u on one tensor, in place."""
    gradient = decayed(theta, gradient, weight_decay)
    # u_t = mu u_(t-1) + g_t
    velocity.mul_(momentum).add_(gradient)
    # theta_t = theta_(t-1) - lr u_t; Nesterov looks one step ahead: theta_(t-1) - lr (g_t + mu u_t)
    theta.sub_(lr * (gradient + momentum * velocity if nesterov else velocity))


class Momentum(Optimizer):
    """Gradient descent with momentum. Twin of torch.optim.SGD with momentum and no dampening.

    Args:
        lr: step size.
        momentum: mu, the decay rate of the velocity.
        nesterov: use Nesterov's variant (1983).
        weight_decay: lambda of the L2 penalty lambda/2 ||theta||^2, through its gradient.
        maximize: ascend instead.
    """

    elementwise = True
    fused_devices = ("cpu", "cuda", "mps")
    capturable = True

    def __init__(
        self,
        params: Any,
        *,
        lr: Positive = 0.1,
        momentum: Rate = 0.9,
        nesterov: bool = False,
        weight_decay: NonNegative = 0.0,
        maximize: bool = False,
    ) -> None:
        options = {"lr": lr, "momentum": momentum, "nesterov": nesterov, "weight_decay": weight_decay}
        super().__init__(params, {**options, "maximize": maximize, "dampening": 0})

    def check(self, group: Group) -> None:
        super().check(group)
        require_option(group, "momentum", lambda value: 0 <= value < 1, ">= 0 and < 1")
        require_option(group, "dampening", lambda value: value == 0, "0")

    def begin(self, parameter: Tensor, group: Group) -> State:
        return {"momentum_buffer": torch.zeros_like(parameter)}

    def update(self, parameter: Tensor, gradient: Tensor, state: State, group: Group) -> None:
        options = {name: group[name] for name in ("lr", "momentum", "nesterov", "weight_decay")}
        momentum_step(parameter, gradient, state["momentum_buffer"], **options)

    def _can_fuse(self, parameters: list[Tensor], gradients: list[Tensor], group: Group) -> bool:
        # without momentum torch's kernel keeps no velocity, but the rule does
        return given(group["momentum"]) and super()._can_fuse(parameters, gradients, group)

    def fused(self, parameters: list[Tensor], gradients: list[Tensor], states: list[State], group: Group) -> None:
        torch._fused_sgd_(
            parameters,
            gradients,
            [state["momentum_buffer"] for state in states],
            weight_decay=group["weight_decay"],
            momentum=group["momentum"],
            lr=group["lr"],
            dampening=0.0,
            nesterov=group["nesterov"],
            maximize=group["maximize"],
            is_first_step=False,  # the velocity starts at 0, so the first step is not special
            found_inf=self.found_inf,
        )
