"""What a trained model knows of its training data, so that other data is matched to it by name, never by position."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Known:
    """What other data must have to be read for a trained model.

    Args:
        classes: their names, in the order of the model's outputs.
        columns: feature column -> its kind ("number" or "boolean"), in the order of the model's inputs; None but for
            rows.
        mean: (F,) float64 of the training rows; None but for rows.
        std: (F,) float64 of the training rows; None but for rows.
    """

    classes: tuple[str, ...]
    columns: dict[str, str] | None = None
    mean: Tensor | None = None
    std: Tensor | None = None
