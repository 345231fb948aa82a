"""The verdict: which optimizer won, and on what evidence. None is called best without any.

The evidence is one of

    intervals     paired differences over seeds, as in `statistics`
    one run each  nothing is random, as on a surface: final losses are exact and have no interval
    divergence    every other optimizer diverged
    none          a single optimizer, a single seed, no optimizer with a result, or none that improved on the start

If the best setting stands at the edge of what was tried, a better one may lie beyond. The verdict names such edges, and
assertions about these optimizers are not supported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dlkit.sweep.statistics import PairedDifference, undominated
from dlkit.sweep.summary import Edge, OptimizerSummary, at_edge, rank_optimizers
from dlkit.sweep.trials import TrialResult

Basis = Literal["intervals", "one run each", "divergence", "none"]


@dataclass(frozen=True)
class Verdict:
    """Which optimizer is best, and why.

    Args:
        winner: the optimizer separated from every other; `tie` if there are several, None if none has a result or none
            improved on the initial value.
        tied: the optimizers not separated from the best one, best first; empty if there is a winner.
        basis: the evidence for the winner or the tie.
        edges: optimizer -> the end of the tried learning rates at which its best one stands.
        text: all of this in a sentence.
    """

    winner: str | None
    tied: list[str]
    basis: Basis
    edges: dict[str, Edge]
    text: str


def reach_verdict(
    summaries: Sequence[OptimizerSummary],
    pairs: Sequence[PairedDifference],
    metric: str,
    exact: bool = False,
    initial: float | None = None,
) -> Verdict:
    """The verdict that the runs support.

    Args:
        summaries: of the optimizers.
        pairs: their `paired_differences`.
        metric: the loss by which they are judged.
        exact: nothing is random, so one run per setting is conclusive.
        initial: the metric before the first step, if known; a winner must have improved on it.
    """
    ranked = rank_optimizers(summaries)
    finished = [s for s in ranked if s.at_best is not None]
    edges: dict[str, Edge] = {s.optimizer: s.edge for s in ranked if s.edge is not None}
    if not finished:
        every = all(np.isinf(s.losses).all() for s in summaries)
        text = "every run diverged" if every else "at every setting a run diverged"
        return Verdict(None, [], "none", edges, f"no optimizer has a result: {text}")
    best, seeds = finished[0], finished[0].losses.shape[1]
    least = _mean(best)
    equals = undominated(summaries, pairs)
    basis, winner, tied = _evidence(finished, len(ranked), equals, exact, seeds)
    if initial is not None and not least < initial:
        text = f"no optimizer ends below {initial:.4g}, the {metric} where all began"
        return Verdict(None, [], "none", edges, text + _edge_clause(edges, ranked))
    if len(ranked) == 1:
        text = f"{winner} raced alone: there is nothing to compare it with"
    elif basis == "divergence":
        text = f"{winner} alone has a result: at every setting of the others a run diverged"
    elif winner == "tie":
        why = ": one seed is no evidence" if seeds == 1 and not exact else ", which end equally low" if exact else ""
        text = f"cannot separate {', '.join(tied)}{why}"
    elif exact:
        text = f"{winner} ends lowest of one run each: {metric} {least:.4g}"
        text += f", then {finished[1].optimizer} {_mean(finished[1]):.4g}"
    else:
        text = f"{winner} is best: over {seeds} seeds, its {metric} lies below every other's with 95 % confidence"
    return Verdict(winner, tied, basis, edges, text + _edge_clause(edges, ranked))


def _evidence(
    finished: Sequence[OptimizerSummary], racing: int, equals: list[str], exact: bool, seeds: int
) -> tuple[Basis, str, list[str]]:
    """The basis, the winner or `tie`, and the tied optimizers."""
    if racing == 1:
        return "none", equals[0], []
    if len(equals) > 1:
        return "one run each" if exact else "intervals" if seeds > 1 else "none", "tie", equals
    if len(finished) == 1:
        return "divergence", equals[0], []
    return "one run each" if exact else "intervals", equals[0], []


def _mean(summary: OptimizerSummary) -> float:
    assert summary.at_best is not None
    return float(summary.at_best.mean())


def _edge_clause(edges: dict[str, Edge], ranked: Sequence[OptimizerSummary]) -> str:
    """The edges, as the end of a sentence."""
    named = [at_edge(summary) for summary in ranked if summary.optimizer in edges]
    return f"; a better learning rate may lie beyond those tried of {', '.join(named)}" if named else ""


def initial_value(outcomes: Sequence[TrialResult], metric: str) -> float | None:
    """The metric before the first step, on average over the seeds, if all runs know it."""
    # at a seed all runs start from the same weights
    of_seeds = {outcome.trial.seed: outcome.start.get(metric) for outcome in reversed(outcomes)}
    if any(metric not in outcome.start for outcome in outcomes):
        return None
    return float(np.mean([value for value in of_seeds.values() if value is not None]))
