"""What is read of weights that others trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from dlkit.recipe import Recipe


@dataclass(frozen=True)
class Imported:
    """A model with its weights, the recipe of its run, and what its checkpoint says of the data.

    Args:
        recipe: by which the model is made again, and other data is read for it.
        model: with the weights.
        description: as in a checkpoint: classes, sizes, statistics, tokenizer.
        remarks: for the user: what was assumed.
    """

    recipe: Recipe
    model: nn.Module
    description: dict[str, Any]
    remarks: list[str]
