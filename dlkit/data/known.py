"""What a trained model knows of its training data, so that other data is matched to it by name, never by position."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Known:
    """What other data must have to be read for a trained model.

    Args:
        classes: their names, in the order of the model's outputs.
        columns: of a table: feature column -> its type ("number" or "boolean"), in the order of the model's inputs.
        mean: of a table: (F,) float64 of the training rows.
        std: of a table: (F,) float64 of the training rows.
    """

    classes: tuple[str, ...]
    columns: dict[str, str] | None = None
    mean: Tensor | None = None
    std: Tensor | None = None
