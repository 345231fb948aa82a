"""From a model to its twin: every parameter and buffer has its counterpart, in the same order and shape."""

from __future__ import annotations

import copy

import torch
from torch import nn


@torch.no_grad()
def with_weights_of(model: nn.Module, twin: nn.Module) -> nn.Module:
    """The twin with the model's values, in the model's type and on its device; what is not trained stays so.

    Raises:
        ValueError: they have not the same parameters and buffers.
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
