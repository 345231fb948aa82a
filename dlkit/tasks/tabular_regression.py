"""The regression task on rows: a number each. The model learns standardised numbers; all that is told is in their unit.

Shapes: N rows; the model's outputs are (N, 1).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dlkit.distributed.process_group import World
from dlkit.finite import require_finite_outputs
from dlkit.metrics.regression import regression_scores


class TabularRegression:
    """Trains with `loss` on (y - mean) / std, evaluates with MSE, RMSE, MAE and R2 of y itself.

    Args:
        loss: maps outputs (N, 1), targets (N,) and the parameters to a scalar.
        mean: of the training rows' targets.
        std: their deviation.
    """

    unit = "samples"
    main_metric = "r2"

    def __init__(self, loss: nn.Module, mean: float, std: float) -> None:
        self.loss, self.mean, self.std = loss, mean, std

    def forward(self, model: nn.Module, batch: Any) -> tuple[Tensor, Tensor | None]:
        """The loss of a batch, on the device."""
        return self.loss(model(batch.inputs), batch.targets, model.parameters()), None

    def answers(self, model: nn.Module, batch: Any) -> Tensor:
        """The number of each row in its own unit, (N,) float64, on the CPU."""
        return self.restored(model(batch.inputs)[:, 0])

    def restored(self, standardised: Tensor) -> Tensor:
        """Numbers in their own unit, float64, on the CPU: what float32 cannot tell apart, it could not beside 1e9."""
        # y = mean + std z
        return self.mean + self.std * standardised.cpu().double()

    def meter(self, device: torch.device) -> TabularRegressionMeter:
        return TabularRegressionMeter(self)


class TabularRegressionMeter:
    """Keeps all outputs and targets, standardised, and makes the scores of them at the end."""

    def __init__(self, task: TabularRegression) -> None:
        self.task = task
        self.outputs: list[Tensor] = []
        self.targets: list[Tensor] = []

    @property
    def samples(self) -> int:
        return sum(map(len, self.targets))

    @torch.no_grad()
    def update(self, model: nn.Module, batch: Any) -> None:
        self.outputs.append(model(batch.inputs)[:, 0].float())
        self.targets.append(batch.targets)

    def collect(self, world: World) -> None:
        """Take the outputs of all ranks, in the order of the batches."""
        self.outputs, self.targets = world.gather_batches(self.outputs), world.gather_batches(self.targets)

    def metrics(self) -> dict[str, float]:
        """`loss`, the mean squared error in units of the training rows' variance, and the scores in the targets' unit.

        Raises NotFiniteError if any output is NaN or infinite.
        """
        require_finite_outputs(sum(int((~outputs.isfinite()).sum()) for outputs in self.outputs), self.samples)
        f, y = (torch.cat(batches) for batches in (self.outputs, self.targets))  # (N,), standardised
        loss = float(np.square((f - y).cpu().double().numpy()).mean())
        return {"loss": loss, **regression_scores(*(self.task.restored(values).numpy() for values in (f, y)))}

    def confusion_matrix(self) -> Tensor | None:
        return None
