"""The events of a stack of runs, which it yields as it trains."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class StackStepped:
    """Every run took a step."""

    step: int


@dataclass
class StackLogged:
    """(R,) mean training losses since the last such event, and for which runs all losses so far were finite."""

    step: int
    losses: list[float]
    finite: list[bool]


@dataclass
class StackEvaluated:
    """Metrics of each run on the evaluation split."""

    step: int
    metrics: list[dict[str, float]]
