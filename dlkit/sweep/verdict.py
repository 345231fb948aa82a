"""What the runs of a race allow to say in the end, and what they do not: no optimizer is called best without evidence.

The evidence is one of

    intervals     differences over seeds, paired, as in `verdict`
    one run each  nothing is random, as on a surface: the final losses are what they are, and have no interval
    divergence    all others have no result
    none          one optimizer alone, one seed, nobody with a result, or nobody below where all began

A best setting at the edge of what was tried is not known to be the best: a better one may lie beyond. Such edges are
part of the conclusion, and an assertion about optimizers that stand at one is not supported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dlkit.sweep.statistics import (
    Edge,
    OptimizerSummary,
    PairedDifference,
    assertion_holds,
    rank_optimizers,
    undominated,
)
from dlkit.sweep.trials import TrialResult

Basis = Literal["intervals", "one run each", "divergence", "none"]
_ENDS: dict[Edge, str] = {"low": "least", "high": "largest"}


@dataclass(frozen=True)
class Verdict:
    """Who is best, and why.

    Args:
        winner: that is told apart from every other; `tie` where several are not told apart, None where nobody has a
            result, or one below where all began.
        tied: those that are not told apart from the best, the best first; empty where there is a winner.
        basis: of the winner, or of the tie.
        edges: optimizer -> at which end of the learning rates tried its best one stands.
        text: all of it in a sentence.
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
    began: float | None = None,
) -> Verdict:
    """What may be said.

    Args:
        summaries: of the optimizers.
        pairs: of them, as `verdict.compare` has them.
        metric: that they are judged by.
        exact: nothing is random, so that one run says it all.
        began: the metric before the first step, where it is known, from which a winner must have come down.
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
    if began is not None and not least < began:
        text = f"no optimizer ends below {began:.4g}, the {metric} where all began"
        return Verdict(None, [], "none", edges, text + _told(edges, ranked))
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
    return Verdict(winner, tied, basis, edges, text + _told(edges, ranked))


def _evidence(
    finished: Sequence[OptimizerSummary], racing: int, equals: list[str], exact: bool, seeds: int
) -> tuple[Basis, str, list[str]]:
    """The basis, the winner or `tie`, and who is tied."""
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


def _told(edges: dict[str, Edge], ranked: Sequence[OptimizerSummary]) -> str:
    """The edges as the end of a sentence."""
    parts = [at_edge(summary) for summary in ranked if summary.optimizer in edges]
    return f"; a better learning rate may lie beyond those tried of {', '.join(parts)}" if parts else ""


def at_edge(summary: OptimizerSummary) -> str:
    """`adam (lr 0.1, the largest)`, of one whose best learning rate stands at an edge."""
    assert summary.best is not None
    assert summary.edge is not None
    return f"{summary.optimizer} (lr {summary.lrs[summary.best]:.3g}, the {_ENDS[summary.edge]})"


def initial_value(outcomes: Sequence[TrialResult], metric: str) -> float | None:
    """The metric before the first step, if all runs know it, and agree."""
    values = {o.curve[0][1].get(metric) if o.curve and not o.curve[0][0] else None for o in outcomes}
    return values.pop() if len(values) == 1 else None


def assertion_objection(
    assertion: tuple[str, str, str],
    summaries: Sequence[OptimizerSummary],
    pairs: Sequence[PairedDifference],
    allow_edge: bool,
) -> tuple[str, str] | None:
    """Why the runs do not support an assertion, and what to do; None where they do.

    Args:
        assertion: as `verdict.parse_assertion` has it.
        summaries: of the optimizers.
        pairs: of them.
        allow_edge: take a best setting at the edge of what was tried, or none at all, for an optimizer's best.
    """
    a, relation, b = assertion
    claim = f"the runs do not support {a}{relation}{b}"
    mine = [s for s in summaries if s.optimizer in (a, b)]
    lost = [s.optimizer for s in mine if s.at_best is None]
    if lost and (len(lost) == len(mine) or not allow_edge):
        return f"{claim}: at every setting of {', '.join(lost)} a run diverged", "lower the learning rates in --lr"
    if not assertion_holds(assertion, pairs):
        return claim, "see the pair in the verdict: its difference, and its interval where there are seeds"
    edges = [at_edge(s) for s in mine if s.edge is not None]
    if edges and a != b and not allow_edge:
        text = f"{claim}: a better learning rate may lie beyond those tried of {', '.join(edges)}"
        return text, "widen --lr, or accept it with --allow-edge"
    return None
