"""AdamW, Adam with decoupled weight decay: Loshchilov & Hutter 2017, arXiv:1711.05101.

Erratum: the review subtracts lambda ||theta||^2, a scalar; the paper, and dlkit, lr lambda theta, element by element.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dlkit.annotations import NonNegative, Positive, Rate
from dlkit.optim import adam
from dlkit.optim.adam import Adam
from dlkit.optim.base import Group, State, step_number
from dlkit.optim.many import Number


def update(
    theta: Tensor, gradient: Tensor, v: Tensor, s: Tensor, step: Number, *, weight_decay: Number, **rest: Any
) -> None:
    """One step on one tensor, in place: decay, then Adam's step on the bare gradient."""
    # theta <- theta - lr lambda theta
    theta.mul_(1 - rest["lr"] * weight_decay)
    adam.update(theta, gradient, v, s, step, **rest)


class AdamW(Adam):
    """AdamW. Twin of torch.optim.AdamW.

    Args:
        lr: step size, alpha in the review.
        betas: shares of the means of gradient and squared gradient that survive a step; rho1 and rho2 in the review.
        eps: added to the root of the second moment.
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
        step, s_max = step_number(state, parameter), state.get("max_exp_avg_sq")
        update(parameter, gradient, state["exp_avg"], state["exp_avg_sq"], step, s_max=s_max, **options)
