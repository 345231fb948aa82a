"""What a number of the logarithm's base is called."""

from __future__ import annotations

import math

_UNITS = {2.0: "bits", math.e: "nats", 10.0: "dits"}


def unit_of(base: float) -> str:
    """The unit of an entropy whose logarithm has this base."""
    return _UNITS.get(base, f"base-{base:g} digits")
