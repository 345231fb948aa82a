"""Gradient descent (Cauchy 1847), stochastic on mini-batches (Robbins & Monro 1951)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dlkit.annotations import NonNegative, Positive
from dlkit.optim.base import Group, Optimizer, State, decayed, is_vector, require_option
from dlkit.optim.many import Number


def sgd_step(theta: Tensor, gradient: Tensor, *, lr: Number, weight_decay: Number) -> None:
    """One step of gradient descent on one tensor, in place."""
    gradient = decayed(theta, gradient, weight_decay)
    # theta_t = theta_(t-1) - lr g_t
    theta.sub_(lr * gradient)


class SGD(Optimizer):
    """Gradient descent. Twin of torch.optim.SGD without momentum.

    Args:
        lr: step size.
        weight_decay: lambda of the L2 penalty lambda/2 ||theta||^2, through its gradient.
        maximize: ascend instead.
    """

    elementwise = True
    fused_devices = ("cpu", "cuda", "mps")

    def __init__(
        self, params: Any, *, lr: Positive = 0.1, weight_decay: NonNegative = 0.0, maximize: bool = False
    ) -> None:
        # momentum, dampening and nesterov are here because torch's SGD reads them from a state dict
        torch_only = {"momentum": 0, "dampening": 0, "nesterov": False}
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "maximize": maximize, **torch_only})

    def check(self, group: Group) -> None:
        super().check(group)
        require_option(group, "momentum", lambda value: value == 0, "0 (that is the optimizer momentum)")

    def update(self, parameter: Tensor, gradient: Tensor, state: State, group: Group) -> None:
        sgd_step(parameter, gradient, lr=group["lr"], weight_decay=group["weight_decay"])

    def _can_fuse(self, parameters: list[Tensor], gradients: list[Tensor], group: Group) -> bool:
        if self._is_a_kernels(group):
            return super()._can_fuse(parameters, gradients, group)
        # an addition supports every layout, so strides need not be compared
        device, kind = parameters[0].device.type, (parameters[0].dtype, torch.strided)
        numbers = kind[0].is_floating_point and not is_vector(group["lr"])
        return numbers and device in self.fused_devices and {(g.dtype, g.layout) for g in gradients} == {kind}

    def _is_a_kernels(self, group: Group) -> bool:
        """Whether to use the fused kernel. For a plain addition it is slower than foreach on many small tensors."""
        decay = group["weight_decay"]
        return is_vector(decay) or bool(decay) or self.found_inf is not None

    def fused(self, parameters: list[Tensor], gradients: list[Tensor], states: list[State], group: Group) -> None:
        if not self._is_a_kernels(group):
            torch._foreach_add_(parameters, gradients, alpha=group["lr"] if group["maximize"] else -group["lr"])
            return
        torch._fused_sgd_(
            parameters,
            gradients,
            [],
            weight_decay=group["weight_decay"],
            momentum=0.0,
            lr=group["lr"],
            dampening=0.0,
            nesterov=False,
            maximize=group["maximize"],
            is_first_step=False,
            found_inf=self.found_inf,
        )
