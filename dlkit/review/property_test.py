"""An exact property, checked over random inputs in float64."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from dlkit.catalog import import_object
from dlkit.review.claim import PropertyTest, Verdict
from dlkit.review.deviation import Deviation, largest
from dlkit.review.properties.registry import PROPERTIES


@dataclass(frozen=True)
class PropertyOutcome:
    """The largest deviation over all draws, and the further numbers of the draw that had it."""

    deviation: Deviation
    tolerance: float
    draws: int

    @property
    def verdict(self) -> Verdict:
        return "supported" if self.deviation.value <= self.tolerance else "contradicted"

    def record(self) -> dict[str, object]:
        """Its part of the claim's record."""
        return {
            "verdict": self.verdict, "deviation": self.deviation.value, "tolerance": self.tolerance,
            "draws": self.draws, "numbers": dict(self.deviation.numbers),
        }  # fmt: skip


def property_function(name: str) -> Callable[..., Deviation]:
    """The function of that name in `PROPERTIES`. Its argument is what the property is claimed of."""
    return import_object(f"dlkit.review.properties.{PROPERTIES[name]}")


def check_property(test: PropertyTest, function: Callable[[], Deviation] | None = None) -> PropertyOutcome:
    """Draw inputs, and take the largest deviation.

    Args:
        test: which property, how many draws, and the tolerance.
        function: in place of the property's own.
    """
    function = function or property_function(test.function)
    found: list[Deviation] = []
    for seed in range(test.draws):
        with _in_float64(seed):
            found.append(function())
    worst = max(found, key=lambda deviation: largest(deviation.value))
    return PropertyOutcome(worst, test.tolerance, test.draws)


@contextmanager
def _in_float64(seed: int) -> Generator[None]:
    """New tensors are float64, and torch's random numbers those of this seed; after it, all is as it was."""
    before = torch.get_default_dtype()
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        torch.set_default_dtype(torch.float64)
        try:
            yield
        finally:
            torch.set_default_dtype(before)
