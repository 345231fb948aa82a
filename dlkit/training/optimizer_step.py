"""Gradient clipping and the optimizer's step: eager, or replayed from a CUDA graph.

Muon launches a hundred kernels for a network of six matrices. A graph keeps every number of the host as it was at
capture, so the learning rates, which change at each step, are tensors to it, filled before each replay.
"""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor

from dlkit.kernels.cuda_graphs import WARM_UP
from dlkit.training.forward_backward import MOST_GRAPHS, ForwardBackward, capture_step
from dlkit.training.gradient_clipping import clip_gradients


class OptimizerStep:
    """Clips the gradient and makes the optimizer's step.

    Args:
        optimizer: makes the step.
        parameters: the optimizer's.
        passes: leave the gradients at fixed addresses, and share their memory pool with the graphs made here.
        clip_norm: largest norm of the gradient, or None.
        captures: whether to replay steps, if the optimizer keeps all its state on the device.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        parameters: list[Tensor],
        passes: ForwardBackward,
        clip_norm: float | None = None,
        *,
        captures: bool = False,
    ) -> None:
        self.optimizer, self.parameters, self.passes, self.clip_norm = optimizer, parameters, passes, clip_norm
        self.captures, self.steps = captures and getattr(optimizer, "capturable", False), 0
        self.graphs: dict[int, Any] = {}  # by the identity of the gradients that they read
        self.lrs: list[Tensor] = []  # of each parameter group, as the graphs read it

    def __call__(self) -> None:
        self.steps += 1
        held = self.passes.held
        if self.steps == WARM_UP + 1:
            self.captures = self.captures and self._on_device()
        if not self.captures or held is None or self.steps <= WARM_UP:
            self._step()
            return
        graph = self.graphs.get(id(held))
        if graph is None:
            if len(self.graphs) == MOST_GRAPHS:
                self._step()
                return
            begun = time.perf_counter()
            graph = self.graphs[id(held)] = self._captured()
            torch.cuda.synchronize()
            self.passes.seconds += time.perf_counter() - begun
        for lr, group in zip(self.lrs, self.optimizer.param_groups, strict=True):
            lr.fill_(group["lr"])
        graph.replay()

    def clip(self) -> None:
        """Clip the gradient to the norm that it may have at most."""
        if self.clip_norm is not None:
            clip_gradients(self.parameters, self.clip_norm)

    def _step(self) -> None:
        self.clip()
        self.optimizer.step()

    def _on_device(self) -> bool:
        """Whether all state is on the device: a step count on the host would be frozen in a graph."""
        held = [value for state in self.optimizer.state.values() for value in state.values()]
        device = self.parameters[0].device.type
        return all(isinstance(value, Tensor) and value.device.type == device for value in held)

    def _captured(self) -> Any:
        groups = self.optimizer.param_groups
        before = [group["lr"] for group in groups]
        self.lrs = self.lrs or [torch.full((), lr, device=self.parameters[0].device) for lr in before]
        for group, lr in zip(groups, self.lrs, strict=True):
            group["lr"] = lr
        graph = torch.cuda.CUDAGraph()
        with capture_step(graph, self.passes.pool, self.passes.recorder):
            self._step()
        for group, lr in zip(groups, before, strict=True):
            group["lr"] = lr
        return graph
