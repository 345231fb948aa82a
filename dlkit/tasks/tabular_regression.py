"""The regression task on rows. The model learns standardised targets; predictions and metrics are in original units.

Shapes: N rows; the model's outputs are (N, 1).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from dlkit.metrics.regression import Values, regression_scores
from dlkit.tasks.regression_meter import RegressionMeter


class TabularRegression:
    """Trains with `loss` on (y - mean) / std, evaluates with MSE, RMSE, MAE and R2 of y itself.

    Args:
        loss: maps outputs (N, 1), targets (N,) and the parameters to a scalar.
        mean: of the training targets.
        std: standard deviation of the training targets.
    """

    unit = "samples"
    main_metric = "r2"

    def __init__(self, loss: nn.Module, mean: float, std: float) -> None:
        self.loss, self.mean, self.std = loss, mean, std

    def forward(self, model: nn.Module, batch: Any) -> tuple[Tensor, Tensor | None]:
        """The loss of a batch, on the device."""
        return self.loss(model(batch.inputs), batch.targets, model.parameters()), None

    def answers(self, model: nn.Module, batch: Any) -> Tensor:
        """The prediction for each row in the targets' unit, (N,) float64, on the CPU: float32 has only 7 digits."""
        # y = mean + std z
        return self.mean + self.std * model(batch.inputs)[:, 0].cpu().double()

    def meter(self, device: torch.device) -> RegressionMeter:
        """`loss` is in units of the training targets' variance, the scores in the targets' unit."""

        def scores(f: Values, y: Values) -> dict[str, float]:
            return regression_scores(self.mean + self.std * f, self.mean + self.std * y)

        return RegressionMeter(lambda model, batch: model(batch.inputs)[:, 0], scores)
