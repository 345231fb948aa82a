"""Ranges that constructor arguments state in their annotations (the recipe schema comes from them), and type guards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeGuard

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


def is_mapping(value: object) -> TypeGuard[dict[str, Any]]:
    """Whether a value from YAML or JSON is a mapping."""
    return isinstance(value, Mapping)


def is_list(value: object) -> TypeGuard[list[Any]]:
    """Whether a value from YAML or JSON is a list."""
    return isinstance(value, (list, tuple))
