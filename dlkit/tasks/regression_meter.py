"""The meter of regression tasks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dlkit.distributed.process_group import World
from dlkit.finite import require_finite_outputs
from dlkit.metrics.regression import Values


class RegressionMeter:
    """Keeps all outputs and targets, since scores such as R2 and correlations need them together.

    Args:
        predict: returns the outputs (N,) of a model for a batch.
        scores: returns the metrics of all outputs and targets, both (N,).
    """

    def __init__(
        self, predict: Callable[[nn.Module, Any], Tensor], scores: Callable[[Values, Values], dict[str, float]]
    ) -> None:
        self._predict, self._scores = predict, scores
        self.outputs: list[Tensor] = []
        self.targets: list[Tensor] = []

    @property
    def samples(self) -> int:
        return sum(map(len, self.targets))

    @torch.no_grad()
    def update(self, model: nn.Module, batch: Any) -> None:
        self.outputs.append(self._predict(model, batch).float())
        self.targets.append(batch.targets)

    def collect(self, world: World) -> None:
        """Gather the outputs of all ranks, in batch order."""
        self.outputs, self.targets = world.gather_batches(self.outputs), world.gather_batches(self.targets)

    def metrics(self) -> dict[str, float]:
        """`loss`, the mean squared error, and the scores.

        Raises NotFiniteError if any output is NaN or infinite.
        """
        require_finite_outputs(sum(int((~outputs.isfinite()).sum()) for outputs in self.outputs), self.samples)
        f, y = (torch.cat(batches).cpu().double().numpy() for batches in (self.outputs, self.targets))
        return {"loss": float(np.square(f - y).mean()), **self._scores(f, y)}

    def confusion_matrix(self) -> Tensor | None:
        return None
