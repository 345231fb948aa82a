"""Adam: Kingma & Ba 2014, arXiv:1412.6980; AMSGrad: Reddi et al. 2018, arXiv:1904.09237.

Erratum: the review decays v in the second moment and feeds the corrected moments back into the average; in the paper,
and in dlkit, s decays s, and the corrections apply to a copy.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from dlkit.annotations import NonNegative, Positive, Rate
from dlkit.optim.base import Group, Optimizer, State, decayed, require, step_number
from dlkit.optim.many import Number

# Beyond it 1 - rho^t in float32 is wrong by more than 1e-4, and torch's kernel for mps, unlike those for the CPU and
# CUDA, which take float64 for it, has nothing else.
_LARGEST_RHO_IN_FLOAT32 = 0.9995


def update(
    theta: Tensor,
    gradient: Tensor,
    v: Tensor,
    s: Tensor,
    step: Number,
    *,
    lr: Number,
    betas: tuple[Number, Number],
    eps: Number,
    weight_decay: Number = 0.0,
    s_max: Tensor | None = None,
) -> None:
    """One step with the running means of the gradient, `v`, and of its square, `s`, on one tensor, in place.

    `step` counts from 1. With `s_max` (AMSGrad) the largest s so far takes the place of s.
    """
    rho1, rho2 = betas
    gradient = decayed(theta, gradient, weight_decay)
    # v_t = rho1 v_(t-1) + (1 - rho1) g_t
    v.lerp_(gradient, 1 - rho1)
    # s_t = rho2 s_(t-1) + (1 - rho2) g_t^2, as s_(t-1) + (1 - rho2) (g_t^2 - s_(t-1)): float32 rounds rho2, and with it
    # how far back s looks, but hardly 1 - rho2
    s.lerp_(gradient * gradient, 1 - rho2)
    if s_max is not None:
        s = s_max.copy_(s_max.maximum(s))
    # v^_t = v_t / (1 - rho1^t);  s^_t = s_t / (1 - rho2^t): both averages started at 0
    v_hat, s_hat = v / correction(rho1, step), s / correction(rho2, step)
    # theta_t = theta_(t-1) - lr v^_t / (sqrt(s^_t) + eps)
    theta.sub_(lr * v_hat / (s_hat.sqrt() + eps))


def correction(rho: Number, step: Number) -> Number:
    """1 - rho^t, the weight that an average from 0 has taken in after t steps; to the last digits of `step`'s type."""
    # 1 - rho^t = -(e^(t log rho) - 1): taken as it stands, it would cancel where rho^t is near 1
    if isinstance(step, (int, float)):
        return -math.expm1(step * math.log(rho)) if rho else 1.0
    log = rho.to(step.dtype).log() if isinstance(rho, Tensor) else math.log(rho) if rho else -math.inf
    return -(step * log).expm1()


class Adam(Optimizer):
    """Adam. Twin of torch.optim.Adam.

    Args:
        lr: step size, alpha in the review.
        betas: shares of the means of gradient and squared gradient that survive a step; rho1 and rho2 in the review.
        eps: added to the root of the second moment.
        weight_decay: lambda of the L2 penalty lambda/2 ||theta||^2, through its gradient.
        amsgrad: divide by the largest second moment so far.
        maximize: ascend instead.
    """

    elementwise = True
    fused_devices = ("cpu", "cuda", "mps")
    capturable = True
    kernel = staticmethod(torch._fused_adam_)
    decoupled = False  # whether weights decay by themselves, and not through the gradient

    def __init__(
        self,
        params: Any,
        *,
        lr: Positive = 1e-3,
        betas: tuple[Rate, Rate] = (0.9, 0.999),
        eps: NonNegative = 1e-8,
        weight_decay: NonNegative = 0.0,
        amsgrad: bool = False,
        maximize: bool = False,
    ) -> None:
        options = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad}
        super().__init__(params, {**options, "maximize": maximize})

    def check(self, group: Group) -> None:
        super().check(group)
        require(group, "betas", lambda value: 0 <= value < 1, ">= 0 and < 1")
        # which states of torch's twins name
        own = self.decoupled
        require(group, "decoupled_weight_decay", lambda value: value == own, f"{own} for {type(self).__name__}")

    def _can_fuse(self, parameters: list[Tensor], gradients: list[Tensor], group: Group) -> bool:
        if not super()._can_fuse(parameters, gradients, group):
            return False
        return parameters[0].device.type != "mps" or max(group["betas"]) <= _LARGEST_RHO_IN_FLOAT32

    def begin(self, parameter: Tensor, group: Group) -> State:
        names = ("exp_avg", "exp_avg_sq", *(("max_exp_avg_sq",) if group["amsgrad"] else ()))
        return {"step": self.new_step(parameter, group), **{name: torch.zeros_like(parameter) for name in names}}

    def update(self, parameter: Tensor, gradient: Tensor, state: State, group: Group) -> None:
        options = {name: group[name] for name in ("lr", "betas", "eps", "weight_decay")}
        step, s_max = step_number(state, parameter), state.get("max_exp_avg_sq")
        update(parameter, gradient, state["exp_avg"], state["exp_avg_sq"], step, s_max=s_max, **options)

    def fused(self, parameters: list[Tensor], gradients: list[Tensor], states: list[State], group: Group) -> None:
        steps = self.count(states)
        self.kernel(
            parameters,
            gradients,
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [state["max_exp_avg_sq"] for state in states] if group["amsgrad"] else [],
            steps,
            amsgrad=group["amsgrad"],
            lr=group["lr"],
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=group["maximize"],
            found_inf=self.found_inf,
        )
