"""Ranges that constructor arguments state in their annotations. The recipe schema is generated from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt, Le, Lt


@dataclass(frozen=True)
class Pattern:
    """Text that must match a regular expression, with examples for the message."""

    expression: str
    examples: tuple[str, ...]


Count = Annotated[int, Ge(1)]
Natural = Annotated[int, Ge(0)]
Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
# A rate of drop-out, decay or momentum: 1 would erase everything or never forget.
Rate = Annotated[float, Ge(0), Lt(1)]
Fraction = Annotated[float, Ge(0), Le(1)]
# How often: `1 epoch`, `500 steps`, or `never`.
Interval = Annotated[str, Pattern(r"^([1-9][0-9]{0,11} (epochs?|steps?)|never)$", ("1 epoch", "500 steps", "never"))]
