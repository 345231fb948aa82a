"""torch's optimizers under dlkit's names: the for-loop implementation, and the foreach and fused ones."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

# name -> (torch's class, options that make it dlkit's default, its fast implementations)
TWINS: dict[str, tuple[type[torch.optim.Optimizer], dict[str, Any], tuple[str, ...]]] = {
    "sgd": (torch.optim.SGD, {}, ("foreach", "fused")),
    "momentum": (torch.optim.SGD, {"momentum": 0.9}, ("foreach", "fused")),
    "adagrad": (torch.optim.Adagrad, {}, ("foreach",)),
    "rmsprop": (torch.optim.RMSprop, {}, ("foreach",)),
    "adam": (torch.optim.Adam, {}, ("foreach", "fused")),
    "adamw": (torch.optim.AdamW, {"weight_decay": 0.01}, ("foreach", "fused")),
    "muon": (torch.optim.Muon, {"weight_decay": 0.0}, ()),
}


def looped_optimizer(name: str, parameters: Iterable[Tensor], lr: float) -> torch.optim.Optimizer:
    """torch's for-loop implementation."""
    constructor, options, forms = TWINS[name]
    plain = dict.fromkeys(forms, False)
    return constructor(parameters, lr=lr, **options, **plain)  # pyright: ignore[reportCallIssue]


def fast_optimizers(name: str, parameters: list[Tensor], lr: float) -> dict[str, torch.optim.Optimizer]:
    """torch's foreach and fused implementations by name; the loop if there are none."""
    constructor, options, forms = TWINS[name]
    if not forms:
        return {"loop": looped_optimizer(name, parameters, lr)}
    return {form: constructor(parameters, lr=lr, **options, **{form: True}) for form in forms}  # pyright: ignore[reportCallIssue]
