"""What the runs of a race allow to say: best learning rates, intervals, and which optimizers can be told apart.

Each optimizer is judged at its best learning rate: the one with the least mean loss over seeds, and no seed diverged.
Seeds are paired, since all optimizers start from the same weights and see the same data in the same order at a seed.
Intervals are percentiles of 10,000 bootstrap means over seeds (Efron 1979); those of pairs are widened to hold together
for all pairs (Bonferroni). Two optimizers are told apart only where the interval of their difference excludes zero.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit.compare.runs import Outcome
from dlkit.errors import RequestError

RESAMPLES = 10_000
LEVEL = 0.95
BASIN = 1.1  # a learning rate is good enough within 10 % of the best loss

Losses = NDArray[np.float64]


@dataclass(frozen=True)
class Summary:
    """An optimizer over its grid: losses are (learning rates, seeds), inf where a run diverged."""

    optimizer: str
    lrs: tuple[float, ...]
    losses: Losses
    best: int | None  # index of its best learning rate; None if every one of them diverged for some seed

    @property
    def at_best(self) -> Losses | None:
        """(seeds,) losses at the best learning rate."""
        return None if self.best is None else self.losses[self.best]


def summarize(outcomes: Sequence[Outcome], metric: str) -> list[Summary]:
    """One summary for each optimizer, in the order in which they first appear.

    Raises:
        RequestError: a run is missing from the grid, or has no such metric.
    """
    table = {(o.contender.optimizer, o.contender.lr, o.contender.seed): o for o in outcomes}
    optimizers = list(dict.fromkeys(o.contender.optimizer for o in outcomes))
    seeds = sorted({o.contender.seed for o in outcomes})
    summaries: list[Summary] = []
    for name in optimizers:
        lrs = sorted({o.contender.lr for o in outcomes if o.contender.optimizer == name})
        losses = np.full((len(lrs), len(seeds)), np.inf)
        for (i, lr), (j, seed) in itertools.product(enumerate(lrs), enumerate(seeds)):
            outcome = table.get((name, lr, seed))
            if outcome is None:
                raise RequestError(f"no run of {name} with lr {lr:g} and seed {seed}", "--resume runs what is missing")
            losses[i, j] = _value(outcome, metric)
        means = losses.mean(1)
        best = int(np.argmin(means)) if np.isfinite(means).any() else None
        summaries.append(Summary(name, tuple(lrs), losses, best))
    return summaries


def _value(outcome: Outcome, metric: str) -> float:
    value = outcome.loss if metric == "loss" else outcome.metrics.get(metric)
    if value is None and not outcome.diverged:
        raise RequestError(f"the runs have no metric {metric!r}", f"they have {', '.join(['loss', *outcome.metrics])}")
    return math.inf if outcome.diverged or value is None or not math.isfinite(value) else value


def interval(values: Losses, level: float = LEVEL) -> tuple[float, float]:
    """Bootstrap percentile interval of a mean over seeds; one seed gives no width, and so no evidence."""
    picks = np.random.default_rng(0).integers(0, len(values), (RESAMPLES, len(values)))
    means = values[picks].mean(1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


@dataclass(frozen=True)
class Pair:
    """a - b at their best learning rates: the mean difference and its corrected interval."""

    a: str
    b: str
    difference: float
    low: float
    high: float

    @property
    def separated(self) -> bool:
        return self.low > 0 or self.high < 0


def compare(summaries: Sequence[Summary], exact: bool = False) -> list[Pair]:
    """Every pair of optimizers. One that always diverged loses to each that did not; two such are not told apart.

    Args:
        summaries: of the optimizers.
        exact: nothing is random, as on a surface, so that one run says it all.
    """
    pairs = list(itertools.combinations(summaries, 2))
    level = 1 - (1 - LEVEL) / max(len(pairs), 1)
    results: list[Pair] = []
    for a, b in pairs:
        x, y = a.at_best, b.at_best
        if x is None or y is None:
            sign = (x is None) - (y is None)
            low, high = (sign * math.inf,) * 2 if sign else (-math.inf, math.inf)
            results.append(Pair(a.optimizer, b.optimizer, sign * math.inf if sign else 0.0, low, high))
            continue
        difference = float((x - y).mean())
        low, high = (difference, difference) if exact else (-math.inf, math.inf)
        if len(x) > 1:
            low, high = interval(x - y, level)
        results.append(Pair(a.optimizer, b.optimizer, difference, low, high))
    return results


def winners(summaries: Sequence[Summary], pairs: Sequence[Pair]) -> list[str]:
    """The best optimizer, and all that cannot be told apart from it, the best first."""
    ranked = rank(summaries)
    first = ranked[0].optimizer
    tied = {p.a if p.b == first else p.b for p in pairs if first in (p.a, p.b) and not p.separated}
    return [first, *(s.optimizer for s in ranked[1:] if s.optimizer in tied)]


def rank(summaries: Sequence[Summary]) -> list[Summary]:
    """By mean loss at the best learning rate, those that always diverged last."""
    return sorted(summaries, key=lambda s: math.inf if s.at_best is None else float(s.at_best.mean()))


def at_edge(summary: Summary) -> bool:
    """Whether the best learning rate is the first or last of its grid, so that a better one may lie outside."""
    return len(summary.lrs) > 1 and summary.best in (0, len(summary.lrs) - 1)


def basin_decades(summary: Summary) -> float:
    """Decades of learning rates around the best one whose mean loss is within 10 % of its own."""
    if summary.best is None:
        return 0.0
    means = summary.losses.mean(1)
    good = means <= BASIN * means[summary.best]
    low = high = summary.best
    while low > 0 and good[low - 1]:
        low -= 1
    while high < len(good) - 1 and good[high + 1]:
        high += 1
    return math.log10(summary.lrs[high] / summary.lrs[low])


def tuning_effort(summary: Summary, worst: float) -> list[float]:
    """Expected best mean loss after k = 1, 2, ... learning rates drawn at random from the grid, with replacement.

    Args:
        worst: what a diverged run counts as, such as the loss before training.
    """
    means = summary.losses.mean(1)
    values = np.sort(np.where(np.isfinite(means), np.minimum(means, worst), worst))
    n = len(values)
    # P(the best of k draws is at least the i-th of n) = ((n - i + 1) / n)^k
    shares = 1 - np.arange(n + 1) / n
    return [float((values * (shares[:-1] ** k - shares[1:] ** k)).sum()) for k in range(1, n + 1)]


def steps_to(outcomes: Sequence[Outcome], metric: str, target: float, rising: bool) -> list[float]:
    """For each run the first evaluated step at which the metric reaches the target, inf if it never does."""
    reached: list[float] = []
    for outcome in outcomes:
        hits = (
            step
            for step, metrics in outcome.curve
            if metric in metrics and (metrics[metric] >= target if rising else metrics[metric] <= target)
        )
        reached.append(next(hits, math.inf))
    return reached


_ASSERTION = re.compile(r"\s*([a-z0-9_]+)\s*(<=|<)\s*([a-z0-9_]+)\s*\Z")


def parse_assertion(text: str, optimizers: Sequence[str]) -> tuple[str, str, str]:
    """`adamw<=sgd` as its parts. Raises RequestError if it is none, or about an optimizer that does not run."""
    match = _ASSERTION.match(text)
    if match is None:
        raise RequestError(f"--assert {text}: no assertion", "write --assert 'adamw<=sgd' or 'adamw<sgd' (of losses)")
    a, relation, b = match.groups()
    for name in (a, b):
        if name not in optimizers:
            raise RequestError(f"--assert {text}: {name} does not run", f"these do: {', '.join(optimizers)}")
    return a, relation, b


def holds(assertion: tuple[str, str, str], pairs: Sequence[Pair]) -> bool:
    """`a<b`: the loss of a is shown to be less. `a<=b`: it is not shown to be more."""
    a, relation, b = assertion
    if a == b:
        return relation == "<="
    for pair in pairs:
        if {pair.a, pair.b} == {a, b}:
            low, high = (pair.low, pair.high) if pair.a == a else (-pair.high, -pair.low)
            return high < 0 if relation == "<" else not low > 0
    return False


def records(
    summaries: Sequence[Summary], outcomes: Sequence[Outcome], metric: str, worst: float
) -> list[dict[str, Any]]:
    """A record for each optimizer, the best first."""
    result: list[dict[str, Any]] = []
    for place, summary in enumerate(rank(summaries), start=1):
        values = summary.at_best
        low, high = interval(values) if values is not None else (math.nan, math.nan)
        mine = [o for o in outcomes if o.contender.optimizer == summary.optimizer]
        result.append(
            {
                "kind": "optimizer",
                "optimizer": summary.optimizer,
                "rank": place,
                "lr": None if summary.best is None else summary.lrs[summary.best],
                "metric": metric,
                "mean": math.inf if values is None else float(values.mean()),
                "low": low,
                "high": high,
                "seeds": summary.losses.shape[1],
                "at_edge": at_edge(summary),
                "basin_decades": basin_decades(summary),
                "diverged": sum(o.diverged for o in mine),
                "runs": len(mine),
                "tuning_effort": tuning_effort(summary, worst),
            }
        )
    return result
