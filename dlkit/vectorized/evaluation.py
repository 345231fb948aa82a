"""Loss and accuracy of every run of a stack, summed on the device, with one synchronisation at the end.

The tasks' own meters cannot do this. A meter calls one model and adds to scalars of its own, and counts samples on the
host: `vmap` refuses the first, and the replay of a CUDA graph leaves out the second. With a dimension for runs, it
would also fill calibration bins and a confusion matrix for each of hundreds of runs, which a race does not report. So
the two sums that a race is judged by are made here, from the same `prediction_scores` and in the same dtype.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.func import vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from dlkit.data.batch import Batch
from dlkit.kernels import cpu_matmul
from dlkit.metrics.accumulation import sum_dtype
from dlkit.metrics.prediction_scores import prediction_scores
from dlkit.training.training import Training
from dlkit.vectorized.graph_replay import GraphReplay

if TYPE_CHECKING:
    from dlkit.vectorized.stacked_runs import StackedRuns


class StackEvaluation:
    """Evaluates R runs on the monitored split, or else on the first one."""

    def __init__(self, stack: StackedRuns) -> None:
        self.stack, runs, device = stack, len(stack.seeds), stack.device
        self.name = stack.first.judged
        self.loss = torch.zeros(runs, dtype=sum_dtype(device), device=device)
        self.right = torch.zeros(runs, dtype=torch.int64, device=device)
        self.samples = torch.zeros((), dtype=torch.int64, device=device)
        self.added = GraphReplay(self._add, device, beside=stack.stepped)

    def measure(self) -> tuple[list[dict[str, float]], Tensor]:
        """Metrics of each run, and (R,) whether its loss is finite."""
        losses = self.losses_of(self.stack.first.evaluations[self.name].epoch(0))
        pairs = zip(losses, (self.right / self.samples).tolist(), strict=True)
        # the accuracy of NaN logits is meaningless, but the loss shows that the run diverged
        return [{f"{self.name}/loss": a, f"{self.name}/accuracy": b} for a, b in pairs], self.loss.isfinite()

    @torch.no_grad()
    def losses_of(self, batches: Iterable[Batch]) -> list[float]:
        """The mean loss of each run on some batches, in evaluation mode. Waits for the device."""
        for total in (self.loss, self.right, self.samples):
            total.zero_()
        self.stack.model.eval()
        for batch in batches:
            self.added(*batch.tensors())
        return (self.loss / self.samples).tolist()

    def _add(self, *tensors: Tensor) -> None:
        stack, runs, batch = self.stack, len(self.loss), self.stack.batch_of(*tensors)
        task: Any = stack.task  # one of those that give logits
        targets = batch.targets  # (N,)

        def logits_of(parameters: dict[str, Tensor], buffers: dict[str, Tensor]) -> Tensor:
            return task.logits(stack.bound(parameters, buffers), batch)

        with cpu_matmul.fast_batched_matmul(stack.device), stack.autocast(), sdpa_kernel(SDPBackend.MATH):
            logits: Tensor = vmap(logits_of)(stack.parameters, stack.buffers).float()  # (R, N, K)
        self.samples += (targets >= 0).sum()  # a target of -100 does not count
        nats, correct = prediction_scores(logits.flatten(0, 1), targets.repeat(runs))  # (R N,)
        self.loss += nats.view(runs, -1).sum(1)
        self.right += correct.view(runs, -1).sum(1)


def first_evaluation_batch(training: Training) -> Batch:
    """Of the split that a stack evaluates."""
    return next(iter(training.evaluations[training.judged].epoch(0)))
