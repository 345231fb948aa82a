"""What a trained model knows of its training data, so that other data is matched to it by name, never by position."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class Known:
    """What other data must have to be read for a trained model.

    Args:
        classes: their names, in the order of the model's outputs.
        columns: of a table: feature column -> its type ("number", "boolean" or "category"), in the order of the model's
            inputs.
        mean: of a table: (F,) float64 of the training rows.
        std: of a table: (F,) float64 of the training rows.
        categories: of a table: column of categories -> these, in the order of the model's inputs.
        stand_ins: of a table: column of numbers -> what stands for a missing value.
    """

    classes: tuple[str, ...]
    columns: dict[str, str] | None = None
    mean: Tensor | None = None
    std: Tensor | None = None
    categories: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    stand_ins: dict[str, float] = field(default_factory=dict[str, float])
