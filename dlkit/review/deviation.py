"""How far a computation is from an identity that is claimed of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class Deviation:
    """What one draw of random inputs showed.

    Args:
        value: the largest difference between the two sides; 0 where an inequality holds.
        numbers: further numbers to show, such as what the same test gives for the opposite.
    """

    value: float
    numbers: Mapping[str, float] = field(default_factory=dict[str, float])


def largest_difference(a: Tensor, b: Tensor) -> float:
    """max |a - b|, infinite where one of them is not a number."""
    return float((a - b).detach().abs().nan_to_num(nan=math.inf).max())


def shortfall(value: float, least: float) -> float:
    """How much is missing for `value >= least`; infinite where it is not a number."""
    return largest(0.0, least - value)


def largest(*parts: float) -> float:
    """The largest of several deviations, infinite where one of them is not a number, which `max` might pass over."""
    return math.inf if any(map(math.isnan, parts)) else max(parts)
