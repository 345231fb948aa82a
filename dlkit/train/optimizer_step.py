"""The optimizer's step: kernel by kernel, or replayed from a CUDA graph.

A rule such as Muon's launches a hundred kernels for a network of six matrices. A graph holds numbers as they were when
it was captured, so the learning rates, which change at each step, are tensors to it, and filled before each replay.
"""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor

from dlkit.train.forward_backward import MOST_GRAPHS, WARM_UP, ForwardBackward, capture_step


class OptimizerStep:
    """Clips the gradient and lets the optimizer make its step.

    Args:
        optimizer: whose step it is.
        parameters: its parameters.
        passes: whose gradients are where a graph finds them, and with whose memory it is captured.
        clip_norm: the largest norm of the gradient, or None.
        captures: whether to replay steps, where the optimizer keeps all its state on the device.
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
        self.captures, self.made = captures and getattr(optimizer, "capturable", False), 0
        self.graphs: dict[int, Any] = {}  # by the gradients that they read
        self.lrs: list[Tensor] = []  # of each group, as the graphs see it

    def __call__(self) -> None:
        self.made += 1
        held = self.passes.held
        if self.made == WARM_UP + 1:
            self.captures = self.captures and self._on_device()
        if not self.captures or held is None or self.made <= WARM_UP:
            self._make()
            return
        graph = self.graphs.get(id(held))
        if graph is None:
            if len(self.graphs) == MOST_GRAPHS:
                self._make()
                return
            begun = time.perf_counter()
            graph = self.graphs[id(held)] = self._captured()
            torch.cuda.synchronize()
            self.passes.seconds += time.perf_counter() - begun
        for lr, group in zip(self.lrs, self.optimizer.param_groups, strict=True):
            lr.fill_(group["lr"])
        graph.replay()

    def clip(self) -> None:
        """Scale the gradient down to the largest norm that it may have."""
        if self.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.parameters, self.clip_norm)

    def _make(self) -> None:
        self.clip()
        self.optimizer.step()

    def _on_device(self) -> bool:
        """Whether no number of a step is the host's, which a graph would hold as it was: counts of steps, mostly."""
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
            self._make()
        for group, lr in zip(groups, before, strict=True):
            group["lr"] = lr
        return graph
