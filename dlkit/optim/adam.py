"""Adam: Kingma & Ba 2014, arXiv:1412.6980; AMSGrad: Reddi et al. 2018, arXiv:1904.09237.

Bias correction does not change the running averages themselves (algorithm 1).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from dlkit.annotations import NonNegative, Positive, Rate
from dlkit.optim.base import Group, Optimizer, State, decayed, require_option, step_number
from dlkit.optim.many import Number

# Beyond it 1 - beta^t in float32 is wrong by more than 1e-4, and torch's kernel for mps, unlike those for the CPU and
# CUDA, which take float64 for it, has nothing else.
_LARGEST_BETA_IN_FLOAT32 = 0.9995


def adam_step(
    theta: Tensor,
    gradient: Tensor,
    m: Tensor,
    v: Tensor,
    step: Number,
    *,
    lr: Number,
    betas: tuple[Number, Number],
    eps: Number,
    weight_decay: Number = 0.0,
    v_max: Tensor | None = None,
) -> None:
    """One step with the first moment `m` and the second moment `v` on one tensor, in place; `step` counts from 1.

    With `v_max` (AMSGrad), the step uses the largest v so far in place of v.
    """
    beta1, beta2 = betas
    gradient = decayed(theta, gradient, weight_decay)
    # m_t = beta1 m_(t-1) + (1 - beta1) g_t
    m.lerp_(gradient, 1 - beta1)
    # v_t = beta2 v_(t-1) + (1 - beta2) g_t^2, written v_(t-1) + (1 - beta2) (g_t^2 - v_(t-1)): float32 represents
    # 1 - beta2 more accurately than beta2, whose rounding would change the averaging window
    v.lerp_(gradient * gradient, 1 - beta2)
    if v_max is not None:
        v = v_max.copy_(v_max.maximum(v))
    # m^_t = m_t / (1 - beta1^t);  v^_t = v_t / (1 - beta2^t), since both averages started at 0
    m_hat, v_hat = m / bias_correction(beta1, step), v / bias_correction(beta2, step)
    # theta_t = theta_(t-1) - lr m^_t / (sqrt(v^_t) + eps)
    theta.sub_(lr * m_hat / (v_hat.sqrt() + eps))


def bias_correction(beta: Number, step: Number) -> Number:
    """1 - beta^t: the total weight of the gradients in an average that started at 0, accurate to `step`'s dtype."""
    # 1 - beta^t = -expm1(t log beta): the plain difference cancels where beta^t is near 1
    if isinstance(step, (int, float)):
        return -math.expm1(step * math.log(beta)) if beta else 1.0
    log = beta.to(step.dtype).log() if isinstance(beta, Tensor) else math.log(beta) if beta else -math.inf
    return -(step * log).expm1()


class Adam(Optimizer):
    """Adam. Twin of torch.optim.Adam.

    Args:
        lr: step size.
        betas: decay rates of the running means of the gradient and of its square.
        eps: added to the square root of the second moment.
        weight_decay: lambda of the L2 penalty lambda/2 ||theta||^2, through its gradient.
        amsgrad: divide by the largest second moment so far.
        maximize: ascend instead.
    """

    elementwise = True
    fused_devices = ("cpu", "cuda", "mps")
    capturable = True
    kernel = staticmethod(torch._fused_adam_)
    decoupled = False  # whether weight decay acts on the weights themselves, not through the gradient

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
        require_option(group, "betas", lambda value: 0 <= value < 1, ">= 0 and < 1")
        # torch saves it in the state of both its twins
        own = self.decoupled
        require_option(group, "decoupled_weight_decay", lambda value: value == own, f"{own} for {type(self).__name__}")

    def _can_fuse(self, parameters: list[Tensor], gradients: list[Tensor], group: Group) -> bool:
        if not super()._can_fuse(parameters, gradients, group):
            return False
        return parameters[0].device.type != "mps" or max(group["betas"]) <= _LARGEST_BETA_IN_FLOAT32

    def begin(self, parameter: Tensor, group: Group) -> State:
        names = ("exp_avg", "exp_avg_sq", *(("max_exp_avg_sq",) if group["amsgrad"] else ()))
        return {"step": self.new_step(parameter, group), **{name: torch.zeros_like(parameter) for name in names}}

    def update(self, parameter: Tensor, gradient: Tensor, state: State, group: Group) -> None:
        options = {name: group[name] for name in ("lr", "betas", "eps", "weight_decay")}
        step, v_max = step_number(state, parameter), state.get("max_exp_avg_sq")
        adam_step(parameter, gradient, state["exp_avg"], state["exp_avg_sq"], step, v_max=v_max, **options)

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
