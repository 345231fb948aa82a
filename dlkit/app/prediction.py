"""What a trained model says of one input. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Prediction:
    """What the model says of one input.

    Args:
        input: as it was given: a file's name, a text, a row's number.
        label: the most probable class; None where its probability is below the threshold, and for numbers.
        probability: of the most probable class.
        top: the most probable classes with their probabilities, in descending order.
        value: the number that a regression predicts.
        error: why there is no prediction, on one line.
    """

    input: str
    label: str | None = None
    probability: float | None = None
    top: tuple[tuple[str, float], ...] = ()
    value: float | None = None
    error: str | None = None

    def record(self) -> dict[str, Any]:
        """What `dlkit predict` prints."""
        if self.value is not None:
            return {"input": self.input, "value": self.value, "error": None}
        return {
            "input": self.input,
            "label": self.label,
            "probability": self.probability,
            "top": [{"label": label, "probability": probability} for label, probability in self.top],
            "error": self.error,
        }


@dataclass(frozen=True)
class PredictionSummary:
    """Numbers of inputs, of those without a prediction, and seconds since the model was opened."""

    inputs: int
    failed: int
    seconds: float
