"""How hard an optimizer is to tune: the width of its basin of good learning rates, its tuning effort, its steps to a
target, its performance profile; and the record of each optimizer."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from dlkit.sweep.statistics import bootstrap_interval
from dlkit.sweep.summary import OptimizerSummary, rank_optimizers
from dlkit.sweep.trials import TrialResult

SLACK = 0.1  # a learning rate is good if its loss is within 10 % of the best


def basin_decades(summary: OptimizerSummary) -> float:
    """Width, in decades, of the interval around the best learning rate whose mean loss is within 10 % of the best.

    The loss is interpolated linearly in log lr between learning rates of the grid, and counts as too large beyond its
    ends and towards a learning rate at which a seed diverged. NaN if settings differ in other options, too.
    """
    if summary.searched:
        return math.nan
    if summary.best is None:
        return 0.0
    logs, means = [math.log10(lr) for lr in summary.lrs], summary.losses.mean(1).tolist()
    limit = means[summary.best] + SLACK * abs(means[summary.best])
    right = _reach(logs[summary.best :], means[summary.best :], limit)
    left = _reach(logs[summary.best :: -1], means[summary.best :: -1], limit)
    return right - left


def _reach(logs: Sequence[float], means: Sequence[float], limit: float) -> float:
    """The log learning rate at which the losses, from the best one outwards, first exceed the limit."""
    for (x, low), (following, high) in itertools.pairwise(zip(logs, means, strict=True)):
        if high > limit:
            # low + (high - low) share = limit
            return x + (following - x) * (limit - low) / (high - low)
    return logs[-1]


def tuning_effort(summary: OptimizerSummary, worst: float) -> list[float]:
    """Expected best mean loss after k = 1, 2, ... settings drawn at random from those tried, with replacement.

    Dodge et al. 2019, arXiv:1909.03004.

    Args:
        summary: of the optimizer.
        worst: the loss that a diverged run counts as, such as that before training.
    """
    means = summary.losses.mean(1)
    if not math.isfinite(worst):  # every run diverged
        return [worst] * len(means)
    values = np.sort(np.where(np.isfinite(means), np.minimum(means, worst), worst))
    n = len(values)
    # P(the best of k draws is at least the i-th of n) = ((n - i + 1) / n)^k
    shares = 1 - np.arange(n + 1) / n
    return [float((values * (shares[:-1] ** k - shares[1:] ** k)).sum()) for k in range(1, n + 1)]


def steps_to(outcomes: Sequence[TrialResult], metric: str, target: float, rising: bool) -> list[float]:
    """The first evaluated step of each run at which the metric reaches the target; inf if it never does."""
    reached: list[float] = []
    for outcome in outcomes:
        hits = (
            step
            for step, metrics in outcome.curve
            if metric in metrics and (metrics[metric] >= target if rising else metrics[metric] <= target)
        )
        reached.append(next(hits, math.inf))
    return reached


def performance_profiles(summaries: Sequence[OptimizerSummary]) -> dict[str, list[tuple[float, float]]]:
    """Performance profiles: optimizer -> (tau, share of seeds on which its loss is within tau times the best loss).

    Each seed is a problem, solved at the best setting; there is a pair for each tau at which the share steps up, from
    tau = 1 on. Empty if a loss is not positive, where ratios are meaningless. Dolan & Moré 2002, arXiv:cs/0102001.
    """
    solved = {s.optimizer: s.at_best for s in summaries}
    known = [values for values in solved.values() if values is not None]
    if not known or min(float(values.min()) for values in known) <= 0:
        return {}
    best = np.min(known, axis=0)  # (seeds,)
    curves: dict[str, list[tuple[float, float]]] = {}
    for name, values in solved.items():
        # rho(tau) = |{seeds: loss / best <= tau}| / |seeds|
        ratios = np.sort(values / best) if values is not None else np.full(len(best), np.inf)
        shares = [(float(tau), float((ratios <= tau).mean())) for tau in np.unique(ratios[np.isfinite(ratios)])]
        curves[name] = shares if shares and shares[0][0] == 1.0 else [(1.0, 0.0), *shares]
    return curves


def optimizer_records(
    summaries: Sequence[OptimizerSummary], outcomes: Sequence[TrialResult], metric: str, worst: float
) -> list[dict[str, Any]]:
    """The `optimizer` record of each optimizer, best first."""
    result: list[dict[str, Any]] = []
    profiles = performance_profiles(summaries)
    for position, summary in enumerate(rank_optimizers(summaries), start=1):
        values = summary.at_best
        low, high = bootstrap_interval(values) if values is not None and len(values) > 1 else (math.nan, math.nan)
        mine = [o for o in outcomes if o.trial.optimizer == summary.optimizer]
        lr, options = (None, ()) if summary.best is None else summary.settings[summary.best]
        result.append(
            {
                "kind": "optimizer",
                "optimizer": summary.optimizer,
                "rank": position,
                "lr": lr,
                **({"options": dict(options)} if summary.searched else {}),
                "metric": metric,
                "mean": math.inf if values is None else float(values.mean()),
                "low": low,
                "high": high,
                "seeds": summary.losses.shape[1],
                "at_edge": summary.edge is not None,
                "edge": summary.edge,
                **({"option_edges": summary.option_edges} if summary.searched else {}),
                "basin_decades": basin_decades(summary),
                "diverged": sum(o.diverged for o in mine),
                "runs": len(mine),
                "trials": len(summary.settings),
                "tuning_effort": tuning_effort(summary, worst),
                "profile": profiles.get(summary.optimizer, []),
            }
        )
    return result
