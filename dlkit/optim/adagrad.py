"""AdaGrad: Duchi, Hazan & Singer 2011, Journal of Machine Learning Research 12.

Each step is the gradient divided by the square root of the sum of its squares so far.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dlkit.annotations import NonNegative, Positive
from dlkit.optim.base import Group, Optimizer, State, decayed, require_option, step_number
from dlkit.optim.many import Number, addcdiv_


def adagrad_step(
    theta: Tensor,
    gradient: Tensor,
    v: Tensor,
    step: Number,
    *,
    lr: Number,
    lr_decay: Number,
    eps: Number,
    weight_decay: Number,
) -> None:
    """One step with the sum of squared gradients `v` on one tensor, in place; `step` counts from 1."""
    gradient = decayed(theta, gradient, weight_decay)
    # v_t = v_(t-1) + g_t^2
    v.addcmul_(gradient, gradient)
    # theta_t = theta_(t-1) - lr / (1 + (t - 1) lr_decay) g_t / (sqrt(v_t) + eps)
    addcdiv_(theta, gradient, v.sqrt().add_(eps), -lr / (1 + (step - 1) * lr_decay))


class Adagrad(Optimizer):
    """AdaGrad. Twin of torch.optim.Adagrad.

    Args:
        lr: step size.
        lr_decay: the step size falls as 1 / (1 + steps * lr_decay).
        initial_accumulator_value: initial value of the sum of squared gradients.
        eps: added to the square root of that sum.
        weight_decay: lambda of the L2 penalty lambda/2 ||theta||^2, through its gradient.
        maximize: ascend instead.
    """

    elementwise = True
    fused_devices = ("cpu",)

    def __init__(
        self,
        params: Any,
        *,
        lr: Positive = 1e-2,
        lr_decay: NonNegative = 0.0,
        initial_accumulator_value: NonNegative = 0.0,
        eps: NonNegative = 1e-10,
        weight_decay: NonNegative = 0.0,
        maximize: bool = False,
    ) -> None:
        options = {"lr": lr, "lr_decay": lr_decay, "eps": eps, "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, {**options, "initial_accumulator_value": initial_accumulator_value})

    def check(self, group: Group) -> None:
        super().check(group)
        for name in ("lr_decay", "initial_accumulator_value"):
            require_option(group, name, lambda value: value >= 0, ">= 0")

    def begin(self, parameter: Tensor, group: Group) -> State:
        return {
            "step": self.new_step(parameter, group),
            "sum": torch.zeros_like(parameter).add_(group["initial_accumulator_value"]),
        }

    def update(self, parameter: Tensor, gradient: Tensor, state: State, group: Group) -> None:
        options = {name: group[name] for name in ("lr", "lr_decay", "eps", "weight_decay")}
        adagrad_step(parameter, gradient, state["sum"], step_number(state, parameter), **options)

    def fused(self, parameters: list[Tensor], gradients: list[Tensor], states: list[State], group: Group) -> None:
        steps = self.count(states)
        torch._fused_adagrad_(
            parameters,
            gradients,
            [state["sum"] for state in states],
            steps,
            lr=group["lr"],
            lr_decay=group["lr_decay"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=group["maximize"],
            found_inf=self.found_inf,
        )
