"""Lion, evolved sign momentum: Chen et al. 2023, arXiv:2302.06675, algorithm 2.

Every element of a step has the magnitude of the learning rate. So lr is 3 to 10 times smaller than for AdamW, and
weight_decay larger by the same factor (section 5 of the paper).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dlkit.annotations import NonNegative, Positive, Rate
from dlkit.optim.base import Group, Optimizer, State, require_option
from dlkit.optim.many import Number, add_


def lion_step(
    theta: Tensor, gradient: Tensor, m: Tensor, *, lr: Number, betas: tuple[Number, Number], weight_decay: Number
) -> None:
    """One step with the first moment `m` on one tensor, in place."""
    beta1, beta2 = betas
    # c_t = beta1 m_(t-1) + (1 - beta1) g_t
    c = m.lerp(gradient, 1 - beta1)
    # theta_t = theta_(t-1) - lr (sign(c_t) + lambda theta_(t-1))
    theta.mul_(1 - lr * weight_decay)
    add_(theta, c.sign_(), -lr)
    # m_t = beta2 m_(t-1) + (1 - beta2) g_t
    m.lerp_(gradient, 1 - beta2)


class Lion(Optimizer):
    """Lion. torch does not have it; the first moment is saved under the name of Adam's.

    Args:
        lr: step size, eta in the paper: the distance that each element moves.
        betas: weight of the first moment in the direction of a step, and decay rate of the first moment.
        weight_decay: lambda; each step shrinks the weights by lr * lambda of themselves.
        maximize: ascend instead.
    """

    elementwise = True
    capturable = True

    def __init__(
        self,
        params: Any,
        *,
        lr: Positive = 1e-4,
        betas: tuple[Rate, Rate] = (0.9, 0.99),
        weight_decay: NonNegative = 0.0,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay, "maximize": maximize})

    def check(self, group: Group) -> None:
        super().check(group)
        require_option(group, "betas", lambda value: 0 <= value < 1, ">= 0 and < 1")

    def begin(self, parameter: Tensor, group: Group) -> State:
        return {"exp_avg": torch.zeros_like(parameter)}

    def update(self, parameter: Tensor, gradient: Tensor, state: State, group: Group) -> None:
        options = {name: group[name] for name in ("lr", "betas", "weight_decay")}
        lion_step(parameter, gradient, state["exp_avg"], **options)
