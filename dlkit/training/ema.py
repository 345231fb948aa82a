"""Exponential moving average of the weights, with which a run is evaluated."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from dlkit.distributed.tensor_parts import divided_as_part, divided_like, is_divided, local_part


class ExponentialMovingAverage:
    """Average of every floating-point parameter and buffer of a model (Polyak & Juditsky 1992, in its decaying form).

    The decay is warmed up, as in TensorFlow's tf.train.ExponentialMovingAverage with `num_updates`. With a constant
    decay of 0.999, the random initial weights would still make up 0.999^120 = 89 % of the average after 120 steps.
    Adam's bias correction, dividing by 1 - decay^t, would remove them too, but weigh the poor weights of the first
    steps like the good ones of the last; the warm-up averages over about the last tenth of the steps so far.

    Args:
        model: whose state is averaged.
        decay: share of the average that a step keeps, from about step 10 / (1 - decay) on.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self._counted: Tensor | None = None  # updates, where only the device knows how many there were
        whole = {name: value.detach() for name, value in model.state_dict().items() if value.is_floating_point()}
        # of a model that is divided among ranks, this rank's parts
        self._live: dict[str, Tensor] = {name: local_part(value) for name, value in whole.items()}
        self._like = {name: value for name, value in whole.items() if is_divided(value)}
        self.average = {name: value.clone() for name, value in self._live.items()}

    @torch.no_grad()
    def update(self, skipped: Tensor | None = None) -> None:
        """Average in the current weights, unless `skipped` is a tensor of 1: the step was skipped."""
        if skipped is not None and not skipped.is_cpu:
            self._update_on_device(skipped)
        elif skipped is None or not skipped.item():
            # d_t = min(decay, (1 + t) / (10 + t)),  t = 0, 1, ...
            decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
            # a <- d_t a + (1 - d_t) theta
            torch._foreach_lerp_(list(self.average.values()), list(self._live.values()), 1.0 - decay)
            self.updates += 1

    def _update_on_device(self, skipped: Tensor) -> None:
        """The same without waiting for the device, which alone knows whether the step was made, and so t."""
        self._counted = torch.full_like(skipped, self.updates) if self._counted is None else self._counted
        decay = ((1 + self._counted) / (10 + self._counted)).clamp(max=self.decay)
        averages, made = list(self.average.values()), 1 - skipped
        # a <- a + (1 - d_t) (theta - a), or a where the step was skipped
        differences = torch._foreach_sub(list(self._live.values()), averages)
        torch._foreach_mul_(differences, (1 - decay) * made)
        torch._foreach_add_(averages, differences)
        self._counted += made

    def load(self, average: dict[str, Tensor], updates: int) -> None:
        """Continue from an average of so many updates."""
        self.updates, self._counted = updates, None
        for name, value in self.average.items():
            value.copy_(local_part(divided_like(average[name], self._like.get(name))))

    def state(self) -> dict[str, Tensor]:
        """The average, as whole as the model's own state: a checkpoint keeps it."""
        return {name: divided_as_part(value, self._like.get(name)) for name, value in self.average.items()}

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Run the body with the average in the model, then restore the weights."""
        kept = {name: value.detach().clone() for name, value in self._live.items()}
        try:
            for name, value in self._live.items():
                value.copy_(self.average[name])
            yield
        finally:
            for name, value in self._live.items():
                value.copy_(kept[name])
