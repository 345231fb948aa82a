"""What a trained model says of one input. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Prediction:
    """What the model says of one input.

    Args:
        input: a file's name, a text, or a row with all of its columns.
        label: the most probable class; None where its probability is below the threshold, and for numbers.
        probability: of the most probable class.
        top: the most probable classes with their probabilities, in descending order.
        value: the number that a regression predicts, NaN where there is none; None of a classifier.
        error: why there is no prediction, on one line.
    """

    input: str | dict[str, Any]
    label: str | None = None
    probability: float | None = None
    top: tuple[tuple[str, float], ...] = ()
    value: float | None = None
    error: str | None = None

    def record(self) -> dict[str, Any]:
        """What `dlkit predict` prints."""
        return {"input": self.input, **self.answer()}

    def answer(self) -> dict[str, Any]:
        """The same without the input."""
        if self.value is not None:
            return {"value": self.value if self.error is None else None, "error": self.error}
        return {
            "label": self.label,
            "probability": self.probability,
            "top": [{"label": label, "probability": probability} for label, probability in self.top],
            "error": self.error,
        }

    @property
    def shown(self) -> str:
        """The input on one line."""
        if isinstance(self.input, str):
            return self.input
        return ", ".join(f"{name}={'' if value is None else value}" for name, value in self.input.items())


@dataclass(frozen=True)
class PredictionSummary:
    """What came of all inputs.

    Args:
        inputs: how many there were.
        failed: how many of them have no prediction.
        seconds: since the model was opened.
        first_failure: the first of those.
        dimensions: of the features that were written; None for predictions.
    """

    inputs: int
    failed: int
    seconds: float
    first_failure: Prediction | None = None
    dimensions: int | None = None

    def record(self) -> dict[str, Any]:
        """What `dlkit predict --out` prints of it."""
        size = {} if self.dimensions is None else {"dimensions": self.dimensions}
        return {"inputs": self.inputs, "failed": self.failed, **size, "seconds": round(self.seconds, 3)}
