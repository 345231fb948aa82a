"""The masks of dropout for many runs at once: each run gets those that it would draw on its own.

All runs of one seed start from the same state of the generator and draw the same shapes in the same order, so one draw
for each seed serves them all.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack

from dlkit.nn.dropout import Dropout
from dlkit.train import rng


@dataclass
class SeedMasks:
    """One mask, kept / (1 - p), for every seed: (seeds, ...)."""

    p: float
    values: Tensor


class DropoutMasks:
    """Draws the masks of a model's dropout layers, within `vmap` over runs.

    Args:
        model: whose layers take their masks from here from now on.
        states: of the device's generator, one for each seed; they move on with each mask.
        device: that draws.
    """

    def __init__(self, model: nn.Module, states: Sequence[Tensor], device: torch.device) -> None:
        self.states, self.device = list(states), device
        self.seed: Tensor | None = None  # () int64: which seed the run at hand has, a tensor that vmap maps over
        self.drawn: list[SeedMasks] | None = None  # a list collects what is drawn
        self.given: Iterator[SeedMasks] | None = None  # the next masks, where they are drawn beforehand
        for module in model.modules():
            if isinstance(module, Dropout):
                module.draw_mask = self

    def __deepcopy__(self, memo: dict[int, Any]) -> DropoutMasks:
        return self

    def __call__(self, x: Tensor, p: float) -> Tensor:
        """kept / (1 - p) of x's shape. vmap must run with randomness="same": the draws are not mapped over."""
        assert self.seed is not None
        if self.given is not None:
            noise = next(self.given)
        else:
            noise = SeedMasks(p, torch.empty(len(self.states), *x.shape, dtype=x.dtype, device=x.device))
            self.draw([noise])
            if self.drawn is not None:
                self.drawn.append(noise)
        return noise.values.index_select(0, self.seed.view(1)).squeeze(0)

    def draw(self, masks: Sequence[SeedMasks]) -> None:
        """Fill in the masks, in their order, as each seed's generator gives them."""
        if not masks:
            return
        before = rng.device_state(self.device)
        with temporarily_clear_interpreter_stack():  # vmap has a dropout of its own, which draws otherwise on CUDA
            for index, state in enumerate(self.states):
                rng.set_device_state(self.device, state)
                for noise in masks:
                    row = noise.values[index]
                    # dropout of ones is the noise that the lone run multiplies with, by whichever kernel draws it
                    row.copy_(F.dropout(torch.ones_like(row), noise.p))
                self.states[index] = rng.device_state(self.device)
        rng.set_device_state(self.device, before)


def draws_otherwise(model: nn.Module, forward: Any, device: torch.device) -> bool:
    """Whether a forward pass in training draws random numbers anywhere but in layers that `DropoutMasks` takes over.

    Args:
        model: is left as it was.
        forward: calls the model that it is given.
    """
    copied = copy.deepcopy(model).train()
    for module in copied.modules():
        if isinstance(module, Dropout):
            module.eval()
    before = rng.device_state(device)
    with torch.no_grad():
        forward(copied)
    after = rng.device_state(device)
    rng.set_device_state(device, before)
    return not torch.equal(before, after)
