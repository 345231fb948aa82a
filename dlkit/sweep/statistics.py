"""What the runs of a race allow to say: best learning rates, intervals, and which optimizers can be told apart.

Each optimizer is judged at its best setting, a learning rate or a random trial: the one with the least mean loss over
seeds, and no seed diverged. Seeds are paired, since all optimizers start from the same weights and see the same data in
the same order at a seed. Intervals are percentiles of 10,000 bootstrap means over seeds (Efron 1979).

Two optimizers are told apart only where the interval of their difference excludes zero. Those intervals hold together
for all pairs (Bonferroni), and are never narrower than Student's: a bootstrap of n differences cannot reach beyond the
least and the largest, and with 5 seeds one pair of equals in 16 lies wholly on one side by chance alone.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dlkit.errors import RequestError
from dlkit.sweep.trials import Options, TrialResult

RESAMPLES = 10_000
LEVEL = 0.95

Losses = NDArray[np.float64]
Edge = Literal["low", "high"]


@dataclass(frozen=True)
class OptimizerSummary:
    """An optimizer over its settings, in rising order: losses are (settings, seeds), inf where a run diverged."""

    optimizer: str
    settings: tuple[tuple[float, Options], ...]
    losses: Losses
    best: int | None  # index of its best setting; None if every one of them diverged for some seed

    @property
    def lrs(self) -> tuple[float, ...]:
        return tuple(lr for lr, _ in self.settings)

    @property
    def searched(self) -> bool:
        """Whether settings differ in more than the learning rate."""
        return any(options for _, options in self.settings)

    @property
    def edge(self) -> Edge | None:
        """At which end of the learning rates tried, if at one, the best stands, so that a better may lie beyond."""
        return None if self.best is None else _edge(self.lrs, self.lrs[self.best])

    @property
    def option_edges(self) -> dict[str, Edge]:
        """The same of the other options that were searched: name -> end."""
        if self.best is None:
            return {}
        found: dict[str, Edge] = {}
        for name, value in self.settings[self.best][1]:
            end = _edge([dict(options)[name] for _, options in self.settings], value)
            if end is not None:
                found[name] = end
        return found

    @property
    def at_best(self) -> Losses | None:
        """(seeds,) losses at the best setting."""
        return None if self.best is None else self.losses[self.best]

    def best_outcomes(self, outcomes: Sequence[TrialResult]) -> list[TrialResult]:
        """Its runs at the best setting, one for each seed."""
        if self.best is None:
            return []
        mine = (self.optimizer, self.settings[self.best])
        return [o for o in outcomes if (o.trial.optimizer, o.trial.setting) == mine]


def _edge(tried: Sequence[float], best: float) -> Edge | None:
    if min(tried) == max(tried):
        return None
    return "low" if best == min(tried) else "high" if best == max(tried) else None


def summarize(outcomes: Sequence[TrialResult], metric: str) -> list[OptimizerSummary]:
    """One summary for each optimizer, in the order in which they first appear.

    Raises:
        RequestError: a run is missing from the grid, or has no such metric.
    """
    table = {(o.trial.optimizer, o.trial.setting, o.trial.seed): o for o in outcomes}
    optimizers = list(dict.fromkeys(o.trial.optimizer for o in outcomes))
    seeds = sorted({o.trial.seed for o in outcomes})
    summaries: list[OptimizerSummary] = []
    for name in optimizers:
        settings = sorted({o.trial.setting for o in outcomes if o.trial.optimizer == name})
        losses = np.full((len(settings), len(seeds)), np.inf)
        for (i, setting), (j, seed) in itertools.product(enumerate(settings), enumerate(seeds)):
            outcome = table.get((name, setting, seed))
            if outcome is None:
                text = f"no run of {name} with lr {setting[0]:g} and seed {seed}"
                raise RequestError(text, "--resume runs what is missing")
            losses[i, j] = _value(outcome, metric)
        means = losses.mean(1)
        equal = np.flatnonzero(means == means.min())
        # of several that are equally good, the one farthest from the edge
        middle = min(equal.tolist(), key=lambda place: abs(2 * place - (len(means) - 1)))
        best = middle if np.isfinite(means).any() else None
        summaries.append(OptimizerSummary(name, tuple(settings), losses, best))
    return summaries


def _value(outcome: TrialResult, metric: str) -> float:
    value = outcome.loss if metric == "loss" else outcome.metrics.get(metric)
    if value is None and not outcome.diverged:
        raise RequestError(f"the runs have no metric {metric!r}", f"they have {', '.join(['loss', *outcome.metrics])}")
    return math.inf if outcome.diverged or value is None or not math.isfinite(value) else value


def bootstrap_interval(values: Losses, level: float = LEVEL) -> tuple[float, float]:
    """Bootstrap percentile interval of a mean over seeds; one seed gives no width, and so no evidence."""
    picks = np.random.default_rng(0).integers(0, len(values), (RESAMPLES, len(values)))
    means = values[picks].mean(1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def paired_interval(differences: Losses, level: float) -> tuple[float, float]:
    """Of the mean of paired differences over seeds: the hull of the bootstrap's interval and Student's (1908)."""
    from scipy.special import stdtrit  # in a third of the time that scipy.stats takes to import

    n = len(differences)
    if n < 2:
        return -math.inf, math.inf
    low, high = bootstrap_interval(differences, level)
    # mean -+ t_(n-1, (1 + level) / 2) s / sqrt(n)
    half = float(stdtrit(n - 1, (1 + level) / 2) * differences.std(ddof=1) / math.sqrt(n))
    mean = float(differences.mean())
    return min(low, mean - half), max(high, mean + half)


@dataclass(frozen=True)
class PairedDifference:
    """a - b at their best settings: the mean difference and its corrected interval."""

    a: str
    b: str
    difference: float
    low: float
    high: float

    @property
    def separated(self) -> bool:
        return self.low > 0 or self.high < 0


def paired_differences(summaries: Sequence[OptimizerSummary], exact: bool = False) -> list[PairedDifference]:
    """Every pair of optimizers. One that always diverged loses to each that did not; two such are not told apart.

    Args:
        summaries: of the optimizers.
        exact: nothing is random, as on a surface, so that one run says it all.
    """
    pairs = list(itertools.combinations(summaries, 2))
    level = 1 - (1 - LEVEL) / max(len(pairs), 1)
    results: list[PairedDifference] = []
    for a, b in pairs:
        x, y = a.at_best, b.at_best
        if x is None or y is None:
            sign = (x is None) - (y is None)
            low, high = (sign * math.inf,) * 2 if sign else (-math.inf, math.inf)
            results.append(PairedDifference(a.optimizer, b.optimizer, sign * math.inf if sign else 0.0, low, high))
            continue
        difference = float((x - y).mean())
        low, high = (difference, difference) if exact else paired_interval(x - y, level)
        results.append(PairedDifference(a.optimizer, b.optimizer, difference, low, high))
    return results


def undominated(summaries: Sequence[OptimizerSummary], pairs: Sequence[PairedDifference]) -> list[str]:
    """The best optimizer, and all that cannot be told apart from it, the best first."""
    ranked = rank_optimizers(summaries)
    first = ranked[0].optimizer
    tied = {p.a if p.b == first else p.b for p in pairs if first in (p.a, p.b) and not p.separated}
    return [first, *(s.optimizer for s in ranked[1:] if s.optimizer in tied)]


def rank_optimizers(summaries: Sequence[OptimizerSummary]) -> list[OptimizerSummary]:
    """By mean loss at the best setting, those that always diverged last."""
    return sorted(summaries, key=lambda s: math.inf if s.at_best is None else float(s.at_best.mean()))


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


def assertion_holds(assertion: tuple[str, str, str], pairs: Sequence[PairedDifference]) -> bool:
    """`a<b`: the loss of a is shown to be less. `a<=b`: it is not shown to be more."""
    a, relation, b = assertion
    if a == b:
        return relation == "<="
    for pair in pairs:
        if {pair.a, pair.b} == {a, b}:
            low, high = (pair.low, pair.high) if pair.a == a else (-pair.high, -pair.low)
            return high < 0 if relation == "<" else not low > 0
    return False
