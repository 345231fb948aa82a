"""From the results of an experiment to a verdict, by paired differences over seeds.

At one seed all arms start alike where their shapes allow it and see the data in the same order, so what is claimed is
computed seed by seed. Its mean gets the interval of `paired_interval`: never narrower than Student's (1908). Where
several claims are judged together, the intervals hold jointly (Bonferroni).

With d the mean in the claimed direction, [low, high] its interval and s the smallest difference that matters:

    supported      low > 0 and d >= s
    contradicted   high < 0 and d <= -s
    not supported  otherwise, if high < s: a difference that matters is ruled out
    cannot tell    otherwise: more seeds are needed
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dlkit.review.claim import Verdict
from dlkit.sweep.statistics import paired_interval

LEVEL = 0.95
POWER = 0.8
MOST_SEEDS = 10_000


@dataclass(frozen=True)
class Judgement:
    """A verdict and the numbers behind it.

    Args:
        verdict: what the differences support.
        difference: their mean, positive on the claimed side.
        low: of its interval.
        high: of its interval.
        level: of the interval.
        seeds_needed: seeds at which a difference that just matters would be told from none in four cases of five; None
            where the spread is not known.
    """

    verdict: Verdict
    difference: float
    low: float
    high: float
    level: float
    seeds_needed: int | None


def judge_differences(differences: Sequence[float], smallest: float, claims: int = 1) -> Judgement:
    """Judge the differences of an experiment, one a seed.

    Args:
        differences: positive on the claimed side; a run that diverged makes one that is not finite.
        smallest: the smallest difference that matters.
        claims: how many are judged together.
    """
    level = 1 - (1 - LEVEL) / claims
    values: NDArray[np.float64] = np.array(differences, dtype=np.float64)
    if not np.isfinite(values).all():
        return Judgement("cannot tell", math.nan, -math.inf, math.inf, level, None)
    mean = float(values.mean())
    low, high = paired_interval(values, level)
    return Judgement(_verdict(mean, low, high, smallest), mean, low, high, level, seeds_needed(values, smallest, level))


def _verdict(mean: float, low: float, high: float, smallest: float) -> Verdict:
    if low > 0 and mean >= smallest:
        return "supported"
    if high < 0 and mean <= -smallest:
        return "contradicted"
    return "not supported" if high < smallest else "cannot tell"


def seeds_needed(values: NDArray[np.float64], smallest: float, level: float) -> int | None:
    """Seeds by which a difference of `smallest` would be told from none with a power of 80 %, given the spread here."""
    from scipy.special import stdtrit

    if len(values) < 2:
        return None
    spread = float(values.std(ddof=1))
    for n in range(2, MOST_SEEDS):
        # n >= ((t_(1 - alpha / 2) + t_power) s / smallest)^2, with n - 1 degrees of freedom
        reach = float(stdtrit(n - 1, (1 + level) / 2) + stdtrit(n - 1, POWER))
        if reach * spread <= smallest * math.sqrt(n):
            return n
    return MOST_SEEDS
