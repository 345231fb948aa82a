"""What a model's numbers are worth, measured over all batches."""

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
    """Keeps all outputs and targets: scores such as R2 and correlations need them at once.

    Args:
        predict: the outputs (N,) of the model for a batch.
        scores: metrics of all outputs and targets, both (N,).
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
        """Take the outputs of all ranks, in the order of the batches."""
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
