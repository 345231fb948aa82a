"""AdamW, Adam with decoupled weight decay: Loshchilov & Hutter 2017, arXiv:1711.05101.

Weight decay is not part of the gradient: each step multiplies theta by 1 - lr lambda (algorithm 2).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dlkit.annotations import NonNegative, Positive, Rate
from dlkit.optim.adam import Adam, adam_step
from dlkit.optim.base import Group, State, step_number
from dlkit.optim.many import Number


def adamw_step(
    theta: Tensor, gradient: Tensor, m: Tensor, v: Tensor, step: Number, *, weight_decay: Number, **rest: Any
) -> None:
    """One step on one tensor, in place: weight decay, then Adam's step on the gradient of the loss alone."""
    # theta <- theta - lr lambda theta
    theta.mul_(1 - rest["lr"] * weight_decay)
    adam_step(theta, gradient, m, v, step, **rest)


class AdamW(Adam):
    """AdamW. Twin of torch.optim.AdamW.

    Args:
        lr: step size.
        betas: decay rates of the running means of the gradient and of its square.
        eps: added to the square root of the second moment.
        weight_decay: lambda; each step shrinks the weights by lr * lambda of themselves.
        amsgrad: divide by the largest second moment so far.
        maximize: ascend instead.
    """

    elementwise = True
    kernel = staticmethod(torch._fused_adamw_)
    decoupled = True

    def __init__(
        self,
        params: Any,
        *,
        lr: Positive = 1e-3,
        betas: tuple[Rate, Rate] = (0.9, 0.999),
        eps: NonNegative = 1e-8,
        weight_decay: NonNegative = 1e-2,
        amsgrad: bool = False,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, amsgrad=amsgrad, maximize=maximize
        )

    def update(self, parameter: Tensor, gradient: Tensor, state: State, group: Group) -> None:
        options = {name: group[name] for name in ("lr", "betas", "eps", "weight_decay")}
        step, v_max = step_number(state, parameter), state.get("max_exp_avg_sq")
        adamw_step(parameter, gradient, state["exp_avg"], state["exp_avg_sq"], step, v_max=v_max, **options)
