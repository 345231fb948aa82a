"""Copy weights from a model to its twin, whose parameters and buffers have the same order and shapes."""

from __future__ import annotations

import copy

import torch
from torch import nn


@torch.no_grad()
def with_weights_of(model: nn.Module, twin: nn.Module) -> nn.Module:
    """A copy of the twin on the model's device, with the model's values; frozen parameters stay frozen.

    Raises:
        ValueError: their parameters or buffers differ in number or shape.
    """
    twin = copy.deepcopy(twin).to(next(model.parameters()).device)
    for kind in ("parameters", "buffers"):
        mine, theirs = list(getattr(model, kind)()), list(getattr(twin, kind)())
        if [value.shape for value in mine] != [value.shape for value in theirs]:
            raise ValueError(f"the {kind} of {type(model).__name__} are not those of its twin")
        for value, target in zip(mine, theirs, strict=True):
            target.copy_(value)
            if kind == "parameters":
                target.requires_grad_(value.requires_grad)
    return twin
