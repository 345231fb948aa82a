"""Dropout masks for many runs at once: each run gets the masks that it would draw on its own.

All runs of a seed start from the same state of the generator and draw the same shapes in the same order, so one draw
per seed serves them all.
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
from dlkit.training import rng


@dataclass
class SeedMasks:
    """The mask of a dropout layer for every seed, (seeds, ...): 0 or 1 / (1 - p)."""

    p: float
    values: Tensor


class DropoutMasks:
    """Draws the masks of a model's dropout layers within `vmap` over runs.

    Args:
        model: its dropout layers use these masks from now on.
        states: of the device's random generator, one for each seed; each draw advances them.
        device: of the masks.
    """

    def __init__(self, model: nn.Module, states: Sequence[Tensor], device: torch.device) -> None:
        self.states, self.device = list(states), device
        self.seed: Tensor | None = None  # () int64: index of the run's seed, a tensor that vmap maps over
        self.drawn: list[SeedMasks] | None = None  # if a list, collects the masks that are drawn
        self.given: Iterator[SeedMasks] | None = None  # the next masks, if they were drawn beforehand
        for module in model.modules():
            if isinstance(module, Dropout):
                module.draw_mask = self

    def __deepcopy__(self, memo: dict[int, Any]) -> DropoutMasks:
        return self

    def __call__(self, x: Tensor, p: float) -> Tensor:
        """A mask of x's shape, 0 or 1 / (1 - p). vmap needs randomness="same", since draws are not mapped over."""
        assert self.seed is not None
        if self.given is not None:
            mask = next(self.given)
        else:
            mask = SeedMasks(p, torch.empty(len(self.states), *x.shape, dtype=x.dtype, device=x.device))
            self.draw([mask])
            if self.drawn is not None:
                self.drawn.append(mask)
        return mask.values.index_select(0, self.seed.view(1)).squeeze(0)

    def draw(self, masks: Sequence[SeedMasks]) -> None:
        """Fill the masks in order from each seed's generator."""
        if not masks:
            return
        before = rng.device_state(self.device)
        with temporarily_clear_interpreter_stack():  # vmap has its own dropout, which draws other numbers on CUDA
            for index, state in enumerate(self.states):
                rng.set_device_state(self.device, state)
                for mask in masks:
                    row = mask.values[index]
                    # dropout of ones is the mask that a lone run multiplies by, from the same kernel
                    row.copy_(F.dropout(torch.ones_like(row), mask.p))
                self.states[index] = rng.device_state(self.device)
        rng.set_device_state(self.device, before)


def draws_otherwise(model: nn.Module, forward: Any, device: torch.device) -> bool:
    """Whether a training forward pass draws random numbers outside the layers that `DropoutMasks` handles.

    Args:
        model: left as it was.
        forward: runs the model that it is given.
        device: whose generator is watched.
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
