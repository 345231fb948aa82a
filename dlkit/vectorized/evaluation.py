"""Cross-entropy and accuracy of every run of a stack, summed on the device: one wait for all of them at the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from dlkit.kernels import cpu_matmul
from dlkit.vectorized.graph_replay import GraphReplay

if TYPE_CHECKING:
    from dlkit.vectorized.stacked_runs import StackedRuns


class StackEvaluation:
    """Of R runs, with the layers in evaluation mode, on the split that they monitor or else on their first one."""

    def __init__(self, stack: StackedRuns) -> None:
        self.stack, runs, device = stack, len(stack.seeds), stack.device
        self.name = stack.first.monitored or next(iter(stack.first.evaluations))
        self.loss = torch.zeros(runs, dtype=torch.float64, device=device)
        self.right = torch.zeros(runs, dtype=torch.int64, device=device)
        self.samples = torch.zeros((), dtype=torch.int64, device=device)
        self._forward: Callable[..., Tensor] = vmap(
            lambda p, b, x: functional_call(stack.model, (p, b), (x,)), in_dims=(0, 0, None)
        )
        self.added = GraphReplay(self._add, device, beside=stack.stepped)

    @torch.no_grad()
    def measure(self) -> tuple[list[dict[str, float]], Tensor]:
        """Metrics of each run, and (R,) whether its loss is finite."""
        for total in (self.loss, self.right, self.samples):
            total.zero_()
        self.stack.model.eval()
        for inputs, targets in self.stack.first.evaluations[self.name].epoch(0):
            self.added(inputs, targets)
        pairs = zip((self.loss / self.samples).tolist(), (self.right / self.samples).tolist(), strict=True)
        # NaN is no class, though argmax makes it the first
        return [{f"{self.name}/loss": a, f"{self.name}/accuracy": b} for a, b in pairs], self.loss.isfinite()

    def _add(self, inputs: Tensor, targets: Tensor) -> None:
        stack, runs = self.stack, len(self.loss)
        with cpu_matmul.fast_batched_matmul(stack.device), stack.autocast(), sdpa_kernel(SDPBackend.MATH):
            logits = self._forward(stack.parameters, stack.buffers, inputs).float().flatten(1, -2)  # (R, N, K)
        self.samples += (targets >= 0).sum()  # a target of -100 does not count
        repeated = targets.expand(runs, -1)  # (R, N)
        each = F.cross_entropy(logits.flatten(0, 1), repeated.flatten(), reduction="none").view(runs, -1)
        self.loss += each.sum(1)
        self.right += (logits.argmax(2) == repeated).sum(1)
