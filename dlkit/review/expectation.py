"""The relation that an experiment claims: `a > b`, `a < b`, or of differences, `a - b > c - d`.

Beside arms there may be numbers, and quantities that are computed from the data: `a < unigram_entropy`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dlkit.recipe import closest

# By name. The entropy is that of the frequencies of the measured split's own tokens, in nats: no prediction from
# frequencies alone has a smaller cross-entropy there (Gibbs' inequality).
QUANTITIES = ("unigram_entropy",)

_TERM = re.compile(r"\s*([-+]?)\s*([A-Za-z][A-Za-z0-9_]*|[0-9]+(?:\.[0-9]*)?(?:e-?[0-9]+)?)\s*")


@dataclass(frozen=True)
class Expectation:
    """A contrast that is claimed to be positive: the sum of `weight * value` over arms and quantities, and a constant.

    Args:
        text: as it was written.
        weights: arm or quantity -> its weight.
        constant: the numbers in it.
    """

    text: str
    weights: tuple[tuple[str, int], ...]
    constant: float

    @property
    def quantities(self) -> list[str]:
        """Those that it compares arms with."""
        return [name for name, _ in self.weights if name in QUANTITIES]

    def contrast(self, values: Mapping[str, float]) -> float:
        """How far the values of one seed, and the quantities, lie on the claimed side: negative on the other."""
        return sum(weight * values[arm] for arm, weight in self.weights) + self.constant


def parse_expectation(text: str, arms: Sequence[str]) -> Expectation:
    """Read a relation between arms. Raises ValueError, in words, if it is none."""
    sides = re.split(r"([<>])", text)
    if len(sides) != 3:
        raise ValueError(f"expected a relation such as 'a > b' or 'a - b > c - d', got {text!r}")
    weights, constant = dict.fromkeys(arms, 0), 0.0
    for side, sign in ((sides[0], 1), (sides[2], -1)):
        for factor, term in _terms(side, text):
            if term[0].isdigit():
                constant += sign * factor * float(term) * (1 if sides[1] == ">" else -1)
            elif term not in arms and term not in QUANTITIES:
                raise ValueError(f"no arm {term!r}{closest(term, [*arms, *QUANTITIES])}")
            else:
                weights[term] = weights.get(term, 0) + sign * factor * (1 if sides[1] == ">" else -1)
    used = tuple((arm, weight) for arm, weight in weights.items() if weight)
    if not any(name in arms for name, _ in used):
        raise ValueError(f"{text!r} compares nothing")
    return Expectation(text, used, constant)


def _terms(side: str, text: str) -> list[tuple[int, str]]:
    found: list[tuple[int, str]] = []
    position = 0
    while position < len(side):
        match = _TERM.match(side, position)
        if match is None or (found and not match[1]):
            raise ValueError(f"{text!r}: cannot read {side[position:].strip()!r}")
        found.append((-1 if match[1] == "-" else 1, match[2]))
        position = match.end()
    if not found:
        raise ValueError(f"{text!r}: one side is empty")
    return found
