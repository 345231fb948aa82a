"""Exponential moving average of the weights, which evaluation uses in place of the last ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class ExponentialMovingAverage:
    """Average of every floating-point parameter and buffer of a model (Polyak & Juditsky 1992, in its decaying form).

    Args:
        model: whose state is averaged.
        decay: share of the average that survives a step.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self._live = {name: value for name, value in model.state_dict().items() if value.is_floating_point()}
        self.average = {name: value.detach().clone() for name, value in self._live.items()}

    @torch.no_grad()
    def update(self) -> None:
        # a <- decay * a + (1 - decay) * theta
        torch._foreach_lerp_(list(self.average.values()), list(self._live.values()), 1.0 - self.decay)

    def load(self, average: dict[str, Tensor]) -> None:
        for name, value in self.average.items():
            value.copy_(average[name])

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Run the body with the average in the model, then put the weights back."""
        kept = {name: value.detach().clone() for name, value in self._live.items()}
        try:
            for name, value in self._live.items():
                value.copy_(self.average[name])
            yield
        finally:
            for name, value in self._live.items():
                value.copy_(kept[name])
