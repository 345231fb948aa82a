"""The meter of OOD detection, which keeps the scores of every example."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dlkit.data.batch import ClassificationBatch
from dlkit.distributed.process_group import World
from dlkit.finite import require_finite_outputs
from dlkit.metrics.ood import SCORES
from dlkit.training import test_time_augmentation
from dlkit.training.settings import TestViews


class ScoreMeter:
    """Collects the scores of every example of an evaluation, in float64.

    Args:
        views: of each image, whose logits are averaged.
    """

    def __init__(self, views: TestViews = "one") -> None:
        self.samples = 0
        self._views: TestViews = views
        self._parts: list[Tensor] = []  # each (scores, n)

    def update(self, model: nn.Module, batch: ClassificationBatch) -> None:
        logits = test_time_augmentation.averaged_logits(model, batch.inputs, self._views)
        logits = logits.float() if logits.device.type == "mps" else logits.double()
        self.samples += len(logits)
        self._parts.append(torch.stack([score(logits) for score in SCORES.values()]))

    def collect(self, world: World) -> None:
        """Gather the scores of all ranks, in batch order."""
        self._parts = world.gather_batches(self._parts)
        self.samples = sum(part.shape[1] for part in self._parts)

    def scores(self) -> dict[str, Tensor]:
        """(N,) of each score, on the CPU. Raises NotFiniteError if any is NaN or infinite."""
        scores = torch.cat(self._parts, 1).cpu().double()
        require_finite_outputs(int((~scores.isfinite()).any(0).sum()), self.samples, "images")
        return dict(zip(SCORES, scores, strict=True))

    def metrics(self) -> dict[str, float]:
        """The mean of each score."""
        return {name: values.mean().item() for name, values in self.scores().items()}

    def confusion_matrix(self) -> None:
        """None: OOD examples belong to no class."""
