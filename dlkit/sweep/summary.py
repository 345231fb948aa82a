"""How each optimizer did over its settings: final losses per seed, the best setting, and whether it stands at an edge.

A setting is a learning rate of the grid, or a random draw of several options. An optimizer is judged at its best one:
the least mean loss over seeds, among settings at which no seed diverged.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dlkit.errors import RequestError
from dlkit.sweep.trials import Options, TrialResult

Losses = NDArray[np.float64]
Edge = Literal["low", "high"]
_END_NAMES: dict[Edge, str] = {"low": "least", "high": "largest"}


@dataclass(frozen=True)
class OptimizerSummary:
    """One optimizer over all of its settings.

    Args:
        optimizer: its name.
        settings: (learning rate, other options) in ascending order.
        losses: final loss, (settings, seeds); inf where a run diverged.
        best: index of the best setting; None if at every setting some seed diverged.
    """

    optimizer: str
    settings: tuple[tuple[float, Options], ...]
    losses: Losses
    best: int | None

    @property
    def lrs(self) -> tuple[float, ...]:
        return tuple(lr for lr, _ in self.settings)

    @property
    def searched(self) -> bool:
        """Whether settings differ in more than the learning rate."""
        return any(options for _, options in self.settings)

    @property
    def edge(self) -> Edge | None:
        """The end of the tried learning rates at which the best one stands, if at one: a better one may lie beyond."""
        return None if self.best is None else _edge(self.lrs, self.lrs[self.best])

    @property
    def option_edges(self) -> dict[str, Edge]:
        """The same for the other searched options: name -> end."""
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
        """Losses at the best setting, (seeds,)."""
        return None if self.best is None else self.losses[self.best]

    def best_outcomes(self, outcomes: Sequence[TrialResult]) -> list[TrialResult]:
        """The runs at the best setting, one per seed."""
        if self.best is None:
            return []
        mine = (self.optimizer, self.settings[self.best])
        return [o for o in outcomes if (o.trial.optimizer, o.trial.setting) == mine]


def _edge(tried: Sequence[float], best: float) -> Edge | None:
    if min(tried) == max(tried):
        return None
    return "low" if best == min(tried) else "high" if best == max(tried) else None


def summarize(outcomes: Sequence[TrialResult], metric: str) -> list[OptimizerSummary]:
    """One summary per optimizer, in the order of their first appearance.

    Raises:
        RequestError: the grid lacks a run, or a run lacks the metric.
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
                raise RequestError(text, "`resume` runs what is missing")
            losses[i, j] = _value(outcome, metric)
        means = losses.mean(1)
        equal = np.flatnonzero(means == means.min())
        # among equals, the one farthest from either edge
        middle = min(equal.tolist(), key=lambda index: abs(2 * index - (len(means) - 1)))
        best = middle if np.isfinite(means).any() else None
        summaries.append(OptimizerSummary(name, tuple(settings), losses, best))
    return summaries


def _value(outcome: TrialResult, metric: str) -> float:
    value = outcome.loss if metric == "loss" else outcome.metrics.get(metric)
    if value is None and not outcome.diverged:
        raise RequestError(f"the runs have no metric {metric!r}", f"they have {', '.join(['loss', *outcome.metrics])}")
    return math.inf if outcome.diverged or value is None or not math.isfinite(value) else value


def rank_optimizers(summaries: Sequence[OptimizerSummary]) -> list[OptimizerSummary]:
    """Summaries by mean loss at the best setting, ascending; optimizers without a result come last."""
    return sorted(summaries, key=lambda s: math.inf if s.at_best is None else float(s.at_best.mean()))


def at_edge(summary: OptimizerSummary) -> str:
    """`adam (lr 0.1, the largest)`, for an optimizer whose best learning rate stands at an edge."""
    assert summary.best is not None
    assert summary.edge is not None
    return f"{summary.optimizer} (lr {summary.lrs[summary.best]:.3g}, the {_END_NAMES[summary.edge]})"
